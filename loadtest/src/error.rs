//! Every way the harness itself can fail, as one typed error.
//!
//! A fault says what was being done, to what, and what to do about it; `main` prints it in one
//! sentence and exits with its code: 1 if what was measured is not good enough, 2 if it was asked for
//! wrongly, 3 if it could not be run. Refusals by the server under test are not faults: they are outcomes,
//! counted by reason. Violated invariants are found by `dropcheck`, which prints each of them and
//! ends in `Fault::Violations`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::http::response::BadResponse;

/// A failure of the harness or of what it has to rely on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to what.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The URL given is not one this client can speak to.
    #[error("`{url}` is not of the form http://HOST:PORT (plain HTTP, no path)")]
    BadUrl {
        /// As given.
        url: String,
    },
    /// The URL of a scenario is not one that can be spoken to.
    #[error(
        "`{url}` is not of the form http://HOST:PORT or https://HOST:PORT, or its host is not known"
    )]
    BadOrigin { url: String },
    /// The certificates to trust cannot be read.
    #[error("{file} cannot be used as a CA file: {why}")]
    BadCa { file: PathBuf, why: String },
    /// There is no such scenario.
    #[error(
        "there is no scenario `{name}`, neither a file ({source}) nor a shipped one; `loadtest scenarios` lists those"
    )]
    NoScenario { name: String, source: io::Error },
    /// The scenario cannot be read; the source says where.
    #[error("{name}: {source}")]
    BadScenario {
        name: String,
        source: Box<toml::de::Error>,
    },
    /// A report cannot be read.
    #[error("{file} is not a report of loadtest run --json: {source}")]
    BadReport {
        file: PathBuf,
        source: serde_json::Error,
    },
    /// Something else was asked for wrongly.
    #[error("{why}")]
    Usage { why: String },
    /// The server did not answer where a run needs it to.
    #[error("{request} to {url}: {why}; is the server running there?")]
    Unreachable {
        request: String,
        url: String,
        why: &'static str,
    },
    /// A run is not as good as its scenario demands.
    #[error("not good enough: {what}")]
    NotMet { what: String },
    /// A request that has to succeed did not.
    #[error("{request} was answered {status}: {body}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// The body, as text.
        body: String,
    },
    /// The answer is not HTTP/1.1 as this client reads it.
    #[error("the answer to {request} cannot be read: {source}")]
    BadResponse {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        source: BadResponse,
    },
    /// A program that a peer needs is missing.
    #[error("{program} is not installed: {remedy}")]
    NotInstalled {
        /// The program looked for.
        program: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// A server started by the harness did not come up.
    #[error("{what} was not ready within {seconds} s; what it printed:\n{output}")]
    NotReady {
        /// Which server.
        what: String,
        /// The deadline, seconds.
        seconds: u64,
        /// The end of its output.
        output: String,
    },
    /// A program ran and failed.
    #[error("{program} ended with {status}: {output}")]
    Failed {
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// Every connection of the generator is gone, and at the end of the run none can be made anew.
    #[error("no connection to {addr} is left: the server went away and did not come back")]
    ServerGone {
        /// The server's address.
        addr: std::net::SocketAddr,
    },
    /// Redis refused or failed.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The database refused or failed.
    #[error("postgresql: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// Rows of a comparison that say nothing.
    #[error(
        "{rows} rows of the comparison do not count: not run, or not answered as meant (see the table)"
    )]
    Void { rows: usize },
    /// The drop's invariants do not hold.
    #[error("{count} violations of the drop's invariants, listed above")]
    Violations {
        /// How many were found.
        count: usize,
    },
}

impl Fault {
    /// The exit status of a command that ends with it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NotMet { .. } | Self::Void { .. } | Self::Violations { .. } => 1,
            Self::BadUrl { .. }
            | Self::BadOrigin { .. }
            | Self::BadCa { .. }
            | Self::NoScenario { .. }
            | Self::BadScenario { .. }
            | Self::BadReport { .. }
            | Self::Usage { .. } => 2,
            Self::Io { .. }
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::BadResponse { .. }
            | Self::NotInstalled { .. }
            | Self::NotReady { .. }
            | Self::Failed { .. }
            | Self::ServerGone { .. }
            | Self::Redis(_)
            | Self::Postgres(_) => 3,
        })
    }
}

/// Makes `Fault::Io` from a system error, with the words that say what was done.
pub(crate) trait During<T> {
    /// Names the operation that failed.
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|source| Fault::Io {
            what: what(),
            source,
        })
    }
}
