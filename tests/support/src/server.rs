//! The real binary: how it is started, asked, signalled and ended.
//!
//! A server that is dropped is killed; [`Server::stop`] ends it as an operator would.

use crate::{ADMIN, Client, Log, Request, Response, SHOP, product_terms, until};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// A fresh log fills two segments with zeroes. Small ones, so that a test starts without writing 128 MiB;
/// tests that need another size say so in their configuration.
const SEGMENT_BYTES: (&str, &str) = ("HOLDFAST_STORAGE__SEGMENT_BYTES", "4194304");

/// The binary under test, with the environment's settings taken out.
pub fn binary() -> Command {
    let mut command = Command::new(binary_path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo put the binary: it says so in the environment of a test that it runs. A test that is
/// started by hand finds it two folders above its own program.
fn binary_path() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_holdfast") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let built = own
        .parent()
        .and_then(Path::parent)
        .expect("cargo's folders");
    built.join("holdfast")
}

/// The binary under test, started by a shell after these commands, which set what is the server's
/// alone and not that of the tests that run beside it, and under this program.
fn started_after(commands: &[String], under: &[String]) -> Command {
    let bare = binary();
    if commands.is_empty() && under.is_empty() {
        return bare;
    }
    let mut command = Command::new("sh");
    let run = "exec \"$0\" \"$@\"";
    let script: Vec<&str> = commands.iter().map(String::as_str).chain([run]).collect();
    command.arg("-c").arg(script.join(" && "));
    command.args(under).arg(bare.get_program());
    for (name, value) in bare.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// How to start a server: the demo, changed by lines of configuration.
pub struct Setup {
    config: String,
    data_dir: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<String>,
    /// What a shell sets before it starts the server.
    limits: Vec<String>,
    /// The program with its arguments that runs the server.
    under: Vec<String>,
    demo: bool,
}

impl Setup {
    /// The demo as it is.
    pub fn demo() -> Self {
        Self {
            config: String::new(),
            data_dir: None,
            environment: Vec::new(),
            flags: Vec::new(),
            limits: Vec::new(),
            under: Vec::new(),
            demo: true,
        }
    }

    /// Without `--demo`.
    pub fn plain() -> Self {
        Self {
            demo: false,
            ..Self::demo()
        }
    }

    /// With this configuration.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// With this data directory, which outlives the server.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    /// With this variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this flag of `serve`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Run by this program with these arguments, such as a profiler.
    pub fn under(mut self, program: Vec<String>) -> Self {
        self.under = program;
        self
    }

    /// With at most this many open files, soft and hard.
    pub fn open_files_max(mut self, count: u32) -> Self {
        self.limits.push(format!("ulimit -n {count}"));
        self
    }

    /// With this umask.
    pub fn umask(mut self, mode: &str) -> Self {
        self.limits.push(format!("umask {mode}"));
        self
    }

    fn command(&self, scratch: &Path) -> Command {
        let config = scratch.join("holdfast.toml");
        std::fs::write(&config, &self.config).unwrap();
        let data_dir = self
            .data_dir
            .clone()
            .unwrap_or_else(|| scratch.join("data"));
        let mut command = started_after(&self.limits, &self.under);
        command.arg("serve").arg("--config").arg(config);
        command.arg("--data-dir").arg(data_dir);
        if self.demo {
            command.arg("--demo");
        }
        if !self.config.contains("listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.flags);
        if !self.config.contains("segment_bytes") {
            command.env(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        }
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err((status, log)) => panic!("the server did not start: {status}\n{}", log.join("\n")),
        }
    }

    /// Starts it; where it ends before it listens, how, and what it logged.
    pub fn try_start(self) -> Result<Server, (ExitStatus, Vec<String>)> {
        self.launch().listening()
    }

    /// Starts it, and waits for nothing.
    pub fn launch(self) -> Launched {
        let scratch = tempfile::tempdir().unwrap();
        let data_dir = self
            .data_dir
            .clone()
            .unwrap_or_else(|| scratch.path().join("data"));
        let mut command = self.command(scratch.path());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("the binary was built with this test");
        let log = Log::follow(child.stderr.take().unwrap());
        Launched {
            child,
            data_dir,
            log,
            scratch,
        }
    }

    /// Starts it where it has to end before it listens; how it ended, and what it logged.
    pub fn refused(self) -> (ExitStatus, Vec<String>) {
        match self.try_start() {
            // Stopped first: the log of a running server has no end.
            Ok(server) => {
                let (_, log) = server.stop();
                panic!("the start was not refused:\n{}", log.join("\n"))
            }
            Err(ended) => ended,
        }
    }

    /// Runs it to its end, which has to come by itself.
    pub fn run(self) -> Output {
        let scratch = tempfile::tempdir().unwrap();
        self.command(scratch.path()).output().unwrap()
    }
}

/// A process that may not listen yet.
pub struct Launched {
    child: Child,
    data_dir: PathBuf,
    log: Log,
    scratch: tempfile::TempDir,
}

impl Launched {
    /// Tells it to end, as an operator does.
    pub fn terminate(&self) {
        send(rustix::process::Signal::TERM, &self.child);
    }

    /// Waits until it listens; where it ends before, how, and what it logged.
    pub fn listening(mut self) -> Result<Server, (ExitStatus, Vec<String>)> {
        let Some(line) = self.log.wait_for("listening") else {
            let status = self.child.wait().unwrap();
            return Err((status, self.log.all_lines()));
        };
        let address = line["address"].as_str().unwrap().parse().unwrap();
        Ok(Server {
            child: self.child,
            address,
            data_dir: self.data_dir,
            log: self.log,
            config: self.scratch.path().join("holdfast.toml"),
            _scratch: self.scratch,
        })
    }
}

fn send(signal: rustix::process::Signal, child: &Child) {
    let pid = i32::try_from(child.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A running server.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    pub log: Log,
    /// Its configuration, to be changed before [`Server::hang_up`].
    pub config: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Server {
    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &Request) -> Response {
        self.connect().ask(request)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> (ExitStatus, Vec<String>) {
        self.terminate();
        let status = self.wait();
        (status, self.log.all_lines())
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// SIGHUP, without waiting.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        send(signal, &self.child);
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        until("the server ends", || self.child.try_wait().unwrap())
    }

    /// Units of a product: total, held, sold, available.
    pub fn stock(&self, product: &str) -> [u64; 4] {
        let path = format!("/limited/products/{product}");
        let body = self.ask(&Request::get(&path).key(SHOP)).json();
        ["total", "held", "sold", "available"].map(|name| body["stock"][name].as_u64().unwrap())
    }

    /// Puts a product on sale with this stock, at 19.99 USD and without a limit per buyer.
    pub fn put_product(&self, id: &str, stock: u64) {
        let price = json!({"USD": 1999, "KRW": 25000});
        let body = product_terms(&json!({"name": id, "price": price, "stock": stock}));
        let path = format!("/admin/products/{id}");
        let answer = self.ask(&Request::put(&path).key(ADMIN).json(&body));
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
