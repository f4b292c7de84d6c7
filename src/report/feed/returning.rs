//! Owns bringing a sink back to the accepted history of the log, after the operator gave up the
//! history of its cursor: finding where both begin to differ, and taking back the events after
//! that.
//!
//! Invariants: 1. only events after the last one that sink and log have in common are taken back;
//! 2. they are kept where an operator finds them, and reported; 3. if it cannot be determined
//! whether they ever had the same events, nothing is taken back.
//! Deliberately absent: how each sink takes back.

use super::cursor::Lost;
use super::runner::{Failed, Runner, failed, ordered_to_drop, unread};
use super::sink::{Convert, Deliver, Kept, SinkRecord};
use crate::ids::Lsn;
use crate::journal::{Cursor, Located};
use std::time::Duration;

/// Maximum duration of taking events back.
const TAKE_BACK_MAX: Duration = Duration::from_mins(30);

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    /// Takes back the sink's events after the LSN at which its history and the log's begin to
    /// differ; returns the sink's new cursor.
    pub(super) async fn take_back(&mut self, from: &Cursor) -> Result<Cursor, Failed> {
        let common = self.parting(from).await?;
        let to = self
            .journal
            .history()
            .cursor_at(common)
            .map_err(|it| unread(&it))?;
        let taking = tokio::time::timeout(TAKE_BACK_MAX, self.deliver.take_back(from, &to));
        let taken = tokio::select! {
            taken = taking => taken,
            () = ordered_to_drop(&self.wanted) => return Err(Failed::Ordered),
        };
        let events = match taken {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return Err(failed::<D>(&error)),
            Err(_) => return Err(Failed::Later("taking back took too long".to_owned())),
        };
        tracing::error!(
            event = "sink_took_back",
            sink = self.control.name,
            generation = %from.generation,
            from_lsn = to.lsn.0,
            to_lsn = from.lsn.0,
            events,
            "events that the sink had and the log has lost were taken back and kept aside; it goes on where both parted"
        );
        self.state.took_back(Lost {
            generation: from.generation,
            from: to.lsn.0,
            to: from.lsn.0,
            events,
        });
        self.control.tells(&self.state);
        let goes_on_at = self.goes_on_at(to)?;
        self.passed(goes_on_at);
        self.save_state();
        Ok(goes_on_at)
    }

    /// Where it goes on once everything from `to` on is taken back.
    fn goes_on_at(&self, to: Cursor) -> Result<Cursor, Failed> {
        let file = self.state.cursor();
        if self.control.kept == Kept::InSink || file.lsn >= to.lsn {
            return Ok(to);
        }
        // A batch may have arrived in parts: only before the file's cursor is nothing missing.
        let located = self
            .journal
            .history()
            .locate(&file)
            .map_err(|it| unread(&it))?;
        Ok(match located {
            Located::Here | Located::BeforeTheLog => file,
            Located::Elsewhere(_) => to,
        })
    }

    /// The LSN at which both histories differ, as far as it is known.
    async fn parting(&mut self, from: &Cursor) -> Result<Lsn, Failed> {
        let first = self.journal.tail().first_lsn();
        let parting = tokio::time::timeout(TAKE_BACK_MAX, self.deliver.parting());
        let told = tokio::select! {
            told = parting => told,
            () = ordered_to_drop(&self.wanted) => return Err(Failed::Ordered),
        };
        let by_itself = match told {
            Ok(Ok(parting)) => parting,
            Ok(Err(error)) => return Err(failed::<D>(&error)),
            Err(_) => {
                let why = "looking for what both have took too long";
                return Err(Failed::Later(why.to_owned()));
            }
        };
        match (by_itself, self.control.kept) {
            (Some(common), _) => Ok(common.max(first)),
            (None, Kept::InSink) => self.common(from).await,
            // It shows nothing that both have, but what the file says was delivered.
            (None, Kept::InFile) => {
                let file = self.state.cursor();
                let located = self
                    .journal
                    .history()
                    .locate(&file)
                    .map_err(|it| unread(&it))?;
                Ok(if located == Located::Here {
                    file.lsn
                } else {
                    first
                })
            }
        }
    }

    /// The end of the last event that sink and log have in common. Both agree before it and have
    /// nothing in common after it, so a binary search finds it.
    async fn common(&mut self, from: &Cursor) -> Result<Lsn, Failed> {
        let first = self.journal.tail().first_lsn();
        // At the latest where the next generation begins.
        let begun = self.journal.history().generations().into_iter();
        let mut after = begun.skip_while(|(generation, _)| *generation != from.generation);
        let next = after.nth(1).map(|(_, first)| first);
        let parted = next.unwrap_or_else(|| self.journal.tail().durable_lsn());
        // What both have ends in [`low`, `end`], and at `common` as far as is known.
        let (mut common, mut differs) = (None, false);
        let (mut low, mut end) = (first, from.lsn.min(parted).max(first));
        let mut probe = end;
        while low < end {
            let Some(mark) = self.newest(low, probe).await? else {
                low = probe;
                probe = middle(low, end);
                continue;
            };
            match self
                .journal
                .tail()
                .event_at(mark.lsn)
                .map_err(|it| unread(&it))?
            {
                Some((entry, after)) if mark.is_of(&entry) => {
                    common = Some(after);
                    low = if probe == end { end } else { after };
                }
                Some(_) | None => {
                    differs = true;
                    end = mark.lsn;
                }
            }
            probe = middle(low, end);
        }
        if differs && common.is_none() && first > Lsn(0) {
            return Err(Failed::Misconfigured(format!(
                "its history and the log's parted before LSN {first}, where the log begins now: what to \
                 take back cannot be told; begin with an empty place"
            )));
        }
        Ok(common.unwrap_or(first))
    }

    async fn newest(&mut self, from: Lsn, before: Lsn) -> Result<Option<SinkRecord>, Failed> {
        let asking = self.deliver.newest(from, before);
        match tokio::time::timeout(self.settings.deliver_timeout, asking).await {
            Ok(newest) => newest.map_err(|error| failed::<D>(&error)),
            Err(_) => Err(Failed::Later(
                "looking for what both have took too long".to_owned(),
            )),
        }
    }
}

/// The middle of both, and above `low` if there is anything between them.
fn middle(low: Lsn, end: Lsn) -> Lsn {
    Lsn(low.0 + end.0.saturating_sub(low.0).div_ceil(2))
}
