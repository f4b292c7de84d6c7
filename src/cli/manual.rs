//! Owns `completions` and `man`: what a shell and `man` know of the command line.
//!
//! Invariant: both are generated from the commands that the binary parses, so they name every
//! command and flag of this build. Deliberately absent: where a package puts them (`packaging/`).

use super::{Arguments, fail, print};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::Path;
use std::process::ExitCode;

/// `completions`.
pub(super) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "holdfast", &mut script);
    print(String::from_utf8_lossy(&script), ExitCode::SUCCESS)
}

/// `man`.
pub(super) fn man(dir: Option<&Path>) -> ExitCode {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(Arguments::command()).render(&mut page) {
            Ok(()) => print(String::from_utf8_lossy(&page), ExitCode::SUCCESS),
            Err(error) => fail(1, format_args!("cannot render the manual page: {error}")),
        };
    };
    // `help` repeats every command; a page for each of its own would say nothing more.
    let command = Arguments::command().disable_help_subcommand(true);
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            1,
            format_args!(
                "cannot write the manual pages into {}: {error}",
                dir.display()
            ),
        ),
    }
}
