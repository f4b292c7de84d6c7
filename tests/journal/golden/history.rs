//! A fixed history, written to a data directory in memory, and such directories as files.
//!
//! Every command is made durable before the next, so that frames do not depend on the machine's
//! speed. The clock is moved by hand, requests are numbered, and the log's identity, which is drawn at
//! random, is replaced: nothing is left to chance.

use super::events;
use crate::came::Came;
use holdfast::engine::command::{Buy, PaymentStep, PlaceHold, ReleaseHold, Verdict};
use holdfast::engine::event::{BuyerSegmented, Decider, Judgement, VoidCause};
use holdfast::engine::settings::{EngineSettings, WebhookMemory};
use holdfast::ids::{AuthorizationId, CaptureId, Lsn, PurchaseId, ReceiptKeyId, UserId};
use holdfast::journal::{
    Audit, Clock, Disks, Journal, JournalOptions, ManualClock, Recorded, SegmentTaken,
    StorageFault, Submitted,
};
use holdfast::money::Amount;
use holdfast::random::Random;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::commands;
use wal::sim::SimStorage;

/// Files by their path below the data directory.
pub type Directory = BTreeMap<String, Vec<u8>>;

const SEGMENT_BYTES: usize = (1 << 20) + 512;
/// The witness: two slots, each in a page of its own, the second one not whole.
const WITNESS_BYTES: usize = 4_096 + 512;

/// The log's id and its generation's tag, as [`begin`] writes them.
const LOG_ID: u128 = 0x055c_2d12_3106_8344_30e5_0479_31bd_3347;
const TAG: u64 = 0x613b_ce91_72ff_79a6;

/// A new data directory.
pub fn begin() -> Directory {
    let mut files = Stage::open(&Directory::new()).close();
    for (name, bytes) in &mut files {
        if bytes.starts_with(b"\x89WALSEG") {
            bytes[16..32].copy_from_slice(&LOG_ID.to_le_bytes());
            bytes[56..64].copy_from_slice(&TAG.to_le_bytes());
            let checksum = crc32c::crc32c(&bytes[..76]);
            bytes[76..80].copy_from_slice(&checksum.to_le_bytes());
            patch::seal(bytes);
        } else {
            assert_eq!(
                name, "log/witness",
                "every file that names the log is known here"
            );
            for slot in [0, 4_096] {
                bytes[slot + 8..slot + 24].copy_from_slice(&LOG_ID.to_le_bytes());
                let checksum = crc32c::crc32c(&bytes[slot + 8..slot + 40]);
                bytes[slot + 4..slot + 8].copy_from_slice(&checksum.to_le_bytes());
            }
        }
    }
    files
}

/// What the fixed history makes of `begun`, and the digest of the state after it.
pub fn write(begun: &Directory) -> (Directory, String) {
    let stage = Stage::open(begun);
    stage.set_catalogue();
    let released = stage.hold(1, "ana", 2);
    stage.release(2, released);
    let paid = stage.hold(3, "ana", 1);
    stage.segment("ana");
    stage.hold(4, "bo", 5); // More than one buyer may have: refused.
    stage.tick(1_000);
    stage.pay(5, "ana", Some(paid), 1);
    stage.captured(paid);
    let reviewed = stage.pay(9, "dee", None, 2);
    stage.authorized(reviewed);
    stage.review(reviewed);
    stage.journal.upkeep().snapshot().expect("a snapshot");
    let voided = stage.pay(6, "cho", None, 2);
    stage.voided(voided);
    stage.approve(reviewed);
    stage.hold(7, "bo", 3);
    stage.tick(300_000);
    stage.hold(8, "bo", 3);
    let digest = stage.journal.upkeep().digest();
    (stage.close(), digest)
}

struct Stage {
    journal: Arc<Journal>,
    clock: ManualClock,
    log: SimStorage,
    snapshots: SimStorage,
}

impl Stage {
    fn open(files: &Directory) -> Self {
        let below = |folder: &str| {
            let within = files.iter().filter_map(|(path, bytes)| {
                let name = path.strip_prefix(folder)?.strip_prefix('/')?;
                Some((name.to_owned(), bytes.clone()))
            });
            SimStorage::with_files(within.collect())
        };
        let (log, snapshots) = (below("log"), below("snapshots"));
        let clock = ManualClock::new(events::AT);
        let mut options = JournalOptions::new("memory");
        options.clock = Clock::Manual(clock.clone());
        options.random = Random::Counted(Arc::default());
        options.engine = EngineSettings::default();
        // Two units are reviewed, one is not.
        let over = Amount::new(2_500).expect("an amount");
        options.engine.review.amount_over = vec![(events::currency("USD"), over)];
        // As the golden directory was written: a snapshot tells when its nonces are forgotten.
        options.engine.webhooks = WebhookMemory::new(299_500, 100_000, 7 * 86_400_000, 1_000_000);
        options.log.segment_bytes = SEGMENT_BYTES as u64;
        options.log.ring_bytes = 1 << 20;
        options.snapshot_every_bytes = 0;
        let disks = Disks {
            log: Arc::new(log.clone()),
            snapshots: Arc::new(snapshots.clone()),
        };
        let journal = Journal::open_on(disks, options, None, &mut |_| {}).expect("it opens");
        Self {
            journal,
            clock,
            log,
            snapshots,
        }
    }

    /// Everything but the segment made ahead, which is no part of the log yet, and the mark of a
    /// clean stop, which would be against every change of the last frame.
    fn close(self) -> Directory {
        self.journal.close();
        let mut files = Directory::new();
        for (folder, storage) in [("log", &self.log), ("snapshots", &self.snapshots)] {
            for (name, bytes) in storage.files() {
                if !name.starts_with("spare-") && name != "closed" {
                    files.insert(format!("{folder}/{name}"), bytes);
                }
            }
        }
        files
    }

    fn set_catalogue(&self) {
        let product = self.journal.catalogue().put_product(events::product_set());
        self.durable(product.expect("it is written").durable_at);
        for set in [events::promotion_set(), events::promotion_for_segments()] {
            let promotion = self.journal.catalogue().put_promotion(set);
            let promotion = promotion.expect("it is written");
            self.durable(promotion.durable_at);
        }
    }

    fn segment(&self, who: &str) {
        let segmented = BuyerSegmented {
            user: user(who),
            ..events::buyer_segmented()
        };
        match self.journal.risk().segment_buyer(segmented) {
            Ok(SegmentTaken::Stands(told)) => self.durable(told),
            other => panic!("{other:?}"),
        }
    }

    fn hold(&self, number: u8, who: &str, quantity: u32) -> PurchaseId {
        let submitted = self.journal.place_hold(&PlaceHold {
            quantity,
            promotion: Some(events::promotion()),
            ..commands::hold(user(who), events::product(), events::origin(number))
        });
        self.told(submitted)
    }

    fn release(&self, number: u8, hold: PurchaseId) {
        let mut origin = events::origin(number);
        origin.key = None;
        self.told(self.journal.release_hold(&ReleaseHold {
            origin,
            hold,
            user: None,
        }));
    }

    fn pay(&self, number: u8, who: &str, hold: Option<PurchaseId>, quantity: u32) -> PurchaseId {
        let submitted = self.journal.buy(&Buy {
            quantity,
            currency: events::currency("USD"),
            hold,
            ..commands::buy(user(who), events::product(), events::origin(number))
        });
        self.told(submitted)
    }

    fn captured(&self, id: PurchaseId) {
        self.authorized(id);
        self.record(id, PaymentStep::StartCapture);
        let capture = CaptureId::parse("cap_0001").expect("an id");
        let receipt_key = ReceiptKeyId::parse("r1").expect("an id");
        self.record(
            id,
            PaymentStep::captured(
                self.journal
                    .reads()
                    .purchase(id)
                    .expect("it was begun")
                    .0
                    .quote,
                capture,
                receipt_key,
            ),
        );
    }

    fn review(&self, id: PurchaseId) {
        let step = PaymentStep::OpenReview {
            within_ms: 86_400_000,
            margin_ms: 3_600_000,
        };
        self.record(id, step);
    }

    fn approve(&self, id: PurchaseId) {
        let step = PaymentStep::DecideReview {
            verdict: Verdict::Approve,
            decider: Decider::Person(Judgement {
                by: events::admin(),
                note: "known to the shop".to_owned(),
            }),
            void_within_ms: 60_000,
        };
        self.record(id, step);
    }

    fn voided(&self, id: PurchaseId) {
        self.authorized(id);
        self.record(
            id,
            PaymentStep::StartVoid {
                cause: VoidCause::CaptureRefused,
                code: None,
                within_ms: 60_000,
                by: None,
            },
        );
        self.record(id, PaymentStep::voided());
    }

    fn authorized(&self, id: PurchaseId) {
        let authorization = AuthorizationId::parse("auth_0001").expect("an id");
        let capture_before = Some(events::AT.plus_ms(604_800_000));
        self.record(
            id,
            PaymentStep::Authorized {
                authorization,
                capture_before,
            },
        );
    }

    fn record(&self, id: PurchaseId, step: PaymentStep) {
        let recorded = self.journal.record(id, step, Audit::Nothing);
        let recorded: Recorded = recorded.expect("the life cycle has it");
        self.durable(recorded.durable_at);
    }

    fn tick(&self, ms: u64) {
        self.clock.advance_ms(ms);
        self.journal.upkeep().sweep().expect("the log takes it");
        self.durable(self.journal.figures().status().appended);
    }

    /// The purchase told of, or any where there is none.
    fn told<Outcome: Into<Came>>(
        &self,
        submitted: Result<Submitted<Outcome>, StorageFault>,
    ) -> PurchaseId {
        let submitted = submitted.expect("the log takes it");
        if let Some(lsn) = submitted.durable_at {
            self.durable(lsn);
        }
        match submitted.outcome.map(Into::into) {
            Ok(Came::Hold(view)) => view.purchase,
            Ok(Came::PaymentStarted(id)) => id,
            Ok(Came::Paid(view)) => view.purchase,
            Ok(Came::Declined(view)) => view.purchase,
            Ok(Came::Refund(view)) => view.purchase,
            Ok(Came::Spent) | Err(_) => {
                PurchaseId::parse_hold("h_00000000000000005a17c0de5a17c0de").expect("an id")
            }
        }
    }

    fn durable(&self, lsn: Lsn) {
        self.journal.wait_durable(lsn).expect("durable");
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("an id")
}

/// The directory at `path`, the zeroes put back.
pub fn load(path: &Path) -> Directory {
    let mut files = Directory::new();
    for folder in ["log", "snapshots"] {
        let Ok(entries) = std::fs::read_dir(path.join(folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.expect("an entry");
            let name = entry
                .file_name()
                .into_string()
                .expect("our names are ASCII");
            let mut bytes = std::fs::read(entry.path()).expect("a golden file");
            let whole = match name.as_str() {
                "witness" => WITNESS_BYTES,
                _ if folder == "log" => SEGMENT_BYTES,
                _ => bytes.len(),
            };
            bytes.resize(whole, 0);
            files.insert(format!("{folder}/{name}"), bytes);
        }
    }
    files
}

/// Writes the directory to `path`, without the zeroes at the end of each file.
pub fn store(path: &Path, files: &Directory) {
    for (name, bytes) in files {
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        let to = path.join(name);
        std::fs::create_dir_all(to.parent().expect("it is joined")).expect("a directory");
        std::fs::write(to, &bytes[..end]).expect("a golden file is written");
    }
}
