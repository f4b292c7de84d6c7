//! Owns the runner's part in deliveries that a sink puts off, and a sink that pauses itself.
//!
//! Invariants: the cursor that operators see stands before the oldest delivery that waits, and the
//! age is that one's; what a sink gives up is durably among the dead letters before the sink forgets
//! it; both are shown of a sink that does not run, too, also after a restart. Deliberately absent: keeping and retrying what is put off, which the sink does.

use super::control::SinkOrder;
use super::cursor::Mode;
use super::runner::{Halt, Runner};
use super::sink::{Convert, Deliver, GivenUp};
use crate::causes::with_causes;
use crate::ids::Lsn;
use std::sync::atomic::Ordering::Relaxed;

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    /// Publishes what became of put-off deliveries, and buries those that were given up. The cursor
    /// that operators see stands before the oldest one that waits.
    pub(super) async fn note_put_off(&mut self) -> Result<(), Halt> {
        let given_up = self.show_put_off();
        if !given_up.is_empty() {
            let letter = |it: GivenUp| self.letter(it.fed, it.cause);
            let letters: Vec<_> = given_up.into_iter().map(letter).collect();
            self.bury(&letters).await?;
            self.deliver.buried();
            self.show_put_off();
        }
        self.tell_up();
        Ok(())
    }

    /// Publishes what was put off by a sink that does not run, and why it paused itself.
    pub(super) fn recall_put_off(&mut self) {
        if let Err(error) = self.deliver.recall() {
            self.control.is_down(with_causes(&error));
        }
        self.show_put_off();
        if let Some(why) = &self.state.paused_why {
            self.control.is_down(why.clone());
        }
    }

    /// Publishes what became of put-off deliveries; returns those that were given up.
    fn show_put_off(&mut self) -> Vec<GivenUp> {
        let put_off = self.deliver.put_off();
        self.control.delivered.fetch_add(put_off.delivered, Relaxed);
        self.control.retries.fetch_add(put_off.retried, Relaxed);
        let oldest_ms = put_off.oldest.map_or(0, |(_, at)| at.get());
        self.control.oldest_ms.store(oldest_ms, Relaxed);
        self.put_off_from = put_off.oldest.map(|(lsn, _)| lsn);
        let cursor = self.state.cursor().lsn;
        self.control.cursor_at(cursor, self.shown(cursor));
        self.put_off_fails = put_off.failure;
        put_off.given_up
    }

    /// What operators see of a cursor.
    pub(super) fn shown(&self, cursor: Lsn) -> Lsn {
        self.put_off_from.map_or(cursor, |from| from.min(cursor))
    }

    /// The sink is up, unless put-off deliveries fail.
    pub(super) fn tell_up(&self) {
        match &self.put_off_fails {
            None => self.control.is_up(),
            Some(why) => self.control.is_down(why.clone()),
        }
    }

    /// Pauses the sink as an operator would, and says why.
    pub(super) fn pauses_itself(&mut self, why: String) -> Halt {
        tracing::error!(
            event = "sink_unwanted",
            sink = self.control.name,
            "{why}; the sink is paused: POST /admin/sinks/{}/resume resumes it",
            self.control.name
        );
        self.state.paused_why = Some(why.clone());
        self.control.is_down(why);
        self.control.wanted.send_if_modified(|wanted| {
            let runs = *wanted == SinkOrder::Mode(Mode::Run);
            if runs {
                *wanted = SinkOrder::Mode(Mode::Paused);
            }
            runs
        });
        Halt::Ordered
    }
}
