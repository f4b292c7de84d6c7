//! A private PostgreSQL cluster: made, started and stopped as often as is wanted.
//!
//! It runs as user `postgres` where the harness runs as root, since PostgreSQL refuses root. Settings are the defaults but
//! for connections and buffers; `fsync` and `synchronous_commit` stay on.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use rustix::process::{Signal, geteuid};

use crate::error::{During as _, Fault};
use crate::process::{self, Server};

const REMEDY: &str = "apt-get install postgresql";
const PLACES: &str = "/usr/lib/postgresql";

/// A cluster's directory and address.
pub(crate) struct Cluster {
    program: PathBuf,
    home: PathBuf,
    output: PathBuf,
    address: SocketAddr,
}

impl Cluster {
    /// Makes one under `dir`, which is in `base`.
    pub(crate) fn create(dir: &Path, base: &Path) -> Result<Self, Fault> {
        let initdb = process::find("initdb", &places(), REMEDY)?;
        // The server's user must be able to reach its directory through these two.
        for path in [base, dir] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711))
                .during(|| format!("open {} to the user postgres", path.display()))?;
        }
        let home = dir.join("pg");
        let mut install = Command::new("install");
        install.args(["-d", "-m", "700"]);
        if geteuid().is_root() {
            install.args(["-o", "postgres"]);
        }
        install.arg(&home);
        process::run(install)?;
        let cluster = Self {
            program: initdb.with_file_name("postgres"),
            output: dir.join("postgres.log"),
            home,
            address: process::free_address()?,
        };
        let mut init = as_postgres(&initdb);
        init.current_dir(&cluster.home)
            .arg("-D")
            .arg(cluster.data())
            .args(["-U", "app", "-A", "trust", "-E", "UTF8"])
            .args(["--no-locale", "--no-sync"]);
        process::run(init)?;
        Ok(cluster)
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn start(&self) -> Result<Server, Fault> {
        let data = self.data();
        let mut command = as_postgres(&self.program);
        command
            .current_dir(&self.home)
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port().to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "max_connections=420"])
            .args(["-c", "shared_buffers=512MB", "-c"])
            .arg(format!("unix_socket_directories={}", self.home.display()));
        // SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the clients.
        let server = Server::start("postgres", command, &self.output)?;
        let mut server = server.stopped_with(Signal::INT);
        server.wait_until(|| is_ready(&data))?;
        Ok(server)
    }

    /// The port on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }
}

/// The last line of the pid file says `ready` once connections are taken.
fn is_ready(data: &Path) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid"));
    text.is_ok_and(|t| t.lines().last().is_some_and(|l| l.trim() == "ready"))
}

fn as_postgres(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

fn places() -> Vec<PathBuf> {
    let versions: io::Result<Vec<_>> = fs::read_dir(PLACES).and_then(Iterator::collect);
    let mut places: Vec<_> = versions
        .unwrap_or_default()
        .iter()
        .map(|version| version.path().join("bin"))
        .collect();
    places.sort();
    places.reverse();
    places
}
