//! Servers started by the harness: found, started, awaited, and stopped whatever happens.
//!
//! 1. A `Server` is stopped when it is dropped: asked first, killed after `STOP_MAX`.
//! 2. Waiting for it ends at once if it ends, and at `READY_MAX` at the latest, with what it printed.
//!
//! Its stdin is a pipe held here, so that a child that watches it ends even if the harness is killed.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{During as _, Fault};

const READY_MAX: Duration = Duration::from_mins(1);
const STOP_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const OUTPUT_SHOWN_BYTES: usize = 2_000;

/// A running child and its output.
pub(crate) struct Server {
    what: String,
    child: Child,
    output: PathBuf,
    stop_with: Signal,
}

impl Server {
    /// Starts `command`, whose output goes to `output`.
    pub(crate) fn start(what: &str, mut command: Command, output: &Path) -> Result<Self, Fault> {
        let file = || format!("write {}", output.display());
        let log = File::create(output).during(file)?;
        let errors = log.try_clone().during(file)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .during(|| format!("start {}", command.get_program().display()))?;
        Ok(Self {
            what: what.to_owned(),
            child,
            output: output.to_owned(),
            stop_with: Signal::TERM,
        })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it with `signal` instead of SIGTERM.
    pub(crate) fn stopped_with(mut self, signal: Signal) -> Self {
        self.stop_with = signal;
        self
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), Fault> {
        let start = Instant::now();
        while !ready() {
            let ended = self
                .child
                .try_wait()
                .during(|| format!("look after {}", self.what))?;
            if let Some(status) = ended {
                return Err(Fault::Failed {
                    program: self.what.clone(),
                    status: status.to_string(),
                    output: tail(&self.output),
                });
            }
            if start.elapsed() > READY_MAX {
                return Err(Fault::NotReady {
                    what: self.what.clone(),
                    seconds: READY_MAX.as_secs(),
                    output: tail(&self.output),
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors here mean that it has ended already, which is what is wanted.
        let _ = kill_process(Pid::from_child(&self.child), self.stop_with);
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end; anything but success is a fault with its output.
pub(crate) fn run(mut command: Command) -> Result<(), Fault> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = command
        .stdin(Stdio::null())
        .output()
        .during(|| format!("start {program}"))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(Fault::Failed {
        program,
        status: ended.status.to_string(),
        output: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

/// The path of `program`, looked for in `PATH` and then in `places`.
pub(crate) fn find(
    program: &str,
    places: &[PathBuf],
    remedy: &'static str,
) -> Result<PathBuf, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(places.iter().cloned())
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| Fault::NotInstalled {
            program: program.to_owned(),
            remedy,
        })
}

/// A loopback address that nobody listens on at the moment.
pub(crate) fn free_address() -> Result<SocketAddr, Fault> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .during(|| "find a free port".to_owned())
}

/// Lets this process, and those it starts, open files for `connections`, as far as the system allows.
pub(crate) fn allow_connections(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const OTHER_FILES: u64 = 256;
    let wanted = connections as u64 * 2 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(wanted, |most| wanted.min(most));
    if limit.current.is_some_and(|now| now < wanted) {
        // Without it, the connection that is one too many says so.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: limit.maximum,
            },
        );
    }
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut from = text.len().saturating_sub(OUTPUT_SHOWN_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such option; exit 3"]);
        let mut server = Server::start("sh", command, &dir.path().join("log")).unwrap();
        let fault = server.wait_until(|| false).unwrap_err().to_string();
        assert!(
            fault.contains("exit status: 3") && fault.contains("no such option"),
            "{fault}"
        );
    }

    #[test]
    fn a_missing_program_comes_with_its_remedy() {
        let fault = find("no-such-program", &[], "apt-get install it").unwrap_err();
        assert!(fault.to_string().contains("apt-get install it"));
    }
}
