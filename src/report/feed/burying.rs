//! Owns the runner's dead letters: making them of what a sink rejects, and storing them.
//!
//! Invariants: a letter has the whole event; while there is no room for one, the sink waits. Deliberately
//! absent: their files (`dead_letters`), and delivering them again (`redrive`).

use super::dead_letters::Letter;
use super::runner::{Failed, Halt, Runner};
use super::sink::{Convert, Deliver, Delivered, Fed, Placed};
use std::sync::atomic::Ordering::Relaxed;

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    pub(super) async fn bury_rejected(
        &mut self,
        items: &[Placed<C::Item>],
        delivered: &Delivered,
    ) -> Result<(), Halt> {
        let mut letters = Vec::with_capacity(delivered.rejected.len());
        for rejection in &delivered.rejected {
            let fed = self.fed_of(&items[rejection.index]).await?;
            letters.push(self.letter(fed, rejection.cause.clone()));
        }
        self.bury(&letters).await
    }

    /// The event of an item, read from the log, which is kept until the cursor passes it.
    pub(super) async fn fed_of(&mut self, placed: &Placed<C::Item>) -> Result<Fed, Halt> {
        let mut backoff = self.settings.backoff;
        loop {
            let why = match self.journal.tail().event_at(placed.lsn) {
                Ok(Some((entry, end))) => return Ok(Fed { entry, end }),
                Ok(None) => format!("the log has no event at {}", placed.lsn),
                Err(error) => format!("reading the log at {}: {error}", placed.lsn),
            };
            self.rest(&mut backoff, Failed::Later(why)).await?;
        }
    }

    pub(super) fn letter(&self, fed: Fed, cause: String) -> Letter {
        Letter {
            fed,
            cause,
            refused_at: self.journal.now(),
        }
    }

    /// Stores dead letters; waits while there is no room for them.
    pub(super) async fn bury(&mut self, letters: &[Letter]) -> Result<(), Halt> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut backoff = self.settings.backoff;
        while let Err(error) = self.letters.keep(self.control.name, letters) {
            self.rest(&mut backoff, Failed::Later(error.to_string()))
                .await?;
        }
        for letter in letters {
            tracing::error!(
                event = "dead_letter",
                sink = self.control.name,
                lsn = letter.fed.entry.lsn.0,
                kind = letter.fed.entry.event.kind(),
                cause = letter.cause,
                "a sink rejected an event permanently; it is in the dead letters (GET /admin/dead-letters)"
            );
        }
        let count = letters.len() as u64;
        self.control.rejected.fetch_add(count, Relaxed);
        Ok(())
    }
}
