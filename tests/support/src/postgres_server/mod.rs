//! A PostgreSQL server of the test's own: a fresh cluster in a temporary directory on a free port,
//! killed, restarted and asked by the test; and a wire to it that can be slow, cut or silent.
//!
//! Where PostgreSQL is not installed the test fails and says what to install.
pub mod tables;
mod wire;

pub use wire::Wire;

use crate::{free_port, until};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls, Row};

const PLACES: &str = "/usr/lib/postgresql";

/// A running cluster; removed when dropped.
pub struct Postgres {
    programs: PathBuf,
    dir: tempfile::TempDir,
    pub port: u16,
    runtime: tokio::runtime::Runtime,
}

impl Postgres {
    /// A new cluster, up.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Self {
            programs: programs(),
            port: free_port(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            dir,
        };
        if is_root() {
            let mut owned = Command::new("chown");
            run(owned.arg("postgres").arg(server.dir.path()));
        }
        let mut init = server.program("initdb");
        init.arg("-D").arg(server.data());
        init.args([
            "-U",
            "app",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        run(&mut init);
        server.up();
        server
    }

    /// Has it take TLS with this certificate and key, both PEM.
    pub fn take_tls(&self, certificate: &str, key: &str) {
        use std::os::unix::fs::PermissionsExt;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            if is_root() {
                run(Command::new("chown").arg("postgres").arg(&path));
            }
        }
        self.execute("ALTER SYSTEM SET ssl = on");
        self.crash();
        self.up();
    }

    /// Starts it again.
    pub fn up(&self) {
        let mut start = self.program("pg_ctl");
        start
            .arg("-D")
            .arg(self.data())
            .arg("-w")
            .arg("-l")
            .arg(self.dir.path().join("log"));
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c max_connections=40",
            self.port,
            self.dir.path().display()
        );
        run(start.arg("-o").arg(options).arg("start"));
    }

    /// Ends it as a crash would: nothing is written back.
    pub fn crash(&self) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D")
            .arg(self.data())
            .args(["-w", "-m", "immediate", "stop"]);
        run(&mut stop);
    }

    /// The URL of the superuser.
    pub fn url(&self) -> String {
        url_of("app", self.port)
    }

    /// Rows, as `user`.
    pub fn try_query_as(&self, user: &str, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        let url = url_of(user, self.port);
        self.runtime.block_on(async {
            let client = connect(&url).await;
            client.query(sql, &[]).await
        })
    }

    /// Statements, as the superuser.
    pub fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap();
    }

    /// Statements that may be refused, as the superuser.
    pub fn try_execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let url = self.url();
        self.runtime
            .block_on(async { connect(&url).await.batch_execute(sql).await })
    }

    /// A script by way of psql, as an operator runs it: it stops at the first error, each statement is
    /// a transaction.
    pub fn psql(&self, script: &str) {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"]);
        psql.arg(self.url()).stdin(Stdio::piped());
        psql.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = psql.spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        // Where it stops early it reads no further, and its own words say why.
        let _ = input.write_all(script.as_bytes());
        drop(input);
        let ended = running.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
    }

    /// Rows, as the superuser.
    pub fn query(&self, sql: &str) -> Vec<Row> {
        self.try_query_as("app", sql).unwrap()
    }

    /// The one value of the one row.
    pub fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        let rows = self.query(sql);
        assert_eq!(rows.len(), 1, "{sql}");
        rows[0].get(0)
    }

    /// The first column of all rows.
    pub fn column<T: FromSqlOwned>(&self, sql: &str) -> Vec<T> {
        self.query(sql).iter().map(|row| row.get(0)).collect()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// One of its programs, as a user whom it lets run it.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D")
            .arg(self.data())
            .args(["-w", "-m", "immediate", "stop"]);
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("the server of the test takes connections");
    tokio::spawn(connection);
    client
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir(PLACES)
        .map(|entries| entries.flatten().map(|it| it.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|it| it.join("initdb").exists());
    found.sort();
    found
        .pop()
        .expect("PostgreSQL is not installed: run `./dev servers`, or apt-get install postgresql")
}

fn run(command: &mut Command) {
    // Its files may still be going away after a crash.
    let ended = until("the command works", || {
        let ended = command.stdin(Stdio::null()).output().unwrap();
        ended.status.success().then_some(ended)
    });
    drop(ended);
}

/// The URL of the superuser by way of another port.
pub fn url_at(port: u16) -> String {
    url_of("app", port)
}

/// The URL of a user.
fn url_of(user: &str, port: u16) -> String {
    format!("postgres://{user}@127.0.0.1:{port}/postgres?sslmode=disable")
}
