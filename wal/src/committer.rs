//! The log thread: takes what has been published, writes it as one frame, syncs, publishes the
//! durable LSN. While it syncs, the next batch gathers in the ring.
//!
//! Invariants: 1. frames are contiguous and chained, none spans two segments; 2. nothing is
//! published before it is synced (written, under [`SyncPolicy::Interval`]); 3. a segment is synced
//! before the next one is begun; 4. the first failure of any write, sync or directory operation ends
//! the thread and poisons the log: nothing is retried, nothing more is published.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::SyncPolicy;
use crate::error::{At, Fault, IoError, Operation};
use crate::format::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader};
use crate::log::Shared;
use crate::recovery::{Active, activate};
use crate::ring::{Batch, Consumer};
use crate::storage::write_all;
use crate::survey::Tail;
use crate::witness::WitnessWriter;

pub(crate) struct Committer {
    shared: Arc<Shared>,
    consumer: Consumer,
    active: Active,
    witness: Option<WitnessWriter>,
    /// Room for the largest frame.
    frame: Box<[u8]>,
    /// Everything below is synced.
    synced: u64,
    last_sync: Instant,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        consumer: Consumer,
        active: Active,
        witness: Option<WitnessWriter>,
    ) -> Self {
        let frame = vec![0; FRAME_HEADER + shared.config.append_bytes_max()].into_boxed_slice();
        let synced = active.tail.lsn;
        Self {
            shared,
            consumer,
            active,
            witness,
            frame,
            synced,
            last_sync: Instant::now(),
        }
    }

    /// Runs until the log is closed or fails.
    pub(crate) fn run(mut self) {
        let ending = Ending(Arc::clone(&self.shared));
        let result = self.serve();
        match result {
            Ok(()) => self.shared.finish(),
            Err(e) => self.shared.poison(e.fault(self.shared.durable.get())),
        }
        drop(ending);
    }

    fn serve(&mut self) -> Result<(), IoError> {
        loop {
            if let Some(failed) = self.shared.maker.take_failure() {
                return Err(failed);
            }
            let batch = self.consumer.take(&mut self.frame[FRAME_HEADER..]);
            if batch.bytes > 0 {
                self.commit(batch)?;
            } else if self.consumer.is_done() {
                return self.end();
            } else {
                self.idle()?;
            }
        }
    }

    /// Writes, syncs and publishes one frame.
    fn commit(&mut self, batch: Batch) -> Result<(), IoError> {
        let len = FRAME_HEADER + batch.bytes;
        let segment_bytes = self.active.segment.header.segment_bytes;
        if segment_bytes - self.active.tail.offset < len as u64 {
            self.roll()?;
        }
        let tail = self.active.tail;
        assert_eq!(
            batch.first, tail.lsn,
            "the ring and the log agree on the LSN"
        );
        let header = FrameHeader {
            body: batch.bytes,
            records: batch.records,
            first: tail.lsn,
            durable: self.synced,
            offset: tail.offset,
            previous: tail.chain,
        };
        let frame = &mut self.frame[..len];
        let chain = header.seal(self.active.segment.seed, frame);
        let started = Instant::now();
        let name = &self.active.segment.name;
        write_all(&*self.active.file, frame, tail.offset).at(
            Operation::Write,
            name,
            tail.offset,
        )?;
        self.active.tail = Tail {
            offset: tail.offset + len as u64,
            lsn: tail.lsn + batch.bytes as u64,
            chain,
        };
        let stats = &self.shared.stats;
        stats.writes_ns.add_time(started.elapsed());
        stats.frames.add(1);
        stats.records.add(u64::from(batch.records));
        stats.bytes.add(len as u64);
        let due = match self.shared.config.sync {
            SyncPolicy::Always => true,
            SyncPolicy::Interval(interval) => self.last_sync.elapsed() >= interval,
        };
        if due {
            self.sync()?;
        }
        self.shared.publish(self.active.tail.lsn);
        Ok(())
    }

    /// Makes everything written durable, and has the witness say so.
    fn sync(&mut self) -> Result<(), IoError> {
        if self.synced == self.active.tail.lsn {
            return Ok(());
        }
        let started = Instant::now();
        let name = &self.active.segment.name;
        self.active
            .file
            .sync_data()
            .at(Operation::Sync, name, self.active.tail.offset)?;
        let done = Instant::now();
        self.shared.stats.synced(done - started);
        self.synced = self.active.tail.lsn;
        if let Some(witness) = &mut self.witness {
            witness.write(self.synced)?;
            self.shared.stats.witness_ns.add_time(done.elapsed());
        }
        self.last_sync = done;
        Ok(())
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> Result<(), IoError> {
        let started = Instant::now();
        self.sync()?;
        let (name, file) = self.shared.maker.take()?;
        let before = &self.active.segment.header;
        let header = SegmentHeader {
            log_id: before.log_id,
            sequence: before.sequence + 1,
            first: self.active.tail.lsn,
            segment_bytes: self.shared.config.segment_bytes,
            previous: self.active.tail.chain,
        };
        let segment = activate(&*self.shared.storage, &name, &*file, header)?;
        self.shared.segments.push(segment.clone());
        let tail = Tail {
            offset: SEGMENT_HEADER as u64,
            lsn: header.first,
            chain: segment.seed,
        };
        self.active = Active {
            file,
            segment,
            tail,
        };
        self.shared.stats.rolls.add(1);
        self.shared.stats.rolls_ns.add_time(started.elapsed());
        Ok(())
    }

    /// Sleeps until there is work; syncs what an interval still owes.
    fn idle(&mut self) -> Result<(), IoError> {
        let maker_failed = || self.shared.maker.has_failed();
        match self.shared.config.sync {
            SyncPolicy::Interval(interval) if self.synced < self.active.tail.lsn => {
                let left = interval.saturating_sub(self.last_sync.elapsed());
                if left > Duration::ZERO {
                    self.consumer.wait_for(left, maker_failed);
                }
                if self.last_sync.elapsed() >= interval {
                    self.sync()?;
                }
            }
            _ => self.consumer.wait(maker_failed),
        }
        Ok(())
    }

    /// Leaves nothing owed behind.
    fn end(&mut self) -> Result<(), IoError> {
        self.sync()?;
        match &self.witness {
            Some(witness) => witness.sync(),
            None => Ok(()),
        }
    }
}

/// Poisons the log if the thread unwinds: nobody may wait for a thread that is gone.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(Fault {
                operation: Operation::Run,
                file: ".".to_owned(),
                offset: 0,
                durable: crate::Lsn::new(self.0.durable.get()),
                source: std::io::Error::other("the log thread panicked"),
            });
        }
    }
}
