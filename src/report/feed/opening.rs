//! Owns opening a sink: where it goes on, and whether its history is this log's.
//!
//! Invariants: a sink whose cursor belongs to another history of the log delivers nothing, until that history
//! was given up and the sink has taken back what the log does not have; the cursor that counts is the sink's
//! own where the sink keeps one.
//! Deliberately absent: how events are taken back (`returning`), and delivering (`runner`).

use super::cursor::StoredCursor;
use super::runner::{Failed, Runner, failed, ordered_to_drop, unread};
use super::sink::{Convert, Deliver, Kept};
use crate::journal::{Cursor, Elsewhere, Located};

/// An open sink.
pub(super) struct OpenSink {
    pub(super) cursor: Cursor,
    pub(super) returned: Returned,
}

impl OpenSink {
    const fn here(cursor: Cursor) -> Self {
        let returned = Returned::No;
        Self { cursor, returned }
    }
}

/// Whether a sink took back events of another history when it was opened.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    Yes,
    No,
}

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    /// Opens the sink, and takes back events of a history that was given up.
    pub(super) async fn open(&mut self) -> Result<OpenSink, Failed> {
        let opened = self.try_to_open().await;
        self.unlooked = None;
        opened
    }

    async fn try_to_open(&mut self) -> Result<OpenSink, Failed> {
        let (log_id, generation) = (self.journal.log_id(), self.journal.generation());
        let opening = self.deliver.open(log_id, generation);
        let opening = tokio::time::timeout(self.settings.deliver_timeout, opening);
        let told = tokio::select! {
            told = opening => told,
            () = ordered_to_drop(&self.wanted) => return Err(Failed::Ordered),
        };
        let own = match told {
            Ok(Ok(own)) => own,
            Ok(Err(error)) => return Err(failed::<D>(&error)),
            Err(_) => return Err(Failed::Later("opening took too long".to_owned())),
        };
        let beginning = StoredCursor::beginning(generation).cursor();
        let (goes_on_at, shown) = match self.control.kept {
            Kept::InSink => (own.unwrap_or(beginning), None),
            Kept::InFile => (self.state.cursor(), own),
        };
        let mut elsewhere = None;
        for cursor in shown.iter().chain([&goes_on_at]) {
            let located = self
                .journal
                .history()
                .locate(cursor)
                .map_err(|it| unread(&it))?;
            if let Located::Elsewhere(parting) = located {
                elsewhere = Some((*cursor, parting));
                break;
            }
        }
        let opened = match elsewhere {
            None => {
                self.journal.history().reader_is_at(self.control.name, None);
                OpenSink::here(goes_on_at)
            }
            Some((cursor, parting)) if self.journal.history().has_given_up(&cursor) => {
                tracing::warn!(
                    event = "sink_returns",
                    sink = self.control.name,
                    cursor = cursor.lsn.0,
                    generation = %cursor.generation,
                    "the sink has a history of the log that was given up: {parting}; it takes back what the log does not have"
                );
                let cursor = self.take_back(&cursor).await?;
                self.journal.history().reader_is_at(self.control.name, None);
                OpenSink {
                    cursor,
                    returned: Returned::Yes,
                }
            }
            Some((cursor, parting)) => {
                let elsewhere = Elsewhere { cursor, parting };
                let name = self.control.name;
                self.journal.history().reader_is_at(name, Some(elsewhere));
                return Err(Failed::Misconfigured(format!(
                    "its cursor (LSN {} of generation {}) is of another history of the log: {parting}; \
                     this data directory is a restored or older copy, see GET /readyz",
                    cursor.lsn, cursor.generation
                )));
            }
        };
        self.opened = true;
        self.state.place.clone_from(&self.settings.place);
        // First the cursor: so far it came from the file, which may be ahead of a sink that was
        // emptied.
        let cursor = opened.cursor.lsn;
        self.control.cursor_at(cursor, self.shown(cursor));
        self.tell_up();
        Ok(opened)
    }
}
