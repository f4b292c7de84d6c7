//! Owns uploading a log to the store: sealed segments whole, the current segment in pieces,
//! snapshots.
//!
//! Invariants: 1. the log is uploaded in order and without omissions; if the log no longer has the
//! next part, the newest snapshot goes first and the log from there; 2. the content of the store is
//! compared with the log before anything is added: an older copy of the directory, or one with
//! another history, is refused; 3. memory is limited to one piece and the parts in progress; 4. a
//! piece that may have arrived is sent again unchanged.
//! Deliberately absent: when to upload, and which process may write.

use super::inventory::{Holdings, Inventory};
use super::names::{Name, SnapshotName, Span, What};
use super::seal::Sealing;
use super::store::{Store, StoreError};
use super::upload::{Carried, Upload};
use crate::ids::Lsn;
use crate::journal::{
    CopySource, Generation, JournalError, LogSegment, SegmentFrames, snapshot_facts,
    snapshot_file_name,
};
use crate::time::UnixMs;
use bytes::Bytes;
use std::io::Read;

/// Size of a piece of the tail. A piece has whole frames, so it may exceed this by one frame.
const PIECE_BYTES: usize = 4 << 20;

/// Bytes of a segment or snapshot per read.
const READ_BYTES: usize = 1 << 20;

/// Maximum number of objects deleted at once.
const REMOVED_MAX: usize = 1_000;

/// Why an upload failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read the log to upload: {0}")]
    Source(#[from] JournalError),
    #[error(transparent)]
    History(#[from] OtherHistory),
}

/// The content of the store is not a prefix of this directory's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherHistory {
    /// The store has more of the log.
    #[error(
        "{store} has this log up to LSN {theirs}, and the data directory ends at {ours}: the directory \
         is an older copy, or its disk lost what was acknowledged; run `holdfast restore --from {store}` \
         to go on with everything, or name another prefix to go on without"
    )]
    Older {
        store: String,
        /// The end in the store.
        theirs: Lsn,
        /// The end in the data directory.
        ours: Lsn,
    },
    /// The store has other records at the same LSN.
    #[error(
        "{store} has another history of this log: the record before LSN {at} is not the same there; \
         the directory is a copy that went on by itself; run `holdfast restore --from {store}`, or \
         name another prefix"
    )]
    Parted {
        store: String,
        /// The LSN at which both were compared.
        at: Lsn,
    },
}

/// Uploads one log to one store.
pub(super) struct Shipper<'a> {
    store: &'a Store,
    source: CopySource,
    log_id: u64,
    generation: Generation,
    /// Whether the content of the store was compared with the log.
    looked: bool,
    /// Whether the log no longer has the next part, and uploading has not continued after it yet.
    gap: bool,
    /// The position; `None` before the first upload.
    course: Option<Course>,
    newest_snapshot: Option<Lsn>,
    /// A piece that may or may not have arrived.
    pending: Option<(Name, Bytes, Lsn)>,
    /// Pieces of the current segment.
    pieces: Vec<Name>,
    carried: &'a Carried,
}

/// The position of the upload.
struct Course {
    segment: LogSegment,
    frames: SegmentFrames,
}

/// The result of a round.
#[derive(Copy, Clone, Debug)]
pub(super) struct Round {
    /// Everything before this LSN is in the store.
    pub(super) shipped: Lsn,
    /// The log is needed from this LSN on.
    pub(super) needed: Lsn,
    /// Whether it continued after a gap.
    pub(super) gap: bool,
    /// Whether a snapshot or a whole segment was uploaded.
    pub(super) grown: bool,
}

impl<'a> Shipper<'a> {
    pub(super) fn new(
        store: &'a Store,
        source: CopySource,
        carried: &'a Carried,
    ) -> Result<Self, JournalError> {
        let (log_id, generation) = source.identity()?;
        Ok(Self {
            store,
            source,
            log_id,
            generation,
            looked: false,
            gap: false,
            course: None,
            newest_snapshot: None,
            pending: None,
            pieces: Vec::new(),
            carried,
        })
    }

    /// Uploads everything that is durable now.
    pub(super) async fn round(&mut self, now: UnixMs) -> Result<Round, ShipError> {
        self.look(now).await?;
        let mut round = Round {
            shipped: Lsn(0),
            needed: Lsn(0),
            gap: self.gap,
            grown: false,
        };
        if self.course.is_none() {
            self.course = Some(self.start_anew(now).await?);
        }
        let durable = self.source.durable();
        round.grown |= self.ship_snapshot(now).await?;
        let course = self.course.take().expect("it has begun");
        let mut course = self.ship_segments(course, now, &mut round).await?;
        let shipped = self.ship_tail(&mut course, durable).await;
        round.shipped = course.frames.position();
        round.needed = course.segment.first();
        self.course = Some(course);
        shipped?;
        self.gap = false;
        Ok(round)
    }

    /// Finds where to continue, from the store's objects of the current generation.
    pub(super) async fn look(&mut self, now: UnixMs) -> Result<(), ShipError> {
        let (_, generation) = self.source.identity()?;
        if self.looked && generation == self.generation {
            return Ok(());
        }
        self.generation = generation;
        (self.course, self.pending, self.looked) = (None, None, false);
        self.pieces.clear();
        let inventory = Inventory::of(&self.store.list().await?);
        let empty = Holdings::default();
        let holdings = inventory.of_generation(generation).unwrap_or(&empty);
        self.newest_snapshot = holdings.snapshots.last().map(|it| it.first);
        if let Some(end) = holdings.end() {
            self.course = self.go_on(end, holdings)?;
            self.gap = self.course.is_none();
        }
        if holdings.begun.is_none() {
            let name = self.named(What::Begun(now));
            self.put(name, &[]).await?;
        }
        self.looked = true;
        Ok(())
    }

    /// The position after `end`, the end of the store's content; `None`: the log no longer has it.
    fn go_on(&mut self, end: Span, holdings: &Holdings) -> Result<Option<Course>, ShipError> {
        let store = || self.store.to_string();
        let (theirs, ours) = (end.end, self.source.durable());
        if theirs > ours {
            let store = store();
            return Err(OtherHistory::Older {
                store,
                theirs,
                ours,
            }
            .into());
        }
        let segments = self.source.segments()?;
        // The segment that contains the record before the end, or begins exactly there.
        let before = segments.partition_point(|it| it.first() < theirs);
        let begins_there = segments.get(before).filter(|it| it.first() == theirs);
        let (chain, holding) = match before.checked_sub(1).map(|at| &segments[at]) {
            Some(segment) => {
                let mut frames = self.source.frames(segment)?;
                let chain = frames.skip(theirs)?;
                let is_border = frames.position() == theirs;
                (is_border.then_some(chain), Some((segment, frames)))
            }
            None => match begins_there {
                Some(segment) => (Some(segment.previous()), None),
                None => return Ok(None),
            },
        };
        if chain != Some(end.chain) {
            return Err(OtherHistory::Parted {
                store: store(),
                at: theirs,
            }
            .into());
        }
        if let Some(segment) = begins_there {
            let frames = self.source.frames(segment)?;
            let segment = segment.clone();
            return Ok(Some(Course { segment, frames }));
        }
        let (segment, frames) = holding.expect("one of the two segments was found");
        let run = holdings.run_from(segment.first());
        let is_whole = run.is_some_and(|it| it.first == segment.first() && it.end == theirs);
        let frames = if is_whole {
            frames
        } else {
            self.source.frames(segment)?
        };
        let pieces = holdings.pieces.iter();
        let ours = pieces.filter(|(of, _)| *of == segment.first());
        let named = ours.map(|(of, span)| self.named(What::Piece(*of, *span)));
        self.pieces = named.collect();
        let segment = segment.clone();
        Ok(Some(Course { segment, frames }))
    }

    /// Starts with the newest snapshot and the log from there; without a snapshot, with the whole
    /// log.
    async fn start_anew(&mut self, now: UnixMs) -> Result<Course, ShipError> {
        let mut from = None;
        for snapshot in self.source.snapshots()? {
            match self.ship_this_snapshot(snapshot, now).await {
                Ok(()) => {
                    from = Some(snapshot);
                    break;
                }
                // A damaged snapshot is skipped, as in recovery.
                Err(ShipError::Source(JournalError::BadSnapshot(_))) => {}
                Err(error) => return Err(error),
            }
        }
        let segments = self.source.segments()?;
        let at = match from {
            Some(snapshot) => segments
                .partition_point(|it| it.first() <= snapshot)
                .checked_sub(1),
            None => segments
                .first()
                .filter(|it| it.first() == Lsn(0))
                .map(|_| 0),
        };
        let segment = at.map(|at| segments[at].clone());
        let segment = segment.ok_or(JournalError::NoBeginning)?;
        let frames = self.source.frames(&segment)?;
        Ok(Course { segment, frames })
    }

    /// Uploads every sealed segment; the position then is the start of the tail.
    async fn ship_segments(
        &mut self,
        mut course: Course,
        now: UnixMs,
        round: &mut Round,
    ) -> Result<Course, ShipError> {
        loop {
            let segments = self.source.segments()?;
            let first = course.segment.first();
            let at = segments.binary_search_by_key(&first, LogSegment::first);
            let segment = at.ok().map(|at| (at, &segments[at]));
            let Some((at, segment)) = segment else {
                // The log was deleted while the store was unavailable.
                round.gap = true;
                course = self.start_anew(now).await?;
                continue;
            };
            let (Some(_), Some(next)) = (segment.sealed_at(), segments.get(at + 1)) else {
                return Ok(course);
            };
            if let Err(error) = self.ship_segment(segment, next).await {
                self.course = Some(course);
                return Err(error);
            }
            round.grown = true;
            for piece in std::mem::take(&mut self.pieces) {
                // If the deletion fails, `tidy` removes the piece later.
                let _ = self.store.delete(&piece.to_string()).await;
            }
            self.pending = None;
            course = Course {
                segment: next.clone(),
                frames: self.source.frames(next)?,
            };
        }
    }

    async fn ship_segment(
        &mut self,
        segment: &LogSegment,
        next: &LogSegment,
    ) -> Result<(), ShipError> {
        let end = next.first();
        let span = Span {
            first: segment.first(),
            end,
            chain: next.previous(),
        };
        let mut frames = self.source.frames(segment)?;
        let mut upload = self.upload(self.named(What::Segment(span)));
        let pushed = async {
            upload.push(&segment.header()).await?;
            while let Some(stretch) = frames.stretch(end, READ_BYTES)? {
                upload.push(&stretch.bytes).await?;
            }
            Ok(())
        };
        let pushed = pushed.await;
        self.finish(upload, pushed).await
    }

    /// Uploads the durable part of the current segment.
    async fn ship_tail(&mut self, course: &mut Course, durable: Lsn) -> Result<(), ShipError> {
        loop {
            if let Some((name, object, _)) = self.pending.clone() {
                self.store.put(&name.to_string(), object.clone()).await?;
                self.carried.add_object(object.len());
                self.pieces.push(name);
                self.pending = None;
            }
            let is_first = course.frames.position() == course.segment.first();
            let Some(stretch) = course.frames.stretch(durable, PIECE_BYTES)? else {
                return Ok(());
            };
            let span = Span {
                first: stretch.first,
                end: stretch.end,
                chain: stretch.chain,
            };
            let name = self.named(What::Piece(course.segment.first(), span));
            let mut object = if is_first {
                course.segment.header()
            } else {
                Vec::new()
            };
            object.extend_from_slice(&stretch.bytes);
            let mut sealing = Sealing::new(name, self.log_id);
            sealing.update(&object);
            object.extend_from_slice(&sealing.finish());
            self.pending = Some((name, object.into(), stretch.first));
        }
    }

    /// The LSN before which everything is in the store, without a piece that may not have arrived.
    pub(super) fn shipped(&self) -> Option<Lsn> {
        let pending = self.pending.as_ref().map(|(_, _, first)| *first);
        pending.or_else(|| self.course.as_ref().map(|it| it.frames.position()))
    }

    /// The newest snapshot in the store.
    pub(super) fn newest_snapshot(&self) -> Option<Lsn> {
        self.newest_snapshot
    }

    /// Uploads the newest snapshot, if it is newer than the store's.
    async fn ship_snapshot(&mut self, now: UnixMs) -> Result<bool, ShipError> {
        let newest = self.source.snapshots()?.first().copied();
        let Some(newest) = newest.filter(|it| Some(*it) > self.newest_snapshot) else {
            return Ok(false);
        };
        self.ship_this_snapshot(newest, now).await?;
        Ok(true)
    }

    async fn ship_this_snapshot(&mut self, lsn: Lsn, now: UnixMs) -> Result<(), ShipError> {
        if self.newest_snapshot == Some(lsn) {
            return Ok(());
        }
        let file = snapshot_file_name(lsn);
        let facts = snapshot_facts(&file, self.source.snapshot(lsn)?)?;
        // A copy may be made much later; the time of its last event counts.
        let at = self.source.last_instant_before(facts.covered)?;
        let name = self.named(What::Snapshot(SnapshotName {
            first: facts.first,
            covered: facts.covered,
            at: at.unwrap_or(now),
        }));
        let mut reading = self.source.snapshot(lsn)?;
        let mut upload = self.upload(name);
        let pushed = async {
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = reading.read(&mut buffer);
                let read = read.map_err(|source| JournalError::Io {
                    operation: "reading",
                    path: file.clone().into(),
                    source,
                })?;
                if read == 0 {
                    return Ok(());
                }
                upload.push(&buffer[..read]).await?;
            }
        };
        let pushed = pushed.await;
        self.finish(upload, pushed).await?;
        self.newest_snapshot = Some(lsn);
        Ok(())
    }

    async fn finish(
        &mut self,
        upload: Upload<'_>,
        pushed: Result<(), ShipError>,
    ) -> Result<(), ShipError> {
        match pushed {
            Ok(()) => Ok(upload.finish().await?),
            Err(error) => {
                upload.give_up().await;
                Err(error)
            }
        }
    }

    async fn put(&mut self, name: Name, content: &[u8]) -> Result<(), ShipError> {
        let mut upload = self.upload(name);
        let pushed = upload.push(content).await.map_err(ShipError::from);
        self.finish(upload, pushed).await
    }

    fn upload(&self, name: Name) -> Upload<'a> {
        Upload::begin(self.store, name, self.log_id, self.carried)
    }

    fn named(&self, what: What) -> Name {
        let generation = self.generation;
        Name { generation, what }
    }

    /// Deletes objects that no restore to an instant from `since` on needs; returns how many.
    pub(super) async fn tidy(&self, since: UnixMs) -> Result<usize, StoreError> {
        let inventory = Inventory::of(&self.store.list().await?);
        let surplus = inventory.surplus(since);
        let gone = surplus.len().min(REMOVED_MAX);
        for name in &surplus[..gone] {
            self.store.delete(&name.to_string()).await?;
        }
        Ok(gone)
    }
}
