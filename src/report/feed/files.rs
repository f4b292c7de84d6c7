//! Owns verifying the files of sinks in a stopped data directory, cursors and dead letters, and finding
//! those of sinks that do not run any more.
//!
//! Invariants: nothing is written; what a start would refuse is reported as damaged; no cursor is
//! past the end of the log or belongs to another log (I7). Deliberately absent: the content of the
//! sinks' own stores.

use super::cursor::{self, CursorError, SinkState, log_id_text};
use super::dead_letters::{self, LetterError};
use crate::ids::Lsn;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders beside the cursors, in which sinks keep deliveries that they have put off, end with it.
pub(in crate::report) const PUT_OFF: &str = "put_off";

/// The files of sinks in a data directory.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFiles {
    pub cursors: usize,
    /// Dead letters of all sinks.
    pub dead_letters: usize,
}

/// Why the files are not clean.
#[derive(Debug, thiserror::Error)]
pub enum SinkFilesError {
    #[error("{}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Letters(#[from] LetterError),
    #[error(
        "I7 does not hold: the sink {sink} is at LSN {cursor} of log {log_id}, and this log ends at \
         {end}; put the files of one data directory back together"
    )]
    Elsewhere {
        sink: String,
        /// What the sink has acknowledged.
        cursor: Lsn,
        /// The log of the sink's file.
        log_id: String,
        /// The end of this log.
        end: Lsn,
    },
}

impl SinkFilesError {
    /// Whether a file is there and readable, but not what was written.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Folder { .. }
            | Self::Cursor(CursorError::Io { .. })
            | Self::Letters(LetterError::Io { .. }) => false,
            Self::Cursor(CursorError::Damaged { .. })
            | Self::Letters(LetterError::Full { .. } | LetterError::Damaged { .. })
            | Self::Elsewhere { .. } => true,
        }
    }
}

/// Verifies the files in `data_dir`, whose log is `log_id` and ends at `end`.
pub fn verify(data_dir: &Path, log_id: Option<u64>, end: Lsn) -> Result<SinkFiles, SinkFilesError> {
    let mut found = SinkFiles::default();
    for (_, sink) in named(&data_dir.join(cursor::FOLDER), "cursor")? {
        let Some(state) = SinkState::read(data_dir, &sink)? else {
            continue;
        };
        let is_of_this_log = log_id.is_none_or(|id| state.log_id == log_id_text(id));
        let cursor = state.cursor().lsn;
        if !is_of_this_log || cursor > end {
            return Err(SinkFilesError::Elsewhere {
                sink,
                cursor,
                log_id: state.log_id,
                end,
            });
        }
        found.cursors += 1;
    }
    for (path, _) in named(&data_dir.join(dead_letters::FOLDER), "jsonl")? {
        found.dead_letters += dead_letters::verify(&path)?;
    }
    // What a sink has put off.
    for (folder, _) in named(&data_dir.join(cursor::FOLDER), PUT_OFF)? {
        for (path, _) in named(&folder, "jsonl")? {
            dead_letters::verify(&path)?;
        }
    }
    Ok(found)
}

/// What a sink that does not run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub sink: String,
    /// Deliveries that it has put off, and which nobody tries again.
    pub waiting: usize,
}

/// The sinks with files in `folder`, where the cursors are, that do not run.
pub fn orphans(folder: &Path, runs: impl Fn(&str) -> bool) -> Result<Vec<Orphan>, SinkFilesError> {
    let mut waiting = BTreeMap::new();
    for (_, sink) in named(folder, "cursor")? {
        waiting.insert(sink, 0);
    }
    waiting.retain(|sink, _| !runs(sink));
    for (put_off, sink) in named(folder, PUT_OFF)? {
        if runs(&sink) {
            continue;
        }
        let count: &mut usize = waiting.entry(sink).or_default();
        for (path, _) in named(&put_off, "jsonl")? {
            *count += dead_letters::verify(&path)?;
        }
    }
    let orphan = |(sink, waiting)| Orphan { sink, waiting };
    Ok(waiting.into_iter().map(orphan).collect())
}

/// Files in `folder` that end with `.extension`, and their names without it.
fn named(folder: &Path, extension: &str) -> Result<Vec<(PathBuf, String)>, SinkFilesError> {
    let unreadable = |source| SinkFilesError::Folder {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|it| it == extension)
            && let Some(name) = path.file_stem().and_then(|it| it.to_str())
        {
            let name = name.to_owned();
            found.push((path, name));
        }
    }
    found.sort();
    Ok(found)
}
