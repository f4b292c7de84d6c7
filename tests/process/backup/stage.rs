//! What tests of backups share: stores, a way to them that can be cut, commands, and a second opinion
//! about the state at a place of the log.
mod damage;
mod kept;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support::{ADMIN, Request, SHOP, Server, Setup, binary, until};

/// Segments are small, so that there are many.
pub const SMALL: &str = "[storage]\nsegment_bytes = 1_049_088\n";

/// They are so large that an object of a whole one goes to a bucket in parts.
pub const LARGE: &str = "[storage]\nsegment_bytes = 10_485_760\n";

/// An S3-compatible store of its own; it ends with its standard input.
pub struct Store {
    address: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Store {
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let servers = root.join("target/servers");
        assert!(
            servers.join("installed").exists(),
            "moto is not installed: run `./dev servers` once"
        );
        let mut child = Command::new(servers.join("bin/python"))
            .arg(root.join("tests/servers/start_moto.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().strip_prefix("listening ");
        let port = port.expect("it says where; run `./dev servers` where it does not start");
        Self {
            address: (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into(),
            child,
            stdin,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// A way to a store that can be cut.
pub struct StoreProxy {
    pub address: SocketAddr,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl StoreProxy {
    pub fn to(store: &Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = Self {
            address: listener.local_addr().unwrap(),
            cut: Arc::default(),
            streams: Arc::default(),
        };
        let (target, cut) = (store.address, Arc::clone(&line.cut));
        let streams = Arc::clone(&line.streams);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                let mut streams = streams.lock().unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    streams.push(from.try_clone().unwrap());
                    std::thread::spawn(move || pass_on(from, to));
                }
            }
        });
        line
    }

    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Where a backup is, as the configuration and the commands say it.
#[derive(Clone)]
pub struct Place {
    pub url: String,
    pub config: String,
}

impl Place {
    pub fn directory(path: &Path) -> Self {
        let url = format!("file://{}", path.display());
        Self {
            config: String::new(),
            url,
        }
    }

    pub fn bucket(address: SocketAddr, prefix: &str) -> Self {
        let config = format!(
            "endpoint = \"http://{address}\"\naccess_key = \"of-a-test\"\n\
             secret_key = \"of-a-test-too\"\n"
        );
        Self {
            url: format!("s3://drops/{prefix}"),
            config,
        }
    }

    /// A server with small segments that ships there every 100 ms.
    pub fn setup(&self, data: &Path, more: &str) -> Setup {
        self.setup_with(SMALL, data, more)
    }

    /// The same with other segments.
    pub fn setup_with(&self, storage: &str, data: &Path, more: &str) -> Setup {
        let Self { url, config } = self;
        let backup = format!("[backup]\nto = \"{url}\"\nevery_ms = 100\n{config}{more}");
        let setup = Setup::demo().data_dir(data);
        setup.config(storage).config(&backup)
    }

    /// The same configuration for commands, in `scratch`.
    pub fn config_file(&self, scratch: &Path) -> PathBuf {
        let path = scratch.join("for-commands.toml");
        std::fs::write(&path, format!("[backup]\n{}", self.config)).unwrap();
        path
    }

    pub fn restore(&self, data: &Path, more: &[&str]) -> Output {
        let config = self.config_file(data.parent().unwrap());
        let mut command = binary();
        command.args(["restore", "--from", &self.url]);
        command.arg("--config").arg(config);
        command.arg("--data-dir").arg(data).args(more);
        command.output().unwrap()
    }

    /// The figures of a restore that has to succeed.
    pub fn restored(&self, data: &Path, more: &[&str]) -> Value {
        figures(&self.restore(data, more))
    }

    pub fn verify(&self, scratch: &Path) -> Output {
        let mut command = binary();
        command.args(["backup", "verify", "--from", &self.url]);
        command.arg("--config").arg(self.config_file(scratch));
        command.output().unwrap()
    }

    /// One copy of `data` made there.
    pub fn copy(&self, data: &Path, scratch: &Path) -> Output {
        let mut command = binary();
        command.args(["backup", "--to", &self.url]);
        command.arg("--data-dir").arg(data);
        command.arg("--config").arg(self.config_file(scratch));
        command.output().unwrap()
    }
}

/// The last line of a command that has to succeed.
pub fn figures(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `holdfast check` says of a directory that must be clean.
pub fn check(data: &Path) -> Value {
    figures(&binary().arg("check").arg(data).output().unwrap())
}

/// Holds by `users`, each with about two kilobytes of metadata; the last one's answer.
pub fn hold(server: &Server, product: &str, users: impl IntoIterator<Item = String>) {
    let metadata: serde_json::Map<_, _> = (0..10)
        .map(|n| (format!("note-{n}"), json!("x".repeat(200))))
        .collect();
    let mut client = server.connect();
    for user in users {
        let body = json!({
            "user_id": user, "product_id": product, "quantity": 1, "metadata": metadata,
        });
        let request = Request::post("/limited/holds").key(SHOP);
        let key = format!("{user}-holds");
        let answer = client.ask(&request.once(&key).json(&body));
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

pub fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    let prefix = prefix.to_owned();
    (0..count).map(move |n| format!("{prefix}-{n}"))
}

pub fn status(server: &Server) -> Value {
    let answer = server.ask(&Request::get("/admin/status").key(ADMIN));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until everything that is durable now is in the store; up to where.
pub fn shipped(server: &Server) -> u64 {
    let durable = status(server)["durable_lsn"].as_u64().unwrap();
    until("everything is shipped", || {
        let shipped = status(server)["backup"]["shipped_lsn"].as_u64().unwrap();
        (shipped >= durable).then_some(shipped)
    })
}

pub fn snapshot(server: &Server) {
    let answer = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

/// Everything at `from`, as it is now, also at `to`, but for the locks.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below `path`, sorted.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The digest of the state that the records of the log in `log` before `end` lead to: they are appended
/// to a log of their own, which knows nothing of backups, and `holdfast check` folds it.
pub fn digest_at(log: &Path, end: u64, scratch: &Path) -> String {
    let data = scratch.join("second-opinion");
    if data.exists() {
        std::fs::remove_dir_all(&data).unwrap();
    }
    std::fs::create_dir_all(data.join("snapshots")).unwrap();
    let storage = wal::DiskStorage::open(data.join("log")).unwrap();
    let config = wal::LogConfig {
        disk_free_bytes_min: 0,
        ..wal::LogConfig::default()
    };
    let (copy, _) = wal::Log::open(Arc::new(storage), config).unwrap();
    let from = wal::DiskStorage::open_read_only(log).unwrap();
    let mut append: Vec<(u16, u16, Vec<u8>)> = Vec::new();
    let mut first = None;
    let scan = wal::scan(&from, wal::Lsn::ZERO, |record| {
        first.get_or_insert(record.lsn);
        append.push((record.kind, record.version, record.payload.to_vec()));
        if record.more {
            return;
        }
        if record.end.get() <= end {
            let entries: Vec<_> = append
                .iter()
                .map(|(kind, version, payload)| wal::Entry {
                    kind: *kind,
                    version: *version,
                    payload,
                })
                .collect();
            let appended = copy.append(&entries).unwrap();
            assert_eq!(appended.end, record.end, "the places are the same");
        }
        append.clear();
    });
    scan.unwrap();
    assert_eq!(first, Some(wal::Lsn::ZERO), "the log is whole");
    copy.close().unwrap();
    check(&data)["digest"].as_str().unwrap().to_owned()
}
