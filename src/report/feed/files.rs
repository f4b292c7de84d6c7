//! Owns verifying the files of sinks in a stopped data directory: cursors and dead letters.
//!
//! Invariants: nothing is written; what a start would refuse is reported as damaged; no cursor is
//! past the end of the log or belongs to another log (I7). Deliberately absent: the content of the
//! sinks' own stores.

use super::cursor::{self, CursorError, SinkState, log_id_text};
use super::dead_letters::{self, LetterError};
use crate::ids::Lsn;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of sinks in a data directory.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFiles {
    pub cursors: usize,
    /// Dead letters of all sinks.
    pub dead_letters: usize,
}

/// Why the files are not clean.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkFilesError {
    /// A file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// A file is damaged.
    #[error("{0}")]
    Damaged(String),
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
            let log_id = &state.log_id;
            return Err(SinkFilesError::Damaged(format!(
                "I7 does not hold: the sink {sink} is at LSN {cursor} of log {log_id}, and this log \
                 ends at {end}; put the files of one data directory back together"
            )));
        }
        found.cursors += 1;
    }
    for (path, _) in named(&data_dir.join(dead_letters::FOLDER), "jsonl")? {
        found.dead_letters += dead_letters::verify(&path)?;
    }
    Ok(found)
}

/// Files in `folder` that end with `.extension`, and their names without it.
fn named(folder: &Path, extension: &str) -> Result<Vec<(PathBuf, String)>, SinkFilesError> {
    let unreadable =
        |error: io::Error| SinkFilesError::Unreadable(format!("{}: {error}", folder.display()));
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

impl From<CursorError> for SinkFilesError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Io { .. } => Self::Unreadable(error.to_string()),
            CursorError::Damaged { .. } => Self::Damaged(error.to_string()),
        }
    }
}

impl From<LetterError> for SinkFilesError {
    fn from(error: LetterError) -> Self {
        match error {
            LetterError::Io { .. } => Self::Unreadable(error.to_string()),
            LetterError::Full { .. } | LetterError::Damaged { .. } => {
                Self::Damaged(error.to_string())
            }
        }
    }
}
