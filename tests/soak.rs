//! Everything at once against the real process: shops that buy, strangers without a key, one account
//! gone mad, a PostgreSQL that goes away, snapshots, a backup. The memory stays flat and no shop's request is
//! lost to a stranger. `HOLDFAST_SOAK_S` says for how many seconds.

use socket2::{Domain, Socket, Type};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::postgres_server::Postgres;
use support::{ADMIN, Client, Request, SHOP, Server, Setup, binary, until};

/// What a held purchase, its buyer and its keys may take in memory, in bytes.
const PURCHASE_BYTES_MAX: u64 = 2_048;
/// What else may grow in the second half: buffers, tables that grow by doubling.
const SLACK_BYTES: u64 = 24 << 20;
/// Connections that the server takes; strangers open more.
const CONNECTIONS_MAX: usize = 128;
/// Buyers of one shop's connection.
const BUYERS: u64 = 500;
/// Requests on one connection before the shop opens another.
const REQUESTS_A_CONNECTION: u64 = 200;

/// Small segments, so that in the first half many are sealed and shipped to the backup: the buffers for that
/// are allocated once.
const CONFIG: &str = "[server]\nworkers = 2\nmax_connections = 128\n\
    [idempotency]\nretention_s = 2\n[engine]\nended_keep_s = 2\n[clock]\nsettle_s = 1\n\
    [limits.rate]\ncount = 1000\nper_s = 1\n[storage]\nsegment_bytes = 1049088\n\
    snapshot_every_bytes = 8388608\n";

#[test]
fn memory_stays_flat_and_no_request_of_the_shop_is_lost_to_a_stranger() {
    let lasts = std::env::var("HOLDFAST_SOAK_S").map_or(16, |it| it.parse().unwrap());
    let postgres = Postgres::start();
    let scratch = tempfile::tempdir().unwrap();
    let server = Setup::demo()
        .config(CONFIG)
        .config(&format!(
            "[report.postgres]\nurl = \"{}\"\n[backup]\nto = \"file://{}\"",
            postgres.url(),
            scratch.path().join("backup").display()
        ))
        .data_dir(&scratch.path().join("data"))
        .start();
    server.put_product("plenty", 2_000_000);
    server.put_product("few", 40);
    let soak = Arc::new(Soak::new(server.address));
    let parts: Vec<_> = [
        shop as fn(&Soak, u64),
        shop,
        shop,
        withheld,
        noise,
        gone_mad,
        snapshots,
    ]
    .into_iter()
    .enumerate()
    .map(|(number, part)| {
        let soak = Arc::clone(&soak);
        std::thread::spawn(move || part(&soak, number as u64))
    })
    .collect();

    let half = Duration::from_secs(lasts) / 2;
    let began = Instant::now();
    let mut outages = 0;
    let mut figures = Vec::new();
    for end in [half, 2 * half] {
        let mut resident = Vec::new();
        while began.elapsed() < end {
            postgres.crash();
            outages += 1;
            postgres.up();
            let seen = soak.told_to_shop();
            until("the shop goes on", || {
                resident.push(resident_bytes(&server));
                (soak.told_to_shop() > seen + 500).then_some(())
            });
        }
        // A snapshot's buffers come and go; memory that is lost raises the lowest figure, too.
        let lately = resident.len() / 2;
        let lowest = resident[lately..].iter().min().copied();
        figures.push((lowest.unwrap(), soak.captured.load(Relaxed)));
    }
    soak.over.store(true, Relaxed);
    for part in parts {
        part.join().expect("no part met what must not be");
    }

    let [(before, bought_before), (after, bought)] = figures[..] else {
        unreachable!("there are two halves")
    };
    println!(
        "soak: {lasts} s, answers {:?}, {outages} outages, {} snapshots, {} withheld, {before} then \
         {after} bytes, {bought} captured",
        soak.answers.lock().unwrap(),
        soak.snapshots.load(Relaxed),
        soak.withheld.load(Relaxed),
    );
    let grown = after.saturating_sub(before);
    let allowed = SLACK_BYTES + (bought - bought_before) * PURCHASE_BYTES_MAX;
    assert!(
        grown <= allowed,
        "{grown} bytes, of which {allowed} have a reason"
    );
    assert!(soak.withheld.load(Relaxed) > 2 * CONNECTIONS_MAX as u64);
    assert!(soak.snapshots.load(Relaxed) > 0 && soak.mad.load(Relaxed) > 0 && outages > 1);
    let [total, held, sold, _] = server.stock("few");
    assert!(held + sold <= total, "{held} held, {sold} sold of {total}");
    is_all_reported(&postgres, bought);
    drop(server.stop());
    is_restorable(&scratch.path().join("backup"));
}

/// What the parts share.
struct Soak {
    address: SocketAddr,
    over: AtomicBool,
    /// What shops were told, by status and reason.
    answers: Mutex<BTreeMap<(u16, String), u64>>,
    captured: AtomicU64,
    withheld: AtomicU64,
    mad: AtomicU64,
    snapshots: AtomicU64,
}

impl Soak {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            over: AtomicBool::new(false),
            answers: Mutex::default(),
            captured: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
            mad: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
        }
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    fn told_to_shop(&self) -> u64 {
        self.answers.lock().unwrap().values().sum()
    }
}

/// A shop's connection: holds that are given back, and now and then a purchase. Every request is
/// answered, and with an answer that somebody decided.
fn shop(soak: &Soak, number: u64) {
    let mut client = Client::connect(soak.address);
    let mut ask = |soak: &Soak, round: u64, request: &Request| {
        if round.is_multiple_of(REQUESTS_A_CONNECTION) {
            client = Client::connect(soak.address);
        }
        let answer = client.ask(request);
        let reason = answer.reason();
        let decided = match answer.status {
            200..=202 => true,
            409 => ["sold_out", "per_user_limit"].contains(&reason.as_str()),
            429 => reason == "rate_limited",
            _ => false,
        };
        assert!(decided, "{request:?} was answered {answer:?}");
        *soak
            .answers
            .lock()
            .unwrap()
            .entry((answer.status, reason))
            .or_default() += 1;
        answer
    };
    let mut round = 0;
    while soak.goes_on() {
        round += 1;
        let user = format!("buyer-{number}-{}", round % BUYERS);
        let key = format!("key-of-shop-{number}-{round}");
        if round.is_multiple_of(50) {
            let bought = ask(soak, round, &Request::buy(&user, "few", "tok_ok", &key));
            soak.captured
                .fetch_add(u64::from(bought.status == 201), Relaxed);
            continue;
        }
        let product = if round.is_multiple_of(10) {
            "few"
        } else {
            "plenty"
        };
        let held = ask(soak, round, &Request::hold(&user, product, 1, &key));
        if held.status == 201 {
            let path = format!(
                "/limited/holds/{}",
                held.json()["hold_id"].as_str().unwrap()
            );
            let given = ask(soak, round + 1, &Request::delete(&path).key(SHOP));
            assert_eq!(given.status, 200, "{given:?}");
        }
    }
}

/// A stranger who opens more connections than there may be, each with a body that never comes.
fn withheld(soak: &Soak, _: u64) {
    let head = b"POST /limited/holds HTTP/1.1\r\nhost: holdfast\r\ncontent-length: 4096\r\n\r\n{";
    let mut open = VecDeque::new();
    while soak.goes_on() {
        // Refused or not is the server's affair.
        if let Ok(mut client) = stranger(soak, 2) {
            let _ = client.send(head);
            open.push_back(client);
            soak.withheld.fetch_add(1, Relaxed);
        }
        if open.len() > 2 * CONNECTIONS_MAX {
            open.pop_front();
        }
        std::thread::yield_now();
    }
}

/// A stranger with wrong keys and with bytes that are no request.
fn noise(soak: &Soak, _: u64) {
    let guess = Request::post("/limited/buy").key("a-key-that-nobody-was-given");
    while soak.goes_on() {
        if let Ok(mut client) = stranger(soak, 3) {
            let _ = client.try_ask(&guess);
            let _ = client.send(b"\x16\x03\x01\x00\xff PRI * HTTP/2.0\r\n\r\n");
        }
    }
}

/// A connection from an address that is not the shop's.
fn stranger(soak: &Soak, host: u8) -> std::io::Result<Client> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into())?;
    socket.connect(&soak.address.into())?;
    Client::over(socket.into())
}

/// One account with new keys and holds without end, until it is told to wait.
fn gone_mad(soak: &Soak, _: u64) {
    let mut client = Client::connect(soak.address);
    let mut round = 0;
    while soak.goes_on() {
        round += 1;
        let answer = client.ask(&Request::hold(
            "mad",
            "plenty",
            1,
            &format!("key-of-the-mad-{round}"),
        ));
        assert!(matches!(answer.status, 201 | 429), "{answer:?}");
        soak.mad.fetch_add(u64::from(answer.status == 429), Relaxed);
    }
}

/// An operator who takes snapshots and looks at the metrics.
fn snapshots(soak: &Soak, _: u64) {
    while soak.goes_on() {
        let mut client = Client::connect(soak.address);
        let taken = client.ask(&Request::post("/admin/snapshot").key(ADMIN));
        assert!(matches!(taken.status, 200..=202), "{taken:?}");
        soak.snapshots.fetch_add(1, Relaxed);
        let metrics = client.ask(&Request::get("/metrics").key(ADMIN));
        assert_eq!(metrics.status, 200);
        assert_eq!(client.ask(&Request::get("/readyz")).status, 200);
    }
}

/// What the process has in memory.
fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1_024
}

/// After the outages the table has every purchase.
fn is_all_reported(postgres: &Postgres, captured: u64) {
    let sql = "SELECT count(*) FROM holdfast.shop_transactions WHERE status = 'captured'";
    until("PostgreSQL has every purchase", || {
        // The tables may have to be made yet, if it was never up for long.
        let rows = postgres.try_query_as("app", sql).ok()?;
        let there: i64 = rows[0].get(0);
        (there.unsigned_abs() >= captured).then_some(())
    });
}

/// What was shipped meanwhile is whole.
fn is_restorable(backup: &std::path::Path) {
    let from = format!("file://{}", backup.display());
    let verify = binary()
        .args(["backup", "verify", "--from", &from])
        .output()
        .unwrap();
    assert!(verify.status.success(), "{verify:?}");
}
