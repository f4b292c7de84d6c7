//! The whole journal, snapshots too, on a simulated disk: a crash after every operation of a
//! scripted run, with everything, nothing or one thing of what was not durable lost. Whatever the
//! disk then looks like, the directory opens, every answer that was given is given again under its
//! key, and stock is conserved. Torn sectors are the log's own proof (`wal/tests/crash.rs`).

use crate::came::{Came, of_any_kind};
use holdfast::engine::command::{Buy, PaymentStep, PlaceHold};
use holdfast::engine::event::{DeclineCause, IdempotencyKey, Origin, ProductSet};
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{
    AuthorizationId, CaptureId, Digest16, KeyOwner, Lsn, ProductId, PurchaseId, ReceiptKeyId,
    RequestId, UserId,
};
use holdfast::journal::{
    Answered, Audit, Clock, Disks, Journal, JournalOptions, ManualClock, Submitted,
};
use holdfast::money::{Currency, Price};
use holdfast::time::UnixMs;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::commands;
use wal::sim::{CrashImage, Loss, SimStorage};
use wal::{Access, DiskStorage, Storage, StorageFile};

const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
const STOCK: u32 = 9;

/// A child that another thread starts shares this process's files until it executes its program.
#[test]
fn a_directory_that_was_closed_is_free_while_other_threads_start_programs() {
    let directory = tempfile::tempdir().expect("a directory");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let ran = std::process::Command::new("true").status();
                    assert!(ran.expect("it starts").success());
                }
            });
        }
        let opened = std::panic::catch_unwind(|| {
            for round in 0..2_000 {
                let log = DiskStorage::open(directory.path().join("log"));
                drop(log.unwrap_or_else(|error| panic!("the log's, in round {round}: {error}")));
            }
            for round in 0..6 {
                let options = JournalOptions::new(directory.path().join("data"));
                let journal = Journal::open(options, &mut |_| {});
                journal
                    .unwrap_or_else(|error| panic!("the journal's, in round {round}: {error}"))
                    .close();
            }
        });
        stop.store(true, Ordering::Relaxed);
        opened.expect("it is free at once");
    });
}

#[test]
fn after_any_crash_every_answer_is_replayed() {
    let disk = SimStorage::new();
    let answers = scripted_run(&disk);
    let history = disk.history();
    let mut images = Vec::new();
    let mut seen = HashSet::new();
    for after in 0..=history.len() {
        for image in history.crashes_with(after, matters) {
            let mut hash = DefaultHasher::new();
            (&image.files, image.acknowledged).hash(&mut hash);
            if seen.insert(hash.finish()) {
                images.push(image);
            }
        }
    }
    let cases = images.len();
    let from_snapshots: u64 = std::thread::scope(|scope| {
        let halves = images.chunks(cases.div_ceil(2)).map(|half| {
            let answers = &answers;
            scope.spawn(move || {
                half.iter()
                    .map(|it| u64::from(survives(it, answers)))
                    .sum::<u64>()
            })
        });
        let halves: Vec<_> = halves.collect();
        halves
            .into_iter()
            .map(|half| half.join().expect("it survives"))
            .sum()
    });
    println!("simulated disk: {cases} cases, {from_snapshots} of them from a snapshot");
    assert!(
        cases > 100 && from_snapshots > 20,
        "the script exercises both"
    );
}

/// Snapshots never write more than the log does: the next is due once the log has grown by as much as
/// is wanted between two, and by as much as the last one took.
#[test]
fn a_snapshot_is_due_when_the_log_has_grown_by_as_much_as_the_last_one_took() {
    let disk = SimStorage::new();
    let mut journal = open(&disk).expect("a healthy disk");
    let set = journal.catalogue().put_product(product_set());
    let begun = set.expect("it is written").durable_at;
    assert!(journal.upkeep().snapshot_due(1));
    assert!(!journal.upkeep().snapshot_due(1 << 20));
    let taken = journal.upkeep().snapshot().expect("a snapshot");
    assert!(taken.bytes > 10 * begun.0, "{taken:?}");
    // The size of the last one is remembered over a restart.
    journal.close();
    journal = open(&disk).expect("a healthy disk");
    let mut numbers = (0..=u8::MAX).cycle();
    let mut last = taken.lsn;
    while !journal.upkeep().snapshot_due(1) {
        assert!(last.0 < taken.lsn.0 + taken.bytes, "{last:?} {taken:?}");
        let submitted = submit(
            &journal,
            &ScriptedCommand::Hold(hold(numbers.next().expect("endless"))),
        );
        last = submitted.durable_at.unwrap_or(last);
    }
    assert!(
        last.0 > taken.lsn.0 + taken.bytes - 1_000,
        "{last:?} {taken:?}"
    );
}

/// Tears within a write are proven where the format is.
fn matters(loss: Loss) -> bool {
    !matches!(loss, Loss::TornAfter(..) | Loss::TornBefore(..))
}

/// An answer that was given, and from which LSN on it was.
struct Given {
    told_at: Lsn,
    command: ScriptedCommand,
    outcome: String,
}

enum ScriptedCommand {
    Hold(PlaceHold),
    Buy(Buy),
}

/// Holds and buys in three sessions, with snapshots between; each answer is noted once durable.
fn scripted_run(disk: &SimStorage) -> Vec<Given> {
    let mut answers = Vec::new();
    for session in 0..2_u8 {
        let journal = open(disk).expect("a healthy disk");
        if session == 0 {
            let set = journal.catalogue().put_product(product_set());
            journal
                .wait_durable(set.expect("it is written").durable_at)
                .expect("durable");
        }
        for number in 0..2_u8 {
            let user = session * 2 + number;
            give(
                disk,
                &journal,
                &mut answers,
                ScriptedCommand::Hold(hold(user)),
            );
            journal.upkeep().snapshot().expect("a snapshot");
            give(
                disk,
                &journal,
                &mut answers,
                ScriptedCommand::Buy(buy(user)),
            );
        }
        journal.close();
    }
    answers
}

fn give(disk: &SimStorage, journal: &Journal, answers: &mut Vec<Given>, command: ScriptedCommand) {
    let submitted = submit(journal, &command);
    let mut told_at = submitted.durable_at.expect("it waits for the log");
    let mut outcome = word(&submitted);
    if let Ok(Came::PaymentStarted(purchase)) = submitted.outcome {
        (told_at, outcome) = settle(
            journal,
            purchase,
            if answers.len() == 3 {
                End::Declined
            } else {
                End::Captured
            },
        );
    }
    journal.wait_durable(told_at).expect("durable");
    disk.mark(told_at.0);
    answers.push(Given {
        told_at,
        command,
        outcome,
    });
}

/// How a payment ends.
#[derive(Copy, Clone)]
enum End {
    Captured,
    Declined,
}

/// Captures or declines.
fn settle(journal: &Journal, purchase: PurchaseId, end: End) -> (Lsn, String) {
    let quote = journal
        .reads()
        .purchase(purchase)
        .expect("it was begun")
        .0
        .quote;
    let captured = [
        PaymentStep::Authorized {
            authorization: AuthorizationId::parse("auth").expect("an id"),
            capture_before: None,
        },
        PaymentStep::StartCapture,
        PaymentStep::captured(
            quote,
            CaptureId::parse("cap").expect("an id"),
            ReceiptKeyId::parse("r1").expect("an id"),
        ),
    ];
    let declined = [PaymentStep::declined(DeclineCause::DeclinedByIssuer)];
    let (steps, outcome): (&[PaymentStep], _) = match end {
        End::Captured => (&captured, "captured"),
        End::Declined => (&declined, "payment_declined"),
    };
    let mut told_at = Lsn(0);
    for step in steps {
        let recorded = journal.record(purchase, step.clone(), Audit::Nothing);
        told_at = recorded.expect("the state allows it").durable_at;
    }
    (told_at, outcome.to_owned())
}

/// Opens a crashed disk and asks for every answer again; whether it began from a snapshot.
fn survives(image: &CrashImage, answers: &[Given]) -> bool {
    let crash = image.crash;
    let acknowledged = image.acknowledged;
    let disk = SimStorage::with_files(image.files.clone());
    let journal = open(&disk).unwrap_or_else(|error| panic!("{crash:?}: {error}"));
    for given in answers
        .iter()
        .filter(|given| given.told_at.0 <= acknowledged)
    {
        let again = submit(&journal, &given.command);
        assert_eq!(
            again.replay,
            Answered::Again,
            "{crash:?} acknowledged {acknowledged}"
        );
        assert_eq!(
            word(&again),
            given.outcome,
            "{crash:?} acknowledged {acknowledged}"
        );
    }
    for view in journal.reads().products().0 {
        assert!(view.held + view.sold <= view.total, "{crash:?}: I1");
    }
    let from_snapshot = journal.opened().snapshot.is_some();
    let digest = journal.opened().digest.clone();
    journal.close();
    drop(journal);
    // Opened once more, it finds what it found: recovery changes nothing that counts. Not for each
    // case: the state is the same for many.
    if !crash.after.is_multiple_of(4) {
        return from_snapshot;
    }
    let again = open(&disk).unwrap_or_else(|error| panic!("{crash:?}, again: {error}"));
    if acknowledged > 0 {
        assert_eq!(again.opened().digest, digest, "{crash:?}: I6");
    }
    again.close();
    from_snapshot
}

fn submit(journal: &Journal, command: &ScriptedCommand) -> Submitted<Came> {
    let submitted = match command {
        ScriptedCommand::Hold(command) => journal.place_hold(command).map(of_any_kind),
        ScriptedCommand::Buy(command) => journal.buy(command).map(of_any_kind),
    };
    submitted.expect("the log takes it")
}

fn word(submitted: &Submitted<Came>) -> String {
    match &submitted.outcome {
        Ok(Came::Hold(view)) => view.state.as_str().to_owned(),
        Ok(Came::PaymentStarted(_)) => "started".to_owned(),
        Ok(Came::Paid(view)) => view.state.as_str().to_owned(),
        Ok(Came::Refund(_) | Came::Spent) => unreachable!("nothing is refunded or spent here"),
        Ok(Came::Declined(view)) => view.reason.reason().to_owned(),
        Err(refused) => refused.reason.reason().to_owned(),
    }
}

fn open(disk: &SimStorage) -> Result<Arc<Journal>, holdfast::journal::JournalError> {
    let mut options = JournalOptions::new("simulated");
    options.clock = Clock::Manual(ManualClock::new(BEGIN));
    options.engine = EngineSettings::default();
    options.log.segment_bytes = (1 << 20) + 512;
    options.log.ring_bytes = 1 << 20;
    options.snapshot_every_bytes = 0;
    let below = |folder| {
        Arc::new(Below {
            disk: disk.clone(),
            folder,
        })
    };
    let disks = Disks {
        log: below("log/"),
        snapshots: below("snapshots/"),
    };
    Journal::open_on(disks, options, None, &mut |_| {})
}

/// A folder of the simulated disk.
struct Below {
    disk: SimStorage,
    folder: &'static str,
}

impl Below {
    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }
}

impl Storage for Below {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        self.disk.open(&self.path(name), access)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.disk.list()?;
        let below = names
            .iter()
            .filter_map(|name| name.strip_prefix(self.folder));
        Ok(below.map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

fn origin(number: u8) -> Origin {
    Origin {
        request: RequestId(u64::from(number)),
        owner: KeyOwner::parse("shop").expect("a name"),
        key: Some(IdempotencyKey {
            scope: Digest16([number; 16]),
            fingerprint: Digest16([number; 16]),
        }),
        ip: None,
        device: None,
    }
}

fn user(number: u8) -> UserId {
    UserId::parse(&format!("u{number}")).expect("a user")
}

fn product() -> ProductId {
    ProductId::parse("drop").expect("a product")
}

fn hold(number: u8) -> PlaceHold {
    commands::hold(user(number), product(), origin(number))
}

fn buy(number: u8) -> Buy {
    commands::buy(user(number), product(), origin(100 + number))
}

fn product_set() -> ProductSet {
    ProductSet {
        prices: vec![(
            Currency::parse("USD").expect("listed"),
            Price::new(500).expect("a price"),
        )],
        ..commands::product_set(product(), STOCK)
    }
}
