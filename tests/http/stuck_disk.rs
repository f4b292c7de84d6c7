//! A disk that takes nothing for a while, and a shard whose turn takes long, below the whole front
//! end with one worker in this process: whoever has nothing to do with it is answered meanwhile.

use holdfast::config::{Config, Demo, Sources};
use holdfast::engine::event::{Actor, ActorRole, AdminAct, AdminActed, BuyerPaused};
use holdfast::http::core::{Core, CoreParts};
use holdfast::http::front::Front;
use holdfast::http::route::Serves;
use holdfast::http::server::listener::Listener;
use holdfast::http::server::{Face, Server};
use holdfast::ids::{KeyOwner, ReceiptKeyId, RequestId, UserId};
use holdfast::journal::{Audit, Disks, Journal, JournalOptions};
use holdfast::payments::sandbox::Sandbox;
use holdfast::payments::{PaymentSettings, Payments};
use holdfast::receipts::{ReceiptKey, Sealer};
use holdfast::reconcile::{JobSettings, ReconcileLimits, Reconciler};
use holdfast::report::feed::{FeedSettings, Sinks};
use holdfast::telemetry::metrics::Metrics;
use holdfast::webhooks::Secrets;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support::{ADMIN, Client, Request, SHOP, product_terms, until};
use wal::{Access, Storage, StorageFile};

/// Small, so that few holds fill half of it.
const RING_BYTES: usize = 512 << 10;
/// More of them than the whole ring has room for.
const HOLDS: usize = 400;

/// A disk whose syncs can be held back.
struct HeldDisk {
    disk: Arc<dyn Storage>,
    hold: Arc<Hold>,
}

#[derive(Default)]
struct Hold {
    held: Mutex<bool>,
    changed: Condvar,
}

impl Hold {
    fn set(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let held = self.held.lock().unwrap();
        drop(self.changed.wait_while(held, |held| *held).unwrap());
    }
}

struct HeldFile {
    file: Box<dyn StorageFile>,
    hold: Arc<Hold>,
}

impl Storage for HeldDisk {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let file = self.disk.open(name, access)?;
        let hold = Arc::clone(&self.hold);
        Ok(Box::new(HeldFile { file, hold }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl StorageFile for HeldFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hold.wait();
        self.file.sync_data()
    }
}

/// The front end with one worker, over a disk that can be held.
struct Stage {
    journal: Arc<Journal>,
    disk: Arc<Hold>,
    address: SocketAddr,
    server: Server,
    core: Arc<Core>,
}

impl Stage {
    fn start(data_dir: &Path) -> Self {
        let config = config(data_dir);
        let disk = Arc::new(Hold::default());
        let journal = open(data_dir, &disk);
        let sandbox = Arc::new(Sandbox::open(data_dir).unwrap());
        let key = ReceiptKeyId::parse("r1").unwrap();
        let secret = b"a-secret-for-receipts-of-32-bytes";
        let sealer = Sealer::new(vec![ReceiptKey::new(key, secret).unwrap()]).unwrap();
        let payments = Payments::new(
            Arc::clone(&journal),
            Arc::clone(&sandbox) as _,
            PaymentSettings::default(),
            sealer.capture_keys(),
            Arc::new(()),
        );
        let job = JobSettings {
            every: None,
            limits: ReconcileLimits {
                window: None,
                pause: Duration::ZERO,
                call_timeout: Duration::from_secs(1),
                differences_max: 1,
            },
        };
        let gateway = Arc::clone(&sandbox) as _;
        let (reachable, differs) = (Box::new(|| true), Box::new(|_| {}));
        let reconciler = Reconciler::new(Arc::clone(&journal), gateway, job, reachable, differs);
        let parts = CoreParts {
            payments: payments.unwrap(),
            sealer,
            sandbox: Some(sandbox),
            reconciler,
            backup: None,
            tls: None,
            connections_max: 1_000,
            segments: None,
            metrics: Arc::new(Metrics::new(3, holdfast::http::route::served())),
            tracer: Arc::default(),
            sinks: Arc::new(sinks(&config, &journal)),
            endpoints: Vec::new(),
            webhook_secrets: Arc::new(Secrets::new(Vec::new(), Vec::new())),
            journal: Arc::clone(&journal),
        };
        let core = Core::new(&config, parts).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind("server.listen", any, 1, 1_024).unwrap();
        let face = Face {
            name: "http",
            listener,
            connections_max: 1_000,
            per_peer_max: 1_000,
            handlers: vec![Front::new(&core, 0, Serves::All, journal.gate())],
        };
        let server = Server::start(&config.server, None, face, None).unwrap();
        Self {
            address: server.address(),
            journal,
            disk,
            server,
            core,
        }
    }

    fn ask(&self, request: &Request) -> support::Response {
        Client::connect(self.address).ask(request)
    }

    fn put_product(&self, stock: usize) {
        let terms = json!({"name": "drop", "price": {"USD": 100}, "stock": stock});
        let put = Request::put("/admin/products/drop").key(ADMIN);
        let answer = self.ask(&put.json(&product_terms(&terms)));
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Sends a request, whose answer is not waited for.
    fn begin(&self, request: &Request) -> Client {
        let mut client = Client::connect(self.address);
        client.send(&request.bytes()).unwrap();
        client
    }

    fn stop(self) {
        self.core.stop();
        self.server.drain();
        self.journal.close();
    }
}

fn config(data_dir: &Path) -> Config {
    let sources = Sources {
        listen: Some("127.0.0.1:0".to_owned()),
        data_dir: Some(data_dir.to_owned()),
        demo: Demo::Yes,
        ..Sources::default()
    };
    Config::load(&sources).unwrap()
}

fn open(data_dir: &Path, hold: &Arc<Hold>) -> Arc<Journal> {
    let mut options = JournalOptions::new(data_dir);
    options.log.ring_bytes = RING_BYTES;
    let mut disks = Disks::create(data_dir).unwrap();
    disks.log = Arc::new(HeldDisk {
        disk: disks.log,
        hold: Arc::clone(hold),
    });
    Journal::open_on(disks, options, None, &mut |_| {}).unwrap()
}

fn sinks(config: &Config, journal: &Arc<Journal>) -> Sinks {
    let (storage, report) = (&config.storage, &config.report);
    let settings = FeedSettings {
        data_dir: storage.data_dir.clone(),
        backoff: report.backoff,
        deliver_timeout: report.deliver_timeout,
        dead_letters_bytes_max: report.dead_letters_bytes_max,
        on_disk_full: report.on_disk_full.clone(),
        give_up_below_bytes: report.give_up_below_bytes,
        segment_bytes: storage.segment_bytes,
    };
    Sinks::new(Arc::clone(journal), settings).unwrap()
}

/// A hold that takes more than two kilobytes in the log.
fn hold(number: usize) -> Request {
    let pairs = (0..10).map(|it| (format!("k{it}"), json!("x".repeat(200))));
    let metadata: serde_json::Map<_, _> = pairs.collect();
    let body = json!({
        "user_id": format!("u{number}"), "product_id": "drop", "quantity": 1,
        "metadata": metadata,
    });
    let request = Request::post("/limited/holds").key(SHOP);
    request.once(&format!("key-{number:08}")).json(&body)
}

/// Before this was so, the first append into the full ring stopped the worker until the disk went on:
/// `/livez` was not answered either.
#[test]
fn a_full_ring_is_told_after_a_bounded_wait_and_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(dir.path());
    stage.put_product(2 * HOLDS);
    stage.disk.set(true);
    let begun: Vec<_> = (0..HOLDS).map(|it| stage.begin(&hold(it))).collect();
    until("the ring has no room", || {
        (!stage.journal.figures().log_has_room()).then_some(())
    });

    let start = Instant::now();
    let mut late = stage.begin(&hold(HOLDS));
    for probe in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(stage.ask(&Request::get(probe)).status, 200, "{probe}");
    }
    let refused = late.receive().unwrap();
    let told = (refused.status, refused.reason());
    assert_eq!(told, (503, "storage_unavailable".to_owned()), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{start:?}");

    stage.disk.set(false);
    let mut held = 0;
    for mut client in begun {
        let answer = client.receive().unwrap();
        match answer.status {
            201 => held += 1,
            _ => assert_eq!(answer.reason(), "storage_unavailable", "{answer:?}"),
        }
    }
    assert!((1..HOLDS).contains(&held), "{held} of {HOLDS} were held");
    // A key that was refused so is free.
    assert_eq!(late.ask(&hold(HOLDS)).status, 201);
    let product = stage.ask(&Request::get("/admin/products/drop").key(ADMIN));
    assert_eq!(product.json()["stock"]["held"], held + 1, "{product:?}");
    stage.stop();
}

/// Before this was so, the scrape waited for the shard on the worker, which answered nobody meanwhile.
#[test]
fn figures_that_wait_for_a_shard_stop_no_worker() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(dir.path());
    let (in_turn, turn) = channel();
    let (go_on, told) = channel::<()>();
    let journal = Arc::clone(&stage.journal);
    let in_a_turn = std::thread::spawn(move || {
        let paused = BuyerPaused {
            user: UserId::parse("ana").unwrap(),
            pause: None,
            by: AdminAct {
                request: RequestId(1),
                owner: boss(),
            },
        };
        let acted = |_: &Option<_>| {
            in_turn.send(()).unwrap();
            told.recv().unwrap();
            act()
        };
        let _ = journal
            .risk()
            .pause_buyer(paused, Audit::Act(&acted))
            .unwrap();
    });
    turn.recv().unwrap();

    // Connections that are open already: what is sent on them comes before what follows.
    let asked = [
        Request::get("/metrics"),
        Request::get("/admin/status").key(ADMIN),
    ];
    let mut waiting = asked.map(|request| {
        let mut client = Client::connect(stage.address);
        assert_eq!(client.ask(&Request::get("/livez")).status, 200);
        client.send(&request.bytes()).unwrap();
        client
    });
    for _ in 0..20 {
        assert_eq!(stage.ask(&Request::get("/livez")).status, 200);
    }
    let other = Request::get("/limited/products").key(SHOP);
    assert_eq!(stage.ask(&other).status, 200, "{other:?}");
    for client in &mut waiting {
        assert!(!client.has_answer(), "it waits for the shard");
    }

    go_on.send(()).unwrap();
    for client in &mut waiting {
        assert_eq!(client.receive().unwrap().status, 200);
    }
    in_a_turn.join().unwrap();
    stage.stop();
}

fn boss() -> KeyOwner {
    KeyOwner::parse("boss").unwrap()
}

fn act() -> AdminActed {
    AdminActed {
        act: "buyer_unpaused".to_owned(),
        target: None,
        before: None,
        after: None,
        by: Actor {
            request: RequestId(1),
            owner: boss(),
            role: ActorRole::Admin,
        },
    }
}
