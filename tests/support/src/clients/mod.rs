//! What the big proofs share beside [`support`](crate::support): dice with a seed, the commands
//! for stopped directories, the sandbox's books, and a fold of the log that keeps the invariants.
//!
//! Everything here looks from outside: HTTP, the command line, printed events. Nothing of the
//! library is called, so a mistake in it cannot excuse itself.
pub mod fold;

use crate::{ADMIN, Log, Request, Response, Server, binary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

/// A line for whoever runs the test, also where the harness keeps output to itself.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A whole number from the environment.
pub fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is `{text}` and must be a whole number")))
}

/// `HOLDFAST_SEED`, or a new one, said aloud so that a failure can be run again.
pub fn seed(test: &str) -> u64 {
    let seed = number_from_env("HOLDFAST_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::from(now.unwrap().subsec_micros())
    });
    say(&format!("{test}: HOLDFAST_SEED={seed}"));
    seed
}

/// Dice (splitmix64) that fall alike for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).expect("less than a usize")
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Other dice, for another thread.
    pub fn fork(&mut self) -> Self {
        Self(self.roll())
    }
}

/// Says what the server logged last when a test fails while it runs: a server that stopped on
/// its own says why there, its clients only see connections end.
pub struct LastWords(pub Log);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.0.lines();
            let last = &lines[lines.len().saturating_sub(5)..];
            say(&format!("the server's last words:\n{}", last.join("\n")));
        }
    }
}

/// `holdfast check DIR`, which has to find nothing wrong; its last line.
pub fn check(dir: &Path) -> Value {
    let output = binary().arg("check").arg(dir).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    let figures: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(figures["clean"], true, "{figures}");
    assert!(!figures["digest"].as_str().unwrap().is_empty(), "{figures}");
    figures
}

/// `holdfast log DIR`, folded event by event; each one is checked as it comes.
pub fn fold_log(dir: &Path) -> fold::Fold {
    let mut command = binary();
    command.arg("log").arg(dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut fold = fold::Fold::default();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        fold.apply(&serde_json::from_str(&line.unwrap()).unwrap());
    }
    assert!(child.wait().unwrap().success(), "holdfast log failed");
    fold
}

/// What the operator sees.
pub fn status(server: &Server) -> Value {
    let answer = server.ask(&Request::get("/admin/status").key(ADMIN));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// One entry of the gateway's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub state: String,
    pub currency: String,
    pub amount: i64,
    pub captured: i64,
}

/// What the gateway really did, by purchase; more than one entry for a purchase is a failure.
pub fn charges(server: &Server) -> BTreeMap<String, Charge> {
    const PAGE: usize = 2_000;
    let mut found = BTreeMap::new();
    let mut after = String::new();
    loop {
        let path = format!("/admin/sandbox/charges?limit={PAGE}{after}");
        let page = server.ask(&Request::get(&path).key(ADMIN)).json();
        let charges = page["charges"].as_array().unwrap();
        for charge in charges {
            let purchase = charge["purchase_id"].as_str().unwrap().to_owned();
            let entry = Charge {
                state: charge["state"].as_str().unwrap().to_owned(),
                currency: charge["currency"].as_str().unwrap().to_owned(),
                amount: charge["amount"].as_i64().unwrap(),
                captured: charge["captured"].as_i64().unwrap(),
            };
            let twice = found.insert(purchase, entry);
            assert!(twice.is_none(), "two charges for one purchase: {charge}");
        }
        if page["more"] == false {
            assert_eq!(page["total"].as_u64().unwrap(), found.len() as u64);
            return found;
        }
        let last = charges.last().unwrap()["reference"].as_str().unwrap();
        after = format!("&after={last}");
    }
}

/// Whether an answer is an outcome that its key has to remember. Not so what says "later" (202,
/// still running, too fast, overloaded).
pub fn is_outcome(answer: &Response) -> bool {
    match answer.status {
        201 | 402 => true,
        404 | 409 => answer.reason() != "idempotency_in_flight",
        _ => false,
    }
}

/// Whether an answer says that the outcome is not known yet.
pub fn is_pending(answer: &Response) -> bool {
    answer.status == 202 || (answer.status == 409 && answer.reason() == "idempotency_in_flight")
}

/// Asks again under the key of an answered request: same status, same bytes, said to be a replay.
#[track_caller]
pub fn assert_replayed(request: &Request, before: (u16, &[u8]), again: &Response) {
    let same = again.status == before.0 && again.body == before.1;
    let told = again.header("idempotent-replayed") == Some("true");
    assert!(
        same && told,
        "asked again, the answer is another.\nrequest: {} {} {:?} {}\nfirst:   {} {}\nagain:   {} {} {:?}",
        request.method,
        request.path,
        request.headers,
        String::from_utf8_lossy(&request.body),
        before.0,
        String::from_utf8_lossy(before.1),
        again.status,
        again.text(),
        again.headers,
    );
}
