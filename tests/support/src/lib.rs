//! What tests of the real binary share: starting it on a free port with a directory of its own,
//! asking it over plain sockets, and ending it.
//!
//! Every wait has a deadline. A server that is dropped is killed; [`Server::stop`] ends it as an
//! operator would.
#![allow(
    missing_docs,
    clippy::return_self_not_must_use,
    reason = "helpers of tests, not an interface"
)]

pub mod clients;
pub mod history;
pub mod money;
pub mod patch;
pub mod postgres_server;
pub mod signing;
pub mod stripe_server;
pub mod wall_clock;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The demo's keys.
pub const SHOP: &str = "demo-shop-key";
pub const ADMIN: &str = "demo-admin-key";

/// The keys of those who only read: an auditor's, and one for metrics.
pub const READER: &str = "a-key-of-a-reader";
pub const SCRAPER: &str = "a-key-of-a-scraper";

/// A key of each role, in place of the demo's.
pub const KEYS_OF_EACH_ROLE: &str = r#"
    [[auth.keys]]
    name = "shop"
    role = "shop"
    key = "demo-shop-key"
    [[auth.keys]]
    name = "boss"
    role = "admin"
    key = "demo-admin-key"
    [[auth.keys]]
    name = "reader"
    role = "auditor"
    key = "a-key-of-a-reader"
    [[auth.keys]]
    name = "scraper"
    role = "metrics"
    key = "a-key-of-a-scraper"
"#;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);

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

/// The binary under test, started by a shell after these commands: what they set is the server's
/// alone, and not that of the tests that run beside it.
fn started_after(commands: &[String]) -> Command {
    let bare = binary();
    if commands.is_empty() {
        return bare;
    }
    let mut command = Command::new("sh");
    let script = format!("{} && exec \"$0\" \"$@\"", commands.join(" && "));
    command.arg("-c").arg(script).arg(bare.get_program());
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
        let mut command = started_after(&self.limits);
        command.arg("serve").arg("--config").arg(config);
        command.arg("--data-dir").arg(data_dir);
        if self.demo {
            command.arg("--demo");
        }
        if !self.config.contains("listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.flags);
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

/// A product's terms as PUT takes them, with what `given` says and else without limits.
pub fn product_terms(given: &Value) -> Value {
    let open = json!({"per_user_limit": null, "starts_at": null, "ends_at": null, "active": true});
    over(open, given)
}

/// A promotion's terms, likewise.
pub fn promotion_terms(given: &Value) -> Value {
    let open =
        json!({"uses_per_user_max": null, "starts_at": null, "ends_at": null, "active": true});
    over(open, given)
}

/// What is known of a buyer as PUT takes it, with what `given` says and else nothing.
pub fn rating_terms(given: &Value) -> Value {
    over(
        json!({"segment": null, "risk_score": null, "account_since": null}),
        given,
    )
}

fn over(mut all: Value, given: &Value) -> Value {
    for (name, value) in given.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server has logged so far.
#[derive(Clone)]
pub struct Log(Arc<(Mutex<LogState>, Condvar)>);

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn follow(stderr: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.0.0.lock().unwrap().lines.push(line);
                writer.0.1.notify_all();
            }
            writer.0.0.lock().unwrap().ended = true;
            writer.0.1.notify_all();
        });
        log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// All lines of a server that has ended: the last ones may still be on their way here.
    pub fn all_lines(&self) -> Vec<String> {
        let state = self.0.0.lock().unwrap();
        let whole = self
            .0
            .1
            .wait_timeout_while(state, PATIENCE, |state| !state.ended);
        let (state, waited) = whole.unwrap();
        assert!(!waited.timed_out(), "the log has no end: {:?}", state.lines);
        state.lines.clone()
    }

    /// The first line of this event; `None` where the server ends without.
    pub fn wait_for(&self, event: &str) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.0.lock().unwrap();
        loop {
            let parsed = state
                .lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok());
            if let Some(line) = parsed
                .into_iter()
                .find(|line: &Value| line["event"] == event)
            {
                return Some(line);
            }
            if state.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "no `{event}` in {:?}", state.lines);
            state = self.0.1.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// Polls until there is something, with a deadline.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A loopback port for a server that cannot choose one itself.
///
/// Below the range that the kernel gives out by itself, so that no connection of a test that runs beside this one takes
/// it in between; where this starts to look differs from process to process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 17_000;
    let start = std::process::id().wrapping_mul(101);
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("the range ends below 2^16");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A request to be written.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn put(path: &str) -> Self {
        Self::new("PUT", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this API key.
    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// With this `Idempotency-Key`.
    pub fn once(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string().as_bytes())
    }

    /// With this body, said to be JSON.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header("content-type", "application/json")
    }

    /// A hold by the shop.
    pub fn hold(user: &str, product: &str, quantity: u64, key: &str) -> Self {
        let body = json!({"user_id": user, "product_id": product, "quantity": quantity});
        Self::post("/limited/holds").key(SHOP).once(key).json(&body)
    }

    /// A purchase of one unit by the shop, in USD.
    pub fn buy(user: &str, product: &str, card: &str, key: &str) -> Self {
        let body = json!({
            "user_id": user, "product_id": product, "quantity": 1, "currency": "USD",
            "card_token": card,
        });
        Self::post("/limited/buy").key(SHOP).once(key).json(&body)
    }

    /// As HTTP/1.1 writes it.
    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, path, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: holdfast\r\n");
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let has_length = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !has_length && (!self.body.is_empty() || method == "POST" || method == "PUT") {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Whether the test card 4111 1111 1111 1111 shows, with any separators. Eight digits are asked for:
/// fewer also stand in ids that are drawn at random.
pub fn shows_card_number(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    digits.contains("41111111")
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's reason; empty where it is none.
    pub fn reason(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["reason"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A connection that stays open between requests.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the server listens")
    }

    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Over a connection that was made before.
    pub fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn ask(&mut self, request: &Request) -> Response {
        self.try_ask(request).expect("the server answers")
    }

    pub fn try_ask(&mut self, request: &Request) -> std::io::Result<Response> {
        self.send(&request.bytes())?;
        self.read_response(request.method == "HEAD")
    }

    /// Writes bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next answer.
    pub fn receive(&mut self) -> std::io::Result<Response> {
        self.read_response(false)
    }

    /// Whether something of an answer is there by now.
    pub fn has_answer(&mut self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).expect("it can be set");
        let there = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).expect("it can be set");
        there
    }

    /// Whether the server closes without another byte.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0) | Err(_))
    }

    /// The bare connection.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    fn read_response(&mut self, head_only: bool) -> std::io::Result<Response> {
        let line = self.read_line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let bad = || std::io::Error::new(std::io::ErrorKind::InvalidData, line.clone());
        let status: u16 = status.ok_or_else(bad)?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.read_line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers
            .get("content-length")
            .and_then(|text| text.parse().ok());
        let mut body = vec![0; if head_only { 0 } else { length.unwrap_or(0) }];
        self.stream.read_exact(&mut body)?;
        Ok(Response {
            status,
            headers,
            body,
        })
    }

    fn read_line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Holds the first table below `heading` in a document of the repository to `rows`; with
/// `HOLDFAST_BLESS=1` it writes them there.
pub fn check_table(document: &str, heading: &str, rows: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(document);
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let rule = text
        .find(heading)
        .and_then(|at| Some(at + text[at..].find("\n|---")?));
    let rule = rule.expect("a table stands below the heading") + 1;
    let from = rule + text[rule..].find('\n').expect("the table has rows") + 1;
    let lines = text[from..].split_inclusive('\n');
    let length: usize = lines
        .take_while(|line| line.starts_with('|'))
        .map(str::len)
        .sum();
    let (above, below) = text.split_at(from);
    let (found, after) = below.split_at(length);
    let wanted = format!("{}\n", rows.join("\n"));
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, [above, &wanted, after].concat()).expect("the document is writable");
        return;
    }
    assert_eq!(
        found, wanted,
        "{document}, below {heading:?}: `./dev bless` writes the rows"
    );
}
