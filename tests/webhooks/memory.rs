//! What the journal remembers of webhooks: at the bounds, over time, across restarts.

use holdfast::engine::command::{NamedCurrency, ReceiveWebhook};
use holdfast::engine::event::{Disposition, WebhookFormat, WebhookKind};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::settings::WebhookMemory;
use holdfast::ids::{RequestId, WebhookEventId};
use holdfast::journal::{Clock, Journal, JournalOptions, ManualClock};
use holdfast::time::UnixMs;
use std::path::Path;
use std::sync::Arc;

const START: UnixMs = UnixMs::new(1_795_305_600_000);
const TOLERANCE_MS: u64 = 300_000;
const WEEK_MS: u64 = 7 * 86_400_000;

fn open(dir: &Path, clock: &ManualClock, memory: WebhookMemory) -> Arc<Journal> {
    let mut options = JournalOptions::new(dir);
    options.clock = Clock::Manual(clock.clone());
    options.engine.webhooks = memory;
    options.log.disk_free_bytes_min = 0;
    options.log.segment_bytes = (1 << 20) + 512;
    options.snapshot_every_bytes = 0;
    Journal::open(options, &mut |_| {}).unwrap()
}

fn command(journal: &Journal, format: WebhookFormat, nonce: u64, event: &str) -> ReceiveWebhook {
    ReceiveWebhook {
        format,
        event_id: WebhookEventId::parse(event).unwrap(),
        // Of no purchase of ours: nothing else of that kind is remembered.
        kind: WebhookKind::DisputeOpened,
        nonce: Some(nonce),
        happened_at: journal.now(),
        purchase: None,
        dispute: None,
        amount: None,
        currency: NamedCurrency::None,
        code: None,
        request: RequestId(1),
    }
}

fn receive(
    journal: &Journal,
    format: WebhookFormat,
    nonce: u64,
    event: &str,
) -> Result<Disposition, Refusal> {
    let command = command(journal, format, nonce, event);
    let told = journal.webhooks().receive(&command);
    let told = told.map_err(|error| error.refusal().unwrap().rejection.reason);
    told.map(|let_in| {
        journal.wait_durable(let_in.durable_at).unwrap();
        let_in.disposition
    })
}

/// Else a crash could take back what a sender was told has arrived.
#[test]
fn a_used_nonce_is_reported_only_once_its_first_delivery_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let memory = WebhookMemory::new(TOLERANCE_MS, 1_000, WEEK_MS, 1_000);
    let journal = open(dir.path(), &clock, memory);
    assert_eq!(journal.webhooks().knows_nonce(1), None);
    let delivery = command(&journal, WebhookFormat::Holdfast, 1, "e-1");
    let first = journal.webhooks().receive(&delivery).unwrap();
    assert!(first.durable_at > holdfast::ids::Lsn(0));
    let again = journal.webhooks().receive(&delivery).unwrap_err();
    let again = again.refusal().unwrap();
    assert_eq!(again.rejection.reason, Refusal::ReplayedNonce);
    assert!(again.durable_at >= Some(first.durable_at), "{again:?}");
    assert!(journal.webhooks().knows_nonce(1) >= Some(first.durable_at));
}

#[test]
fn without_room_for_an_event_its_nonce_stays_unused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    // A capacity of one has two slots.
    let memory = WebhookMemory::new(TOLERANCE_MS, 1_000, WEEK_MS, 1);
    let journal = open(dir.path(), &clock, memory);
    let own = |nonce, event: &str| receive(&journal, WebhookFormat::Holdfast, nonce, event);
    assert_eq!(own(1, "e-1"), Ok(Disposition::Ignored));
    assert_eq!(own(2, "e-2"), Ok(Disposition::Ignored));
    for _ in 0..2 {
        assert_eq!(own(3, "e-3"), Err(Refusal::Overloaded));
    }
    // What is known is told, full or not.
    assert_eq!(own(1, "e-1"), Err(Refusal::ReplayedNonce));
    assert_eq!(own(4, "e-1"), Ok(Disposition::Duplicate));
    // Once there is room, the delivery that found none is let in as it is.
    clock.advance_ms(WEEK_MS + 1_000);
    assert_eq!(own(3, "e-3"), Ok(Disposition::Ignored));
}

#[test]
fn without_room_for_nonces_no_webhook_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let memory = WebhookMemory::new(TOLERANCE_MS, 1, WEEK_MS, 1_000);
    let journal = open(dir.path(), &clock, memory);
    let own = |nonce, event: &str| receive(&journal, WebhookFormat::Holdfast, nonce, event);
    assert_eq!(own(1, "e-1"), Ok(Disposition::Ignored));
    assert_eq!(own(2, "e-2"), Ok(Disposition::Ignored));
    assert_eq!(own(3, "e-3"), Err(Refusal::Overloaded));
    clock.advance_ms(2 * TOLERANCE_MS + 2_000);
    assert_eq!(own(3, "e-3"), Ok(Disposition::Ignored));
}

#[test]
fn nonces_outlive_every_timestamp_and_events_a_week() {
    let memory = WebhookMemory::new(TOLERANCE_MS, 1_000, WEEK_MS, 1_000);
    // At several places within a generation of what is remembered.
    for offset_ms in [0, 1, 300_000, 600_000, 601_999] {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(START);
        clock.advance_ms(offset_ms);
        let mut journal = open(dir.path(), &clock, memory);
        let first = receive(&journal, WebhookFormat::Holdfast, 7, "e-1");
        assert_eq!(first, Ok(Disposition::Ignored));
        // The last instant at which a timestamp that lay ahead is good.
        clock.advance_ms(2 * TOLERANCE_MS + 999);
        let again = receive(&journal, WebhookFormat::Holdfast, 7, "e-2");
        assert_eq!(again, Err(Refusal::ReplayedNonce), "{offset_ms}");
        clock.advance_ms(WEEK_MS - 2 * TOLERANCE_MS - 999);
        for nonce in 8..10 {
            let again = receive(&journal, WebhookFormat::Holdfast, nonce, "e-1");
            assert_eq!(again, Ok(Disposition::Duplicate), "{offset_ms}");
            journal.upkeep().snapshot().unwrap();
            // Its background threads own it for moments, and with it the directory.
            journal.close();
            drop(journal);
            journal = open(dir.path(), &clock, memory);
        }
        let other = receive(&journal, WebhookFormat::Stripe, 10, "e-1");
        assert_eq!(other, Ok(Disposition::Ignored), "Stripe's names are others");
    }
}

const DAY_MS: i64 = 86_400_000;
/// How long a step of the wall clock has to last before it is followed.
const SETTLE_MS: u64 = 60_000;

#[test]
fn no_setting_of_the_wall_clock_makes_anything_forgotten() {
    let memory = WebhookMemory::new(TOLERANCE_MS, 1_000, WEEK_MS, 1_000);
    for step_ms in [8 * DAY_MS, 400 * DAY_MS, 301_000, -3_600_000, -8 * DAY_MS] {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(START);
        let mut journal = open(dir.path(), &clock, memory);
        clock.advance_ms(SETTLE_MS);
        let own = |journal: &Journal, nonce, event: &str| {
            receive(journal, WebhookFormat::Holdfast, nonce, event)
        };
        assert_eq!(own(&journal, 1, "e-1"), Ok(Disposition::Ignored));
        // For a second, with another webhook meanwhile.
        clock.step_ms(step_ms);
        journal.upkeep().sweep().unwrap();
        assert_eq!(own(&journal, 2, "e-2"), Ok(Disposition::Ignored));
        clock.advance_ms(1_000);
        clock.step_ms(-step_ms);
        journal.upkeep().sweep().unwrap();
        let again = |journal: &Journal| {
            for nonce in [1, 2] {
                let told = own(journal, nonce, "e-3");
                assert_eq!(told, Err(Refusal::ReplayedNonce), "{step_ms}: {nonce}");
                let (form, event) = (WebhookFormat::Standard, format!("e-{nonce}"));
                let told = receive(journal, form, nonce + 100, &event);
                assert_eq!(told, Ok(Disposition::Duplicate), "{step_ms}: {nonce}");
            }
        };
        again(&journal);
        // For good.
        clock.step_ms(step_ms);
        journal.upkeep().sweep().unwrap();
        clock.advance_ms(SETTLE_MS);
        journal.upkeep().sweep().unwrap();
        assert_eq!(journal.now(), clock.wall(), "{step_ms}");
        again(&journal);
        for snapshot in [false, true] {
            if snapshot {
                journal.upkeep().snapshot().unwrap();
            }
            journal.close();
            drop(journal);
            journal = open(dir.path(), &clock, memory);
            again(&journal);
        }
    }
}

#[test]
fn a_wrong_clock_at_a_start_forgets_nothing_if_it_is_set_right_in_time() {
    let memory = WebhookMemory::new(TOLERANCE_MS, 1_000, WEEK_MS, 1_000);
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let first = open(dir.path(), &clock, memory);
    let sent = receive(&first, WebhookFormat::Holdfast, 1, "e-1");
    assert_eq!(sent, Ok(Disposition::Ignored));
    first.close();
    drop(first);
    clock.step_ms(8 * DAY_MS);
    let mut journal = open(dir.path(), &clock, memory);
    let again = |journal: &Journal| {
        let told = receive(journal, WebhookFormat::Holdfast, 1, "e-2");
        assert_eq!(told, Err(Refusal::ReplayedNonce));
        let told = receive(journal, WebhookFormat::Standard, 9, "e-1");
        assert_eq!(told, Ok(Disposition::Duplicate));
    };
    again(&journal);
    clock.advance_ms(1_000);
    clock.step_ms(-8 * DAY_MS);
    for _ in 0..=SETTLE_MS / 1_000 {
        journal.upkeep().sweep().unwrap();
        again(&journal);
        clock.advance_ms(1_000);
    }
    journal.upkeep().sweep().unwrap();
    assert_eq!(journal.now(), clock.wall(), "it was set right");
    again(&journal);
    journal.close();
    drop(journal);
    journal = open(dir.path(), &clock, memory);
    again(&journal);
    clock.advance_ms(SETTLE_MS);
    again(&journal);
}
