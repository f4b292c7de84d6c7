//! Owns the keys of the log on disk and of the core's time.

use super::{GIB, MIB, SEGMENT_BYTES_MIN, Setting, ValueKind, number, other, text};

/// The log, and which differences of the wall clock are followed.
pub(super) const STORAGE: &[Setting] = &[
    text(
        "storage.data_dir",
        "\"./data\"",
        "Directory of the log and its snapshots.",
    ),
    number(
        "storage.segment_bytes",
        "67108864",
        (SEGMENT_BYTES_MIN, 4 * GIB),
        "Size of one segment of the log, a multiple of 512.",
    ),
    number(
        "storage.ring_bytes",
        "8388608",
        (MIB, GIB),
        "Size of the buffer between the shards and the log thread, a power of two.",
    ),
    number(
        "storage.snapshot_every_bytes",
        "268435456",
        (MIB, 1 << 40),
        "Bytes of log between two snapshots. If the newest snapshot is larger than this, its size is used instead, so that snapshots never write more than the log.",
    ),
    text(
        "storage.sync",
        "\"always\"",
        "`\"always\"`: every answer is on disk before it is sent. `{ interval_ms = … }`: a crash of the machine may lose that much time.",
    ),
    number(
        "storage.sync.interval_ms",
        "",
        (1, 10_000),
        "Time between two syncs, in place of `\"always\"`.",
    ),
    other(
        "storage.witness",
        "true",
        ValueKind::Switch,
        "Keep the small file that records the last acknowledged batch. Recovery uses it to tell a torn tail from damage.",
    ),
    number(
        "storage.disk_free_bytes_min",
        "268435456",
        (0, 1 << 50),
        "Free disk space below which new purchases are refused. Purchases in progress are finished.",
    ),
    number(
        "clock.step_max_ms",
        "2000",
        (100, 60_000),
        "Largest difference of the wall clock that the core's clock follows on its own, slowly. A larger difference is a step and is not followed.",
    ),
    number(
        "clock.settle_s",
        "60",
        (1, 3_600),
        "How long a step must last before it is followed as a correction. For the same time after a start, no idempotency key and no nonce is forgotten.",
    ),
];
