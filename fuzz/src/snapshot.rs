//! `snapshot_decoder`: a snapshot file.
//!
//! Input: a byte that selects one of two forms, then
//! - 0: the bytes of a whole file;
//! - else: the number of a section in the golden snapshot (16 bits, little-endian) and bytes that
//!   replace it, with valid checksums, so that the code after the checksums is reached.
//!
//! A restored state is complete: every key answers, every purchase can be shown, every hold can
//! expire, and the state has a digest.

use crate::{files_in, take, within};
use holdfast::engine::catalogue::Catalogue;
use holdfast::engine::event::{Event, HoldExpired, IdempotencyKey};
use holdfast::engine::lifecycle::PurchaseState;
use holdfast::engine::settings::{EngineSettings, Limits};
use holdfast::engine::shard::Shard;
use holdfast::engine::stamp::LATEST;
use holdfast::engine::stamp::{Settled, Stamp};
use holdfast::ids::{Digest16, PurchaseId};
use holdfast::journal::snapshot::format::{
    Section, SnapshotReader, chain, header, section_header, trailer,
};
use holdfast::journal::snapshot::{digest, restore};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// How a restored snapshot is bounded: little room for counters and webhooks.
fn bounded() -> EngineSettings {
    let mut settings = EngineSettings::default();
    settings.bounds.velocity_keys_max = 1_024;
    settings.webhooks.nonces_max = 1_024;
    settings.webhooks.events_max = 1_024;
    settings
}

/// What restoring takes beside a few times its input: 256 shards and the table of counters.
const SLACK_BYTES: usize = 4 << 20;

/// What the places of one shard's buyers take, used or free: a buyer at the last of them, behind
/// others that were forgotten, is an honest image. At most 40 bytes for each of 2^22 while they grow.
const PLACES_BYTES: usize = 40 << 22;

/// The target.
pub fn run(mut input: &[u8]) {
    let [way] = take(&mut input);
    let sealed;
    let bytes = if way == 0 {
        input
    } else {
        let place = u16::from_le_bytes(take(&mut input));
        sealed = with_section(usize::from(place), input);
        &sealed[..]
    };
    let most = 64 * bytes.len() + SLACK_BYTES + PLACES_BYTES;
    let settings = bounded();
    let Ok(restored) = within(most, || restore(bytes, &settings)) else {
        return;
    };
    assert!(
        restored
            .shards
            .iter()
            .all(|(_, lsn)| *lsn >= restored.first),
        "the log is read from before every part"
    );
    let catalogue = &restored.catalogue;
    let mut images = Vec::with_capacity(restored.shards.len());
    for (shard, _) in &restored.shards {
        let image = shard.image();
        let again = Shard::from_image(shard.id(), image.clone(), catalogue);
        let again = again.expect("a shard's own image is one");
        assert_eq!(again.image(), image);
        images.push(image);
    }
    assert_eq!(
        digest(
            catalogue,
            Limits::default(),
            restored.accepted,
            &restored.rules,
            images.into_iter()
        )
        .len(),
        64
    );
    for (mut shard, _) in restored.shards {
        show_and_expire(&mut shard, catalogue);
    }
}

/// What comes next after a start: keys answer, purchases are shown, and holds run out.
fn show_and_expire(shard: &mut Shard, catalogue: &Catalogue) {
    let settings = EngineSettings::default();
    for number in 0..16 {
        // Keys of the golden history, so that some are there.
        let key = IdempotencyKey {
            scope: Digest16([number; 16]),
            fingerprint: Digest16([0xf0 | number; 16]),
        };
        let _ = shard.key_answer(&key, catalogue);
    }
    let purchases: Vec<PurchaseId> = shard.purchases().collect();
    for id in purchases {
        let hold = shard.hold_view(id, catalogue).expect("it is there");
        let view = shard.purchase_view(id, catalogue, LATEST);
        let view = view.expect("its history is a life");
        assert_eq!(view.state, hold.state, "the state is the history's");
        if view.state == PurchaseState::Held {
            let event = Event::HoldExpired(HoldExpired {
                purchase: id,
                user: view.user,
                product: view.product,
                quantity: view.quantity,
                card: None,
                ip: None,
                device: None,
            });
            let stamp = Stamp {
                at: hold.expires_at,
                lsn: LATEST,
                settled: Settled::Yes,
            };
            let applied = shard.apply(&event, stamp, catalogue, settings.limits());
            applied.expect("a held purchase may run out");
        }
    }
}

/// The golden snapshot with `bytes` in the place of one of its sections.
fn with_section(place: usize, bytes: &[u8]) -> Vec<u8> {
    let golden = golden_sections();
    let place = place % golden.len();
    let mut file = header(1).to_vec();
    let mut folded = 0;
    for (at, section) in golden.iter().enumerate() {
        let content = if at == place { bytes } else { &section.bytes };
        let head = section_header(section.tag, section.lsn, content);
        folded = chain(folded, &head);
        file.extend_from_slice(&head);
        file.extend_from_slice(content);
    }
    let count = u32::try_from(golden.len()).expect("261 sections");
    file.extend_from_slice(&trailer(count, folded));
    file
}

fn golden_sections() -> &'static [Section] {
    static SECTIONS: OnceLock<Vec<Section>> = OnceLock::new();
    SECTIONS.get_or_init(|| {
        let bytes = golden_file();
        let mut reader = SnapshotReader::open(&bytes[..]).expect("the golden snapshot");
        let sections = std::iter::from_fn(|| reader.next_section().expect("it is good"));
        sections.collect()
    })
}

fn golden_file() -> Vec<u8> {
    let mut files = files_in("tests/golden/data-v1/written/snapshots");
    let (_, bytes) = files.pop().expect("there is a golden snapshot");
    bytes
}

/// The golden snapshot, and each of its sections that differs from the others.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut whole = vec![0];
    whole.extend_from_slice(&golden_file());
    let mut seeds = vec![("whole".to_owned(), whole)];
    let mut known = BTreeSet::new();
    for (place, section) in (0_u16..).zip(golden_sections()) {
        if known.insert(&section.bytes) {
            let mut seed = vec![1];
            seed.extend_from_slice(&place.to_le_bytes());
            seed.extend_from_slice(&section.bytes);
            seeds.push((format!("section-{place}"), seed));
        }
    }
    seeds
}
