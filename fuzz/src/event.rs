//! `event_decoder`: the payload of a record.
//!
//! Input: the kind's number and its version (16 bits each, little-endian), then the payload, as in
//! `tests/golden/event-*.bin`. A decoded event is encoded and decoded to the same event, and can be
//! shown in every form of an event.

use crate::{files_in, take, within};
use holdfast::ids::Lsn;
use holdfast::journal::AuditEntry;
use holdfast::journal::codec::{Kind, decode, encode, kind_of, trace_of};
use holdfast::report::event_json;

/// What decoding may take beside a few times its input.
const SLACK_BYTES: usize = 64 << 10;

/// The target.
pub fn run(mut input: &[u8]) {
    let kind = Kind {
        number: u16::from_le_bytes(take(&mut input)),
        version: u16::from_le_bytes(take(&mut input)),
    };
    // An id of one byte becomes 24 bytes in memory, in a vector that may have doubled.
    let most = 64 * input.len() + SLACK_BYTES;
    let Ok((at, event)) = within(most, || decode(kind, input)) else {
        return;
    };
    assert_eq!(kind_of(&event), kind, "a kind is written as it is read");
    let mut written = Vec::new();
    let trace = trace_of(input);
    encode(&event, at, trace, &mut written);
    let again = decode(kind, &written).expect("what was written is read");
    assert_eq!(again, (at, event.clone()));
    assert_eq!(trace_of(&written), trace);
    let entry = AuditEntry {
        lsn: Lsn(0),
        at,
        trace,
        event,
    };
    let shown = event_json(&entry);
    assert_eq!(shown["kind"], entry.event.kind());
    let _ = format!("{entry:?}");
}

/// The golden events.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let golden = files_in("tests/golden").into_iter();
    golden
        .filter_map(|(name, bytes)| {
            let name = name.strip_suffix(".bin")?.strip_prefix("event-")?;
            Some((name.to_owned(), bytes))
        })
        .collect()
}
