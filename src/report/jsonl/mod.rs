//! The JSON Lines sink: a file of events, one JSON object per line, the same as `holdfast log`
//! prints.
//!
//! Invariants: the files have every event once and in order, across crashes. A small file beside
//! the lines records their length, written after each batch is synced; anything beyond it is cut
//! before appending. A full file is renamed to its cursor and a new one is started; the newest
//! `keep` full ones are kept. Lines of a history that was given up are cut and kept in a separate
//! file.

mod file;
mod lines;

use super::event_bytes;
use super::feed::sink::{
    Batch, Batching, Begins, Class, Convert, Deliver, Delivered, Fed, Kept, Purpose, Sink,
    SinkRecord, Unfit,
};
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use file::EventFile;
use std::path::PathBuf;

pub use file::JsonlError;

/// The sink's name.
pub const NAME: &str = "jsonl";

/// The settings of the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonlSettings {
    /// The current file.
    pub path: PathBuf,
    /// Size at which the file is rotated.
    pub rotate_bytes: u64,
    /// Number of full files to keep.
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
        begins: Begins::AtTheBeginning,
        batching,
    }
}

/// Converts an event into a line.
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
        // The open file may have lines after the cursor; opening it again cuts them.
        self.file = None;
        let file = EventFile::open(&self.settings, log_id, generation)?;
        let cursor = file.cursor();
        self.file = Some(file);
        Ok(cursor)
    }

    async fn newest(&mut self, from: Lsn, before: Lsn) -> Result<Option<SinkRecord>, JsonlError> {
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
            Purpose::Redrive { .. } => file.append(lines, None)?,
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
