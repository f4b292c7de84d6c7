//! Owns the names of the files in a log's directory: what each is can be read from its name.

pub(crate) const WITNESS: &str = "witness";
pub(crate) const CLEAN_STOP: &str = "closed";
const SEGMENT: &str = ".wal";
const SPARE: &str = "spare-";
pub(crate) const UNFINISHED: &str = ".new";
const TORN: &str = "torn-";

pub(crate) fn segment(first: u64) -> String {
    format!("{first:020}{SEGMENT}")
}

/// The first LSN in a segment's name.
pub(crate) fn parse_segment(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

pub(crate) fn spare(number: u64) -> String {
    format!("{SPARE}{number}")
}

pub(crate) fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

/// Whether a file is a left-over of the making of another, never part of the log.
pub(crate) fn is_left_over(name: &str) -> bool {
    name.starts_with(SPARE) || name.ends_with(UNFINISHED)
}

pub(crate) fn torn(lsn: u64, copy: u32) -> String {
    format!("{TORN}{lsn:020}-{copy}")
}

pub(crate) fn is_torn(name: &str) -> bool {
    name.starts_with(TORN)
}
