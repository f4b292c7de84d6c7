//! Owns the analysis of a list of a backup's objects: generations, how far each reaches without a
//! gap, what can be restored, and what can be deleted.
//!
//! Invariants: it uses names only, and any name is allowed; the newest restorable state, and every
//! object that it needs, is never among the deletable ones. Deliberately absent: whether the
//! objects contain what their names say.

use super::names::{Name, SnapshotName, Span, What};
use super::store::ObjectInfo;
use crate::ids::Lsn;
use crate::journal::Generation;
use crate::time::UnixMs;
use std::collections::BTreeMap;

/// The objects of a backup.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    generations: BTreeMap<Generation, Holdings>,
    /// Number of objects that do not belong to a backup.
    pub(super) foreign: u64,
}

/// The objects of a generation. Each list is sorted.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) begun: Option<UnixMs>,
    pub(super) segments: Vec<Span>,
    pub(super) pieces: Vec<(Lsn, Span)>,
    pub(super) snapshots: Vec<SnapshotName>,
    pub(super) bytes: u64,
}

/// Objects with a part of the log without a gap.
#[derive(Clone, Debug)]
pub(super) struct LogRun {
    /// In order. The pieces of a segment follow each other.
    pub(super) parts: Vec<SegmentPart>,
    /// LSN of its first record, which begins a segment.
    pub(super) first: Lsn,
    /// LSN after its last record.
    pub(super) end: Lsn,
    /// Checksum of its last frame.
    pub(super) chain: u32,
}

/// A segment or a piece of one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentPart {
    /// The segment's first record.
    pub(super) segment: Lsn,
    pub(super) span: Span,
    pub(super) what: What,
}

/// The starting point of a restore.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// `None`: the log alone, from LSN 0.
    pub(super) snapshot: Option<SnapshotName>,
    pub(super) run: LogRun,
}

impl Inventory {
    /// Analyses the list of objects.
    pub(super) fn of(listed: &[ObjectInfo]) -> Self {
        let mut inventory = Self::default();
        for object in listed {
            let Some(Name { generation, what }) = Name::parse(&object.name) else {
                let is_known = [super::names::LEASE, "lock"].contains(&object.name.as_str());
                inventory.foreign += u64::from(!is_known);
                continue;
            };
            let holdings = inventory.generations.entry(generation).or_default();
            holdings.bytes += object.bytes;
            match what {
                What::Begun(at) => {
                    holdings.begun = Some(holdings.begun.map_or(at, |it| it.min(at)));
                }
                What::Segment(span) => holdings.segments.push(span),
                What::Piece(segment, span) => holdings.pieces.push((segment, span)),
                What::Snapshot(name) => holdings.snapshots.push(name),
            }
        }
        for holdings in inventory.generations.values_mut() {
            holdings.segments.sort_unstable();
            holdings.pieces.sort_unstable();
            holdings.snapshots.sort_unstable();
        }
        inventory
    }

    /// Every generation, oldest first.
    pub(super) fn generations(&self) -> impl DoubleEndedIterator<Item = (Generation, &Holdings)> {
        self.generations
            .iter()
            .map(|(it, holdings)| (*it, holdings))
    }

    pub(super) fn of_generation(&self, generation: Generation) -> Option<&Holdings> {
        self.generations.get(&generation)
    }

    /// The objects that can be deleted while every time from `since` on stays restorable.
    pub(super) fn surplus(&self, since: UnixMs) -> Vec<Name> {
        let mut surplus = Vec::new();
        // If a newer generation began before `since` and can be restored to it, no older generation
        // is needed.
        let mut is_superseded = false;
        for (generation, holdings) in self.generations().rev() {
            let named = |what| Name { generation, what };
            if is_superseded {
                surplus.extend(holdings.all().map(named));
                continue;
            }
            if let Some(base) = holdings.base_before(since) {
                surplus.extend(holdings.not_needed_from(&base).map(named));
                is_superseded = holdings.begun.is_none_or(|begun| begun <= since);
            }
            surplus.extend(holdings.shipped_twice().map(named));
        }
        surplus
    }
}

impl Holdings {
    fn all(&self) -> impl Iterator<Item = What> {
        let pieces = self.pieces.iter();
        let segments = self.segments.iter().copied().map(What::Segment);
        segments
            .chain(pieces.map(|(segment, span)| What::Piece(*segment, *span)))
            .chain(self.snapshots.iter().copied().map(What::Snapshot))
            .chain(self.begun.map(What::Begun))
    }

    /// Pieces of segments that are also stored whole.
    fn shipped_twice(&self) -> impl Iterator<Item = What> {
        let is_whole = |segment: Lsn| {
            let at = self.segments.binary_search_by_key(&segment, |it| it.first);
            at.is_ok()
        };
        let pieces = self.pieces.iter().copied();
        pieces
            .filter(move |(segment, _)| is_whole(*segment))
            .map(|(segment, span)| What::Piece(segment, span))
    }

    /// The newest snapshot from not later than `at` that can be restored to its own end.
    fn base_before(&self, at: UnixMs) -> Option<SnapshotName> {
        let older = self.snapshots.iter().rev().filter(|it| it.at <= at);
        older.copied().find(|it| self.reaches(it))
    }

    fn reaches(&self, snapshot: &SnapshotName) -> bool {
        let run = self.run_from(snapshot.first);
        snapshot.covered <= run.map_or(snapshot.first, |run| run.end)
    }

    /// The objects that no restore from `base` or a later snapshot reads.
    fn not_needed_from(&self, base: &SnapshotName) -> impl Iterator<Item = What> {
        let base = *base;
        let segments = self.segments.iter().copied();
        let snapshots = self.snapshots.iter().copied();
        let segments = segments.filter(move |it| it.end <= base.first);
        let snapshots = snapshots.filter(move |it| it.first < base.first);
        segments
            .map(What::Segment)
            .chain(snapshots.map(What::Snapshot))
    }

    /// The end of the newest part of the log.
    pub(super) fn end(&self) -> Option<Span> {
        let pieces = self.pieces.iter().map(|(_, span)| *span);
        let all = self.segments.iter().copied().chain(pieces);
        all.max_by_key(|span| (span.end, span.first))
    }

    /// The objects from the segment with `from` on, up to the first gap; `None` if no object
    /// contains `from`.
    pub(super) fn run_from(&self, from: Lsn) -> Option<LogRun> {
        let before = self.segments.partition_point(|it| it.first <= from);
        let whole = self.segments[..before].last().filter(|it| from < it.end);
        let pieces = self.pieces.partition_point(|(segment, _)| *segment <= from);
        let begun = self.pieces[..pieces].last().map(|(segment, _)| *segment);
        let segment = whole.map(|it| it.first).into_iter().chain(begun).max()?;
        let mut run = LogRun {
            parts: Vec::new(),
            first: segment,
            end: segment,
            chain: 0,
        };
        loop {
            let before = run.end;
            self.add_segment(&mut run);
            if run.end == before {
                break;
            }
        }
        // The end itself has no record yet, but a restore may begin there.
        (run.first <= from && from <= run.end && !run.parts.is_empty()).then_some(run)
    }

    /// Adds the segment that begins where `run` ends: the whole one, otherwise its pieces.
    fn add_segment(&self, run: &mut LogRun) {
        let segment = run.end;
        let at = self.segments.partition_point(|it| it.first < segment);
        let whole = self.segments[at..].iter();
        if let Some(span) = whole.take_while(|it| it.first == segment).last() {
            run.add(segment, *span, What::Segment(*span));
            return;
        }
        let from = self.pieces.partition_point(|(it, _)| *it < segment);
        let pieces: Vec<_> = self.pieces[from..]
            .iter()
            .take_while(|(it, _)| *it == segment)
            .map(|(_, span)| *span)
            .collect();
        // Of two pieces with the same start, the longer one.
        while let Some(span) = pieces.iter().rfind(|it| it.first == run.end) {
            run.add(segment, *span, What::Piece(segment, *span));
        }
    }

    /// All starting points, newest first: each snapshot with its log, and the beginning of the log.
    pub(super) fn bases(&self) -> impl Iterator<Item = Base> {
        let snapshots = self.snapshots.iter().rev();
        let from_snapshots = snapshots.filter_map(|it| {
            let run = self.run_from(it.first)?;
            (it.covered <= run.end).then_some(Base {
                snapshot: Some(*it),
                run,
            })
        });
        let whole = self.run_from(Lsn(0)).map(|run| Base {
            snapshot: None,
            run,
        });
        from_snapshots.chain(whole)
    }
}

impl LogRun {
    fn add(&mut self, segment: Lsn, span: Span, what: What) {
        self.parts.push(SegmentPart {
            segment,
            span,
            what,
        });
        self.end = span.end;
        self.chain = span.chain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Generation = Generation::new(1, 10);
    const NEW: Generation = Generation::new(2, 20);

    fn span(first: u64, end: u64) -> Span {
        Span {
            first: Lsn(first),
            end: Lsn(end),
            chain: 0,
        }
    }

    fn segment(first: u64, end: u64) -> What {
        What::Segment(span(first, end))
    }

    fn piece(segment: u64, first: u64, end: u64) -> What {
        What::Piece(Lsn(segment), span(first, end))
    }

    fn snapshot(first: u64, covered: u64, at: u64) -> What {
        What::Snapshot(SnapshotName {
            first: Lsn(first),
            covered: Lsn(covered),
            at: UnixMs::new(at),
        })
    }

    fn inventory(objects: &[(Generation, What)]) -> Inventory {
        let listed = objects.iter().map(|(generation, what)| ObjectInfo {
            name: Name {
                generation: *generation,
                what: *what,
            }
            .to_string(),
            bytes: 1,
        });
        Inventory::of(&listed.collect::<Vec<_>>())
    }

    fn surplus(objects: &[(Generation, What)], since: u64) -> Vec<(Generation, What)> {
        let names = inventory(objects).surplus(UnixMs::new(since));
        names
            .into_iter()
            .map(|it| (it.generation, it.what))
            .collect()
    }

    #[test]
    fn a_run_goes_as_far_as_there_is_no_gap() {
        let objects = [
            (OLD, segment(0, 100)),
            (OLD, segment(100, 200)),
            (OLD, piece(200, 200, 210)),
            (OLD, piece(200, 210, 230)),
            (OLD, piece(200, 240, 250)),
        ];
        let inventory = inventory(&objects);
        let holdings = inventory.of_generation(OLD).unwrap();
        let run = holdings.run_from(Lsn(150)).unwrap();
        assert_eq!(
            (run.first, run.end, run.parts.len()),
            (Lsn(100), Lsn(230), 3)
        );
        assert_eq!(holdings.run_from(Lsn(0)).unwrap().parts.len(), 4);
        assert!(holdings.run_from(Lsn(245)).is_none(), "behind a gap");
        assert_eq!(holdings.end(), Some(span(240, 250)));
    }

    #[test]
    fn a_piece_that_was_sent_twice_counts_with_its_longer_half() {
        let objects = [
            (OLD, piece(0, 0, 50)),
            (OLD, piece(0, 0, 90)),
            (OLD, piece(0, 90, 120)),
        ];
        let inventory = inventory(&objects);
        let run = inventory.of_generation(OLD).unwrap().run_from(Lsn(0));
        assert_eq!(run.unwrap().end, Lsn(120));
    }

    #[test]
    fn a_base_needs_the_log_up_to_what_its_snapshot_covers() {
        let objects = [
            (OLD, segment(100, 200)),
            (OLD, snapshot(150, 180, 5)),
            (OLD, snapshot(190, 210, 6)),
        ];
        let inventory = inventory(&objects);
        let bases: Vec<_> = inventory.of_generation(OLD).unwrap().bases().collect();
        assert_eq!(bases.len(), 1, "the newer one reaches beyond the log");
        assert_eq!(bases[0].snapshot.unwrap().first, Lsn(150));
    }

    #[test]
    fn deletion_leaves_every_later_time_restorable() {
        let objects = [
            (OLD, segment(0, 100)),
            (OLD, segment(100, 200)),
            (OLD, segment(200, 300)),
            (OLD, snapshot(120, 130, 1_000)),
            (OLD, snapshot(220, 230, 2_000)),
        ];
        assert_eq!(surplus(&objects, 500), [], "nothing is older");
        assert_eq!(surplus(&objects, 1_500), [(OLD, segment(0, 100))]);
        let gone = [
            (OLD, segment(0, 100)),
            (OLD, segment(100, 200)),
            (OLD, snapshot(120, 130, 1_000)),
        ];
        assert_eq!(surplus(&objects, 9_999), gone);
    }

    #[test]
    fn an_older_generation_goes_once_the_newer_one_reaches_back_far_enough() {
        let mut objects = vec![
            (OLD, segment(0, 100)),
            (OLD, snapshot(20, 30, 1_000)),
            (NEW, piece(100, 100, 150)),
            (NEW, snapshot(110, 120, 3_000)),
        ];
        assert_eq!(surplus(&objects, 2_000), [], "the new one begins later");
        let gone = vec![(OLD, segment(0, 100)), (OLD, snapshot(20, 30, 1_000))];
        assert_eq!(surplus(&objects, 4_000), gone);
        // A snapshot without its log cannot be restored, so the old one stays.
        objects.retain(|(_, what)| !matches!(what, What::Piece(..)));
        assert_eq!(surplus(&objects, 4_000), []);
    }

    #[test]
    fn an_older_generation_stays_for_the_instants_before_the_newer_one_began() {
        let objects = [
            (OLD, segment(0, 100)),
            (NEW, What::Begun(UnixMs::new(3_000))),
            (NEW, piece(0, 0, 50)),
            (NEW, snapshot(10, 20, 1_000)),
        ];
        assert_eq!(surplus(&objects, 2_000), []);
        assert_eq!(surplus(&objects, 3_000), [(OLD, segment(0, 100))]);
    }

    #[test]
    fn pieces_go_once_their_segment_is_there() {
        let objects = [
            (OLD, segment(0, 100)),
            (OLD, piece(0, 0, 60)),
            (OLD, piece(100, 100, 110)),
        ];
        assert_eq!(surplus(&objects, 0), [(OLD, piece(0, 0, 60))]);
    }
}
