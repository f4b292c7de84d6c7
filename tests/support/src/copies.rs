//! An older copy of a data directory that is put back: the scene of such tests, and what they ask of a core
//! that waits for the operator's order.

use super::signing::SECRETS;
use super::{ADMIN, Request, Response, SHOP, Server, Setup, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A data directory with the places around it.
pub struct Scene {
    scratch: tempfile::TempDir,
    pub config: String,
}

impl Scene {
    pub fn new(report: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let config = format!(
            "[storage]\nsegment_bytes = 1_049_088\n[limits.rate]\ncount = 1000\nper_s = 1\n\
             [reconcile]\nevery_s = 0\n[report]\nbackoff_first_ms = 10\nbackoff_max_ms = 200\n\
             [report.batch]\nwait_ms = 2\n{report}{SECRETS}"
        );
        Self { scratch, config }
    }

    /// With lines in files of 8 kB.
    pub fn with_lines(report: &str) -> Self {
        let mut scene = Self::new("");
        let path = scene.lines();
        let lines = format!(
            "[report.jsonl]\npath = \"{}\"\nrotate_bytes = 8_000\nkeep = 1000\n{report}",
            path.display()
        );
        scene.config = scene.config.replace(SECRETS, &format!("{lines}{SECRETS}"));
        scene
    }

    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    pub fn copy(&self) -> PathBuf {
        self.scratch.path().join("copy")
    }

    pub fn lines(&self) -> PathBuf {
        self.scratch.path().join("out/events.jsonl")
    }

    /// The lines of all files, in their order.
    pub fn all_lines(&self) -> Vec<String> {
        lines_below(&self.lines())
    }

    /// A place for what is to survive the directory.
    pub fn aside(&self) -> PathBuf {
        self.scratch.path().join("ledger")
    }

    pub fn start(&self) -> Server {
        self.start_on(&self.data())
    }

    /// Starts the copy where it is, with the gateway's ledger as it is now.
    pub fn start_copy(&self) -> Server {
        std::fs::remove_dir_all(self.copy().join("sandbox")).unwrap();
        copy(&self.data().join("sandbox"), &self.copy().join("sandbox"));
        self.start_on(&self.copy())
    }

    fn start_on(&self, data_dir: &Path) -> Server {
        Setup::demo()
            .config(&self.config)
            .data_dir(data_dir)
            .start()
    }

    /// Stops `server`, takes a copy, and sells so many more that the copy does not have; their purchases,
    /// and how far the lines have come.
    pub fn lose(&self, server: Server, count: usize) -> (Vec<String>, u64) {
        self.lose_of(server, count, "jsonl")
    }

    /// The same, with how far another sink has come.
    pub fn lose_of(&self, server: Server, count: usize, name: &str) -> (Vec<String>, u64) {
        caught_up(&server);
        stopped(server);
        self.take_copy();
        let server = self.start();
        let lost = sell(&server, count, "lost");
        caught_up(&server);
        let cursor = sink(&server, name)["cursor_lsn"].as_u64().unwrap();
        stopped(server);
        (lost, cursor)
    }

    /// Copies the directory as it is.
    pub fn take_copy(&self) {
        copy(&self.data(), &self.copy());
    }

    /// Puts the copy back; the gateway's ledger stays as it is, because a gateway is elsewhere.
    pub fn put_back(&self) {
        let (ledger, sandbox) = (self.aside(), self.data().join("sandbox"));
        let has_ledger = sandbox.exists();
        if has_ledger {
            std::fs::rename(&sandbox, &ledger).unwrap();
        }
        std::fs::remove_dir_all(self.data()).unwrap();
        copy(&self.copy(), &self.data());
        if has_ledger {
            std::fs::remove_dir_all(&sandbox).unwrap();
            std::fs::rename(&ledger, &sandbox).unwrap();
        }
    }

    /// Starts it after [`Scene::put_back`]: it sells nothing, not even once its log has outgrown the cursor
    /// of the sink, nor when it is started again. Returns the core, which waits for its order.
    pub fn start_waiting(&self, name: &str, cursor: u64) -> Server {
        let server = self.start();
        assert_waits(&server, "first");
        let waiting = sink(&server, name);
        assert_eq!(waiting["up"], false, "{waiting}");
        assert_eq!(waiting["elsewhere"]["cursor_lsn"], cursor, "{waiting}");
        assert!(server.log.wait_for("restored_copy").is_some());
        while status(&server)["durable_lsn"].as_u64().unwrap() <= cursor {
            server.put_product("drop", 1_000);
        }
        assert_waits(&server, "outgrown");
        stopped(server);
        let server = self.start();
        assert_waits(&server, "again");
        let why = sink(&server, name)["elsewhere"]["why"].clone();
        assert_eq!(why, "the log has other records before it");
        server
    }
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut command = Command::new("cp");
    let status = command.arg("-a").arg(from.join(".")).arg(to).status();
    assert!(status.unwrap().success());
}

pub fn stopped(server: Server) {
    let (status, log) = server.stop();
    assert!(status.success(), "{}", log.join("\n"));
}

pub fn buy(server: &Server, user: &str, key: &str) -> Response {
    server.ask(&Request::buy(user, "drop", "tok_ok", key))
}

/// Purchases by many buyers; their ids.
pub fn sell(server: &Server, count: usize, name: &str) -> Vec<String> {
    let sold = (0..count).map(|number| {
        let answer = buy(
            server,
            &format!("{name}-{number}"),
            &format!("{name}-key-{number}"),
        );
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["purchase_id"].as_str().unwrap().to_owned()
    });
    sold.collect()
}

pub fn status(server: &Server) -> Value {
    server.ask(&Request::get("/admin/status").key(ADMIN)).json()
}

pub fn sink(server: &Server, name: &str) -> Value {
    let body = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
    let sinks = body["sinks"].as_array().unwrap();
    sinks.iter().find(|it| it["name"] == name).unwrap().clone()
}

pub fn caught_up(server: &Server) {
    let durable = status(server)["durable_lsn"].as_u64().unwrap();
    until("the sinks have caught up", || {
        let status = status(server);
        let mut sinks = status["sinks"].as_array().unwrap().iter();
        sinks
            .all(|it| it["cursor_lsn"].as_u64().unwrap() >= durable && it["up"] == true)
            .then_some(())
    });
}

pub fn ready(server: &Server) -> (u16, Value) {
    let answer = server.ask(&Request::get("/readyz"));
    (answer.status, answer.json()["reason"].clone())
}

pub fn accept(server: &Server) -> Response {
    let body = json!({"note": "the newer directory burnt"});
    server.ask(
        &Request::post("/admin/history/accept")
            .key(ADMIN)
            .json(&body),
    )
}

/// The shop's calls are refused and everything else is answered.
pub fn assert_waits(server: &Server, name: &str) {
    let answer = server.ask(&Request::get("/readyz"));
    assert_eq!(answer.status, 503, "{answer:?}");
    let said = answer.json();
    assert_eq!(said["reason"], "restored_copy");
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("POST /admin/history/accept"), "{detail}");
    assert_eq!(status(server)["readiness"]["reason"], "restored_copy");
    let key = format!("{name}-refused-key");
    for request in [
        Request::buy("ann", "drop", "tok_ok", &key),
        Request::hold("ann", "drop", 1, &key),
        Request::delete("/limited/holds/h_00000000000000000000000000000000").key(SHOP),
    ] {
        let refused = server.ask(&request);
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.json()["reason"], "storage_unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    let read = server.ask(&Request::get("/limited/products/drop").key(SHOP));
    assert_eq!(read.status, 200, "{read:?}");
    server.put_product("drop", 1_000);
}

/// The lines of all files, in their order.
pub fn lines_below(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|it| it.unwrap().path())
        .filter(|it| {
            let other = it.file_name().unwrap().to_string_lossy().into_owned();
            other.starts_with(&name) && !other.contains("cursor") && !other.contains("lost")
        })
        .collect();
    files.sort_by_key(|it| (it == path, it.clone()));
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let text: String = files.iter().map(read).collect();
    text.lines().map(str::to_owned).collect()
}
