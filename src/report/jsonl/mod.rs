//! The JSON Lines sink: a file of events, one JSON object a line, exactly those of `holdfast log`.
//!
//! Invariants: every event stands in the files once and in order, over crashes too: how long the
//! file is stands in a small file beside it, written after each batch is synced, and what goes
//! beyond it is cut before anything is appended; a full file is renamed to its cursor and a new one
//! begun; the newest `keep` full ones are kept. Lines of a history that was given up are cut and kept
//! aside in a file of their own.

mod file;
mod lines;

use super::event_bytes;
use super::feed::sink::{
    Batch, Batching, Class, Convert, Deliver, Delivered, Fed, Kept, Mark, Purpose, Sink, Unfit,
};
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use file::EventFile;
use std::path::PathBuf;

pub use file::JsonlError;

/// The sink's name.
pub const NAME: &str = "jsonl";

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonlSettings {
    /// The file that is written.
    pub path: PathBuf,
    /// Bytes after which it is full.
    pub rotate_bytes: u64,
    /// How many full files are kept.
    pub keep: usize,
}

pub fn sink(settings: JsonlSettings, batching: Batching) -> Sink<Lines, LineFile> {
    Sink {
        name: NAME,
        convert: Lines,
        deliver: LineFile {
            settings,
            file: None,
        },
        cursor: Kept::InSink,
        batching,
    }
}

/// Makes a line of each event.
#[derive(Debug)]
pub struct Lines;

impl Convert for Lines {
    type Item = Vec<u8>;

    fn convert(&mut self, fed: &Fed) -> Result<Option<Vec<u8>>, Unfit> {
        let mut line = event_bytes(&fed.entry);
        line.push(b'\n');
        Ok(Some(line))
    }

    fn bytes(line: &Vec<u8>) -> usize {
        line.len()
    }
}

/// Appends lines.
#[derive(Debug)]
pub struct LineFile {
    settings: JsonlSettings,
    file: Option<EventFile>,
}

impl Deliver for LineFile {
    type Item = Vec<u8>;
    type Error = JsonlError;

    async fn open(
        &mut self,
        log_id: u64,
        generation: Generation,
    ) -> Result<Option<Cursor>, JsonlError> {
        // What is open may have lines that no cursor vouches for.
        self.file = None;
        let file = EventFile::open(&self.settings, log_id, generation)?;
        let cursor = file.cursor();
        self.file = Some(file);
        Ok(cursor)
    }

    async fn newest(&mut self, from: Lsn, before: Lsn) -> Result<Option<Mark>, JsonlError> {
        lines::newest(&self.settings.path, from, before)
    }

    async fn take_back(&mut self, from: &Cursor, to: &Cursor) -> Result<u64, JsonlError> {
        let file = self.file.as_mut().ok_or(JsonlError::NotOpen)?;
        file.take_back(from, to)
    }

    async fn deliver(&mut self, batch: Batch<'_, Vec<u8>>) -> Result<Delivered, JsonlError> {
        let file = self.file.as_mut().ok_or(JsonlError::NotOpen)?;
        let lines = batch.items.iter().map(|placed| placed.item.as_slice());
        match batch.purpose {
            Purpose::Feed { to, .. } => file.append(lines, Some(to))?,
            Purpose::Redrive => file.append(lines, None)?,
        }
        file.rotate_if_full()?;
        Ok(Delivered::default())
    }

    fn classify(error: &JsonlError) -> Class {
        match error {
            JsonlError::OtherLog { .. }
            | JsonlError::Unaccounted { .. }
            | JsonlError::NoLine { .. } => Class::Misconfigured,
            JsonlError::Io { .. } | JsonlError::NotOpen => Class::Retriable,
        }
    }
}
