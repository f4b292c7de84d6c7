//! What the tests on the simulated disk share: a small log, a script of appends, and the check that
//! a log holds what it must.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use wal::sim::SimStorage;
use wal::{CommitListener, Entry, Fault, Log, LogConfig, Lsn, RecoveryReport};

/// Segments of a few sectors, so that every few appends roll over.
pub fn tiny() -> LogConfig {
    LogConfig {
        segment_bytes: 4 << 10,
        ring_bytes: 4 << 10,
        record_bytes_max: 1500,
        frame_bytes_max: 2 << 10,
        ..LogConfig::default()
    }
}

/// A record as it should be read back.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Expected {
    pub lsn: u64,
    pub end: u64,
    pub kind: u16,
    pub payload: Vec<u8>,
}

/// The payload of the `n`th record of a script: recognisable, of many sizes.
pub fn payload(n: usize) -> Vec<u8> {
    let sizes = [8, 0, 300, 1200, 40, 700, 15, 17, 900, 600];
    let size = sizes[n % sizes.len()];
    (0..size)
        .map(|i| u8::try_from((n * 31 + i * 7) % 256).expect("below 256"))
        .collect()
}

/// Appends records in order and remembers what must be read back.
#[derive(Default)]
pub struct Script {
    pub expected: Vec<Expected>,
}

impl Script {
    /// Appends the next `count` records in one call.
    pub fn append(&mut self, log: &Log, count: usize) -> Result<Lsn, wal::AppendError> {
        let n = self.expected.len();
        let payloads: Vec<_> = (n..n + count).map(payload).collect();
        let kind = |i: usize| u16::try_from((n + i) % 1000).expect("below 1000");
        let entries: Vec<_> = (0..count)
            .map(|i| Entry {
                kind: kind(i),
                version: 1,
                payload: &payloads[i],
            })
            .collect();
        let appended = log.append(&entries)?;
        let mut lsn = appended.first.get();
        for entry in &entries {
            let end = lsn + wal::record_bytes(entry.payload.len()) as u64;
            let payload = entry.payload.to_vec();
            self.expected.push(Expected {
                lsn,
                end,
                kind: entry.kind,
                payload,
            });
            lsn = end;
        }
        assert_eq!(lsn, appended.end.get());
        Ok(appended.end)
    }

    /// Appends and waits.
    pub fn commit(&mut self, log: &Log, count: usize) -> Lsn {
        let end = self.append(log, count).expect("the log runs");
        log.wait_durable(end).expect("the log runs");
        end
    }
}

/// Notes every commit in the history of the simulated disk.
pub struct Marker(pub SimStorage);

impl CommitListener for Marker {
    fn committed(&self, durable: Lsn) {
        self.0.mark(durable.get());
    }
    fn poisoned(&self, _: &Arc<Fault>) {}
}

/// Opens a log on a simulated disk, noting commits.
pub fn open(sim: &SimStorage, config: LogConfig) -> Result<(Log, RecoveryReport), wal::OpenError> {
    let opened = Log::open(Arc::new(sim.clone()), config)?;
    opened.0.subscribe(Arc::new(Marker(sim.clone())));
    Ok(opened)
}

/// Everything the log holds is what was appended there, up to its end at least `acknowledged`.
pub fn check_content(log: &Log, expected: &[Expected], acknowledged: u64) -> Result<(), String> {
    let end = log.durable().get();
    if end < acknowledged {
        return Err(format!(
            "lost: {acknowledged} was acknowledged, the log ends at {end}"
        ));
    }
    let first = log.first_lsn();
    let mut reader = log.reader(first).map_err(|e| e.to_string())?;
    let kept = expected
        .iter()
        .filter(|e| e.lsn >= first.get() && e.end <= end);
    let mut at = first.get();
    for expected in kept {
        let record = reader
            .next()
            .map_err(|e| e.to_string())?
            .ok_or("too few records")?;
        let found = Expected {
            lsn: record.lsn.get(),
            end: record.end.get(),
            kind: record.kind,
            payload: record.payload.to_vec(),
        };
        if found != *expected {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
        at = expected.end;
    }
    if at != end || reader.next().map_err(|e| e.to_string())?.is_some() {
        return Err(format!("read up to {at}, the log ends at {end}"));
    }
    Ok(())
}
