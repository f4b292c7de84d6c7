//! Owns the names of the objects of a backup. A name says what the object contains, so a list of
//! names is enough to know what can be restored.
//!
//! ```text
//! lease                                             which process writes here
//! generations/GENERATION/begun-AT                   when the generation began
//! generations/GENERATION/log/FIRST-END-CHAIN        a sealed segment
//! generations/GENERATION/tail/SEGMENT/FIRST-END-CHAIN   a part of the current segment
//! generations/GENERATION/snapshots/FIRST-COVERED-AT a snapshot
//! ```
//!
//! Invariants: a written name parses to the same value; any other name is foreign and never
//! touched. LSNs have 20 digits, times 15 (milliseconds), checksums 8 hexadecimal ones, so that
//! names sort by their values.

use crate::ids::Lsn;
use crate::journal::Generation;
use crate::time::UnixMs;

/// The object that says which process writes.
pub(super) const LEASE: &str = "lease";

/// A part of the log.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// The LSN of its first record.
    pub(super) first: Lsn,
    /// LSN after its last record.
    pub(super) end: Lsn,
    /// Checksum of its last frame.
    pub(super) chain: u32,
}

/// The kind of an object.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A generation began at this time.
    Begun(UnixMs),
    /// A whole sealed segment.
    Segment(Span),
    /// Part of the segment that begins at this LSN; the first part includes the segment's header.
    Piece(Lsn, Span),
    Snapshot(SnapshotName),
}

/// The parts of a snapshot's name.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SnapshotName {
    /// Recovery reads the log from this LSN on.
    pub(super) first: Lsn,
    /// Recovery needs the log up to this LSN.
    pub(super) covered: Lsn,
    /// The time of its last event.
    pub(super) at: UnixMs,
}

/// An object of a backup.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) generation: Generation,
    pub(super) what: What,
}

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, tag) = (self.generation.number(), self.generation.tag());
        write!(out, "generations/{number:010}-{tag:016x}/")?;
        match self.what {
            What::Begun(at) => write!(out, "begun-{:015}", at.get()),
            What::Segment(span) => write!(out, "log/{span}"),
            What::Piece(segment, span) => write!(out, "tail/{:020}/{span}", segment.0),
            What::Snapshot(it) => {
                let (first, covered, at) = (it.first.0, it.covered.0, it.at.get());
                write!(out, "snapshots/{first:020}-{covered:020}-{at:015}")
            }
        }
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, end, chain } = self;
        write!(out, "{:020}-{:020}-{chain:08x}", first.0, end.0)
    }
}

impl Name {
    /// Parses a name, without the prefix of the backup.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (generation, rest) = text.strip_prefix("generations/")?.split_once('/')?;
        let (number, tag) = generation.split_once('-')?;
        let number = u32::try_from(digits(number, 10)?).ok()?;
        let generation = Generation::new(number, hexadecimal(tag, 16)?);
        let what = if let Some(at) = rest.strip_prefix("begun-") {
            What::Begun(instant(at)?)
        } else {
            match rest.split_once('/')? {
                ("log", span) => What::Segment(Span::parse(span)?),
                ("tail", rest) => {
                    let (segment, span) = rest.split_once('/')?;
                    let (segment, span) = (lsn(segment)?, Span::parse(span)?);
                    (segment <= span.first).then_some(())?;
                    What::Piece(segment, span)
                }
                ("snapshots", name) => What::Snapshot(SnapshotName::parse(name)?),
                _ => return None,
            }
        };
        Some(Self { generation, what })
    }
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let span = Self {
            first: lsn(parts.next()?)?,
            end: lsn(parts.next()?)?,
            chain: u32::try_from(hexadecimal(parts.next()?, 8)?).ok()?,
        };
        (parts.next().is_none() && span.first < span.end).then_some(span)
    }
}

impl SnapshotName {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let name = Self {
            first: lsn(parts.next()?)?,
            covered: lsn(parts.next()?)?,
            at: instant(parts.next()?)?,
        };
        (parts.next().is_none() && name.first <= name.covered).then_some(name)
    }
}

fn lsn(text: &str) -> Option<Lsn> {
    digits(text, 20).map(Lsn)
}

fn instant(text: &str) -> Option<UnixMs> {
    let ms = digits(text, 15)?;
    (ms <= UnixMs::MAX.get()).then(|| UnixMs::new(ms))
}

fn digits(text: &str, length: usize) -> Option<u64> {
    let fits = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

fn hexadecimal(text: &str, length: usize) -> Option<u64> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let fits = text.len() == length && text.bytes().all(is_digit);
    fits.then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let span = Span {
            first: Lsn(0),
            end: Lsn(u64::MAX),
            chain: 0xdead_beef,
        };
        let snapshot = SnapshotName {
            first: Lsn(7),
            covered: Lsn(7),
            at: UnixMs::MAX,
        };
        for what in [
            What::Begun(UnixMs::new(1)),
            What::Segment(span),
            What::Piece(Lsn(0), span),
            What::Snapshot(snapshot),
        ] {
            let generation = Generation::new(u32::MAX, 5);
            let name = Name { generation, what };
            assert_eq!(Name::parse(&name.to_string()), Some(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_foreign() {
        let good = "generations/0000000001-00000000000000aa/log/00000000000000000000-00000000000000000960-0000000a";
        assert!(Name::parse(good).is_some());
        for bad in [
            "lease",
            "generations/1-aa/begun-1",
            "generations/0000000001-00000000000000aa/",
            "generations/0000000001-00000000000000AA/begun-000000000000001",
            "generations/9999999999-00000000000000aa/begun-000000000000001",
            "generations/0000000001-00000000000000aa/begun-999999999999999",
            "generations/0000000001-00000000000000aa/log/00000000000000000960-00000000000000000960-0000000a",
            "generations/0000000001-00000000000000aa/log/00000000000000000000-99999999999999999999-0000000a",
            "generations/0000000001-00000000000000aa/tail/00000000000000000960/00000000000000000000-00000000000000000960-0000000a",
            "generations/0000000001-00000000000000aa/log/../../../etc/passwd",
            &good.replace("-0000000a", "-0000000a-1"),
        ] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }
}
