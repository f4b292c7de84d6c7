//! What the journal remembers of webhooks: at the bounds, over time, across restarts.

use holdfast::engine::command::ReceiveWebhook;
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

fn receive(
    journal: &Journal,
    format: WebhookFormat,
    nonce: u64,
    event: &str,
) -> Result<Disposition, Refusal> {
    let command = ReceiveWebhook {
        format,
        event_id: WebhookEventId::parse(event).unwrap(),
        kind: WebhookKind::PaymentCaptured,
        nonce: Some(nonce),
        happened_at: journal.now(),
        purchase: None,
        amount: None,
        code: None,
        request: RequestId(1),
    };
    let told = journal.receive_webhook(&command).unwrap();
    told.map(|let_in| {
        journal.wait_durable(let_in.durable_at).unwrap();
        let_in.disposition
    })
}

#[test]
fn where_events_find_no_room_their_nonces_stay_free() {
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
fn where_nonces_find_no_room_nothing_is_let_in() {
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
            journal.snapshot().unwrap();
            // Its background threads own it for moments, and with it the directory.
            journal.close();
            drop(journal);
            journal = open(dir.path(), &clock, memory);
        }
        let other = receive(&journal, WebhookFormat::Stripe, 10, "e-1");
        assert_eq!(other, Ok(Disposition::Ignored), "Stripe's names are others");
    }
}

#[test]
fn a_clock_put_back_lets_nothing_in_that_may_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let memory = WebhookMemory::new(TOLERANCE_MS, 1_000, WEEK_MS, 1_000);
    let journal = open(dir.path(), &clock, memory);
    let own = |nonce, event: &str| receive(&journal, WebhookFormat::Holdfast, nonce, event);
    assert_eq!(own(1, "e-1"), Ok(Disposition::Ignored));
    clock.advance_ms(3_600_000);
    assert_eq!(own(2, "e-2"), Ok(Disposition::Ignored));
    // Back where the first nonce would still count.
    clock.advance_ms(3_600_000_u64.wrapping_neg());
    assert_eq!(own(1, "e-3"), Err(Refusal::Overloaded));
    clock.advance_ms(3_600_000);
    assert_eq!(own(3, "e-3"), Ok(Disposition::Ignored));
}
