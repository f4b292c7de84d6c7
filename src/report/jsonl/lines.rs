//! Owns finding lines in the files of the JSON Lines sink by the LSN of their event.
//!
//! Invariants: lines are in the order of the log, so a binary search finds them; only a few lines
//! of a file are read. Deliberately absent: changing files.

use super::file::{JsonlError, failed, full_files};
use crate::ids::Lsn;
use crate::report::feed::sink::SinkRecord;
use crate::time::UnixMs;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Far above the length of any event's line.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// The fields of a line that identify its event.
#[derive(Deserialize)]
struct LineHead {
    lsn: u64,
    at: String,
    kind: String,
    user_id: Option<String>,
}

/// The newest event in the files of `path` from `from` on and before `before`.
pub(super) fn newest(
    path: &Path,
    from: Lsn,
    before: Lsn,
) -> Result<Option<SinkRecord>, JsonlError> {
    let mut files = full_files(path)?;
    files.push(path.to_owned());
    for file in files.iter().rev() {
        let mut lines = LineSearch::open(file)?;
        let end = lines.first_at_or_behind(before)?;
        if end == 0 {
            continue;
        }
        // The last line before `end` is the one with the byte before it.
        let (_, line) = lines.around(end - 1)?;
        let at = UnixMs::parse(&line.at);
        let at = at.ok_or_else(|| lines.no_line(end - 1))?;
        return Ok((line.lsn >= from.0).then_some(SinkRecord {
            lsn: Lsn(line.lsn),
            at,
            kind: line.kind,
            user: line.user_id,
        }));
    }
    Ok(None)
}

/// The offset of the first line in `file` whose event is at `lsn` or later; the file's length if
/// there is none.
pub(super) fn first_at_or_behind(file: &Path, lsn: Lsn) -> Result<u64, JsonlError> {
    LineSearch::open(file)?.first_at_or_behind(lsn)
}

/// Copies the lines of `file` from `offset` on; returns their number.
pub(super) fn copy(file: &Path, offset: u64, mut to: &File) -> io::Result<u64> {
    let mut from = File::open(file)?;
    from.seek(SeekFrom::Start(offset))?;
    let mut buffer = vec![0; 1 << 20];
    let mut count = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(count);
        }
        let lines = buffer[..read].iter().filter(|byte| **byte == b'\n');
        count += lines.count() as u64;
        to.write_all(&buffer[..read])?;
    }
}

/// A file of lines.
struct LineSearch<'p> {
    path: &'p Path,
    file: BufReader<File>,
    length: u64,
}

impl<'p> LineSearch<'p> {
    fn open(path: &'p Path) -> Result<Self, JsonlError> {
        let opened = File::open(path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((BufReader::new(file), length))
        });
        let (file, length) = opened.map_err(failed("opening", path))?;
        Ok(Self { path, file, length })
    }

    fn first_at_or_behind(&mut self, lsn: Lsn) -> Result<u64, JsonlError> {
        // Invariant of the search: lines that begin before `low` are before `lsn`; lines from
        // `high` on are not.
        let (mut low, mut high) = (0, self.length);
        while low < high {
            let (span, line) = self.around(low + (high - low) / 2)?;
            if line.lsn < lsn.0 {
                low = span.end;
            } else {
                high = span.start;
            }
        }
        Ok(low)
    }

    /// The line that contains the byte at `offset`.
    fn around(&mut self, offset: u64) -> Result<(std::ops::Range<u64>, LineHead), JsonlError> {
        let path = self.path;
        let start = self.start_of(offset).map_err(failed("reading", path))?;
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| {
                let mut line = (&mut self.file).take(LINE_BYTES_MAX);
                line.read_until(b'\n', &mut bytes)
            })
            .map_err(failed("reading", path))?;
        let line = serde_json::from_slice(&bytes).ok();
        let line = line.filter(|_| bytes.ends_with(b"\n"));
        let line = line.ok_or_else(|| self.no_line(start))?;
        Ok((start..start + bytes.len() as u64, line))
    }

    /// The start of the line that contains the byte at `offset`.
    fn start_of(&mut self, offset: u64) -> io::Result<u64> {
        const STEP: u64 = 4_096;
        let mut end = offset;
        let mut bytes = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(STEP);
            bytes.clear();
            self.file.seek(SeekFrom::Start(start))?;
            (&mut self.file).take(end - start).read_to_end(&mut bytes)?;
            if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
                return Ok(start + at as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }

    fn no_line(&self, offset: u64) -> JsonlError {
        JsonlError::NoLine {
            path: self.path.to_owned(),
            offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_the_place_of_their_event() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let at = "2027-01-15T08:00:00.123Z";
        let line = |lsn: u64| {
            let user = "u".repeat(usize::try_from(lsn % 977).unwrap() * 20);
            format!("{{\"lsn\":{lsn},\"at\":\"{at}\",\"kind\":\"k\",\"user_id\":\"{user}\"}}\n")
        };
        let lsns: Vec<u64> = (1..200).map(|number| number * 64).collect();
        let (old, new) = lsns.split_at(120);
        let text = |lsns: &[u64]| lsns.iter().copied().map(line).collect::<String>();
        std::fs::write(
            dir.path().join(format!("events.jsonl.{:020}", 121 * 64)),
            text(old),
        )
        .unwrap();
        std::fs::write(&path, text(new)).unwrap();

        let newest = |from, before| {
            let found = newest(&path, Lsn(from), Lsn(before)).unwrap();
            found.map(|mark| mark.lsn.0)
        };
        for lsn in &lsns {
            assert_eq!(newest(0, lsn + 1), Some(*lsn));
            assert_eq!(newest(*lsn, lsn + 64), Some(*lsn));
            assert_eq!(newest(lsn + 1, lsn + 64), None);
        }
        assert_eq!(newest(0, 64), None);
        assert_eq!(newest(0, u64::MAX), lsns.last().copied());
        let offset = first_at_or_behind(&path, Lsn(new[3])).unwrap();
        assert_eq!(offset, text(&new[..3]).len() as u64);
        let copied = dir.path().join("copied");
        let count = copy(&path, offset, &File::create(&copied).unwrap()).unwrap();
        assert_eq!(count, new.len() as u64 - 3);
        assert_eq!(std::fs::read_to_string(&copied).unwrap(), text(&new[3..]));

        std::fs::write(&path, "{\"lsn\":1}\n").unwrap();
        let bad = super::newest(&path, Lsn(0), Lsn(9)).unwrap_err();
        assert!(matches!(bad, JsonlError::NoLine { offset: 0, .. }), "{bad}");
    }
}
