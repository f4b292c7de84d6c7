//! The log thread: takes what has been published, writes it as one frame, syncs, publishes the
//! durable LSN. While it syncs, the next batch gathers in the ring.
//!
//! Invariants: 1. frames are contiguous and chained, none spans two segments; 2. nothing is
//! published before it is synced (written, under [`SyncPolicy::Interval`]); 3. a segment is synced
//! before the next one is begun; 4. the first failure of any write, sync or directory operation ends
//! the thread and poisons the log: nothing is retried, nothing more is published; 5. nothing is
//! published unless the directory, the segment and its last frame, looked up after the write, are
//! still those of this process.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clean_stop;
use crate::config::{SyncPolicy, Witness};
use crate::error::{At, Fault, Found, IoError, Operation, Overwritten};
use crate::format::{CleanStop, FRAME_CHECKSUM_AT, FRAME_HEADER, FrameHeader};
use crate::generation::{Generation, begin_segment, following};
use crate::log::Shared;
use crate::recovery::ActiveSegment;
use crate::ring::{Consumer, RingBatch};
use crate::storage::{Displaced, read_full, write_all};
use crate::survey::Tail;
use crate::witness::WitnessWriter;

pub(crate) struct Committer {
    shared: Arc<Shared>,
    consumer: Consumer,
    active: ActiveSegment,
    witness: Option<WitnessWriter>,
    /// Room for the largest frame.
    frame: Box<[u8]>,
    /// Everything below is synced.
    synced: u64,
    last_sync: Instant,
    last_check: Instant,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        consumer: Consumer,
        active: ActiveSegment,
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
            last_check: Instant::now(),
        }
    }

    /// Runs until the log is closed or fails.
    pub(crate) fn run(mut self) {
        let ending = PoisonOnUnwind(Arc::clone(&self.shared));
        let result = self.serve();
        match result {
            Ok(()) => self.shared.finish(),
            Err(failed) => {
                let cause = self.displaced().unwrap_or(failed);
                self.shared.poison(cause.fault(self.shared.durable.get()));
            }
        }
        drop(ending);
    }

    /// Finds a moved or replaced file. Such a file makes other calls fail first, and their errors
    /// would point the operator to the disk.
    fn displaced(&mut self) -> Option<IoError> {
        let failed = self.check_place().err()?;
        let cause = failed.source.get_ref()?;
        (cause.is::<Displaced>() || cause.is::<Overwritten>()).then_some(failed)
    }

    fn serve(&mut self) -> Result<(), IoError> {
        loop {
            if let Some(failed) = self.shared.maker.take_failure() {
                return Err(failed);
            }
            if self.shared.renewal.is_wanted() {
                let above = self.shared.renewal.above();
                let next = self.active.segment.header.generation.next_above(above);
                self.roll(next)?;
                self.shared.renewal.answer(next);
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
    fn commit(&mut self, batch: RingBatch) -> Result<(), IoError> {
        // A frame written into a copy that was restored over the segment would be damage there.
        self.check_place()?;
        let len = FRAME_HEADER + batch.bytes;
        let segment_bytes = self.active.segment.header.segment_bytes;
        if segment_bytes - self.active.tail.offset < len as u64 {
            self.roll(self.active.segment.header.generation)?;
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
            chain_at: tail.offset + FRAME_CHECKSUM_AT,
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
        } else {
            self.check_place()?;
        }
        self.shared.publish(self.active.tail.lsn);
        Ok(())
    }

    /// Syncs everything written, and records it in the witness.
    fn sync(&mut self) -> Result<(), IoError> {
        if self.synced == self.active.tail.lsn {
            return Ok(());
        }
        let (stats, name) = (&self.shared.stats, &self.active.segment.name);
        let started = Instant::now();
        stats.sync_began(started);
        let synced = self.active.file.sync_data();
        let done = Instant::now();
        stats.sync_ended(done, done - started);
        synced.at(Operation::Sync, name, self.active.tail.offset)?;
        stats.synced(done - started);
        self.check_place()?;
        self.synced = self.active.tail.lsn;
        if let Some(witness) = &mut self.witness {
            witness.write(self.synced)?;
            self.shared.stats.witness_ns.add_time(done.elapsed());
        }
        self.last_sync = done;
        Ok(())
    }

    /// Checks that the files being written are still those under the path. Fails the log if not.
    fn check_place(&mut self) -> Result<(), IoError> {
        if let Some(why) = self.shared.withdrawn.get() {
            return Err(io::Error::other(why.clone())).at(Operation::Withdraw, ".", 0);
        }
        let ActiveSegment {
            file,
            segment,
            tail,
        } = &self.active;
        let (storage, name) = (&*self.shared.storage, &segment.name);
        storage.check_place().at(Operation::CheckPlace, ".", 0)?;
        storage
            .check_file(name, &**file)
            .at(Operation::CheckPlace, name, 0)?;
        let mut there = [0; 4];
        let read = read_full(&**file, &mut there, tail.chain_at);
        let read = read.at(Operation::Read, name, tail.chain_at)?;
        let found = match u32::from_le_bytes(there) {
            _ if read < there.len() => Found::End,
            chain if chain == tail.chain => {
                self.last_check = Instant::now();
                return Ok(());
            }
            other => Found::Other(other),
        };
        let overwritten = Overwritten {
            file: name.clone(),
            offset: tail.chain_at,
            expected: tail.chain,
            found,
        };
        Err(io::Error::other(overwritten)).at(Operation::CheckPlace, name, tail.chain_at)
    }

    /// Continues in a new segment of this generation.
    fn roll(&mut self, generation: Generation) -> Result<(), IoError> {
        let started = Instant::now();
        self.sync()?;
        let (name, file) = self.shared.maker.take()?;
        let ActiveSegment { segment, tail, .. } = &self.active;
        let header = following(segment, tail, generation, self.shared.config.segment_bytes);
        let (segment, tail) = begin_segment(&*self.shared.storage, &name, &*file, header)?;
        self.shared.segments.push(segment.clone());
        self.active = ActiveSegment {
            file,
            segment,
            tail,
        };
        self.shared.stats.rolls.add(1);
        self.shared.stats.rolls_ns.add_time(started.elapsed());
        Ok(())
    }

    /// Sleeps until there is work; syncs what an interval still owes; checks the place.
    fn idle(&mut self) -> Result<(), IoError> {
        let withdrawn = || self.shared.withdrawn.get().is_some();
        let called =
            || self.shared.maker.has_failed() || self.shared.renewal.is_wanted() || withdrawn();
        match self.shared.config.sync {
            SyncPolicy::Interval(interval) if self.synced < self.active.tail.lsn => {
                let left = interval.saturating_sub(self.last_sync.elapsed());
                if left > Duration::ZERO {
                    self.consumer.wait_for(left, called);
                }
                if self.last_sync.elapsed() >= interval || withdrawn() {
                    self.sync()?;
                }
            }
            _ => {
                let every = self.shared.config.place_check_every;
                self.consumer
                    .wait_for(every.saturating_sub(self.last_check.elapsed()), called);
                if self.last_check.elapsed() >= every || withdrawn() {
                    self.check_place()?;
                }
            }
        }
        Ok(())
    }

    /// Syncs what is left, and writes the mark of a clean stop.
    fn end(&mut self) -> Result<(), IoError> {
        self.sync()?;
        self.check_place()?;
        let witness = match &self.witness {
            Some(witness) => {
                witness.sync()?;
                Witness::On
            }
            None => Witness::Off,
        };
        let mark = CleanStop {
            log_id: self.active.segment.header.log_id,
            end: self.active.tail.lsn,
            chain: self.active.tail.chain,
            witness,
        };
        clean_stop::leave(&*self.shared.storage, mark)
    }
}

/// Poisons the log if the thread unwinds, so that no caller waits for it.
struct PoisonOnUnwind(Arc<Shared>);

impl Drop for PoisonOnUnwind {
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
