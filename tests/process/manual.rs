//! `completions` and `man`: every command and every flag that `--help` shows is in both.

use std::path::Path;
use std::process::Command;
use support::binary;

/// A command with its own flags.
struct Described {
    /// `holdfast config check`.
    words: Vec<String>,
    flags: Vec<String>,
}

fn stdout_of(arguments: &[&str]) -> String {
    let output = binary().args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the help of `words` and of the commands below it shows.
fn described(words: &[String], all: &mut Vec<Described>) {
    let mut arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = stdout_of(&arguments);
    let is_name = |it: &str| it.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let mut flags = Vec::new();
    let mut below = Vec::new();
    let mut section = "";
    for line in help.lines() {
        if !line.starts_with(' ') {
            section = line;
            continue;
        }
        let mut parts = line.split_whitespace();
        let first = parts.next().unwrap_or_default();
        if section == "Commands:" && line.starts_with("  ") && !line.starts_with("   ") {
            below.push(first.to_owned());
        }
        let flag = [first, parts.next().unwrap_or_default()];
        let is_flag = line.trim_start().starts_with('-');
        if section == "Options:" && is_flag {
            let long = flag.into_iter().find(|it| it.starts_with("--"));
            flags.extend(long.map(str::to_owned));
        }
    }
    assert!(flags.iter().all(|it| is_name(it)), "{flags:?}");
    for name in below.into_iter().filter(|it| it != "help") {
        let words: Vec<String> = words.iter().cloned().chain([name]).collect();
        described(&words, all);
    }
    all.push(Described {
        words: words.to_vec(),
        flags,
    });
}

fn all_commands() -> Vec<Described> {
    let mut all = Vec::new();
    described(&["holdfast".to_owned()], &mut all);
    let flags: usize = all.iter().map(|it| it.flags.len()).sum();
    assert!(all.len() > 18 && flags > 60, "{} {flags}", all.len());
    all
}

#[test]
fn each_command_has_a_manual_page_with_each_of_its_flags() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("man1");
    stdout_of(&["man", dir.to_str().unwrap()]);
    let commands = all_commands();
    for command in &commands {
        let page = dir.join(format!("{}.1", command.words.join("-")));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("no {page:?}"));
        let text = text.replace("\\-", "-");
        for flag in &command.flags {
            assert!(
                text.contains(flag.as_str()),
                "no {flag} in {page:?}\n{text}"
            );
        }
    }
    assert_eq!(
        std::fs::read_dir(&dir).unwrap().count(),
        commands.len(),
        "no other page"
    );
    let printed = stdout_of(&["man"]);
    assert!(printed.contains(".TH holdfast 1"), "{printed}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = binary().arg("man").arg(file.join("dir")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("file/dir"), "{stderr}");
}

#[test]
fn the_completions_of_each_shell_have_each_command_and_flag() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout_of(&["completions", shell]);
        for command in all_commands() {
            let name = command.words.last().unwrap();
            assert!(script.contains(name.as_str()), "{shell}: no {name}");
            for flag in &command.flags {
                // Fish writes long flags without their dashes, after `-l`.
                let flag = if shell == "fish" {
                    flag.replacen("--", "-l ", 1)
                } else {
                    flag.clone()
                };
                assert!(script.contains(&flag), "{shell}: no {flag}");
            }
        }
    }
}

/// What bash offers after these words, the last of which is being written.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let run = r#"source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _holdfast holdfast "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["-c", run])
        .arg(script)
        .args(words)
        .output();
    let output = output.expect("bash runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_each_command_and_flag() {
    let scratch = tempfile::tempdir().unwrap();
    let script = scratch.path().join("holdfast.bash");
    std::fs::write(&script, stdout_of(&["completions", "bash"])).unwrap();
    for command in all_commands() {
        let mut words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        if let [above @ .., name] = &words[..]
            && !above.is_empty()
        {
            assert_eq!(offered(&script, &words), [*name], "{words:?}");
        }
        words.push("--");
        let offered = offered(&script, &words);
        for flag in &command.flags {
            assert!(
                offered.contains(flag),
                "{words:?}: no {flag} in {offered:?}"
            );
        }
    }
}
