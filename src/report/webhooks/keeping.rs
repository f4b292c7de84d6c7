//! Owns what a courier keeps for another try: its file, what leaves it, and who is given up to make room.
//!
//! Invariants: an event leaves the file only once it is delivered or among the dead letters; a buyer's
//! delivery is given up to make room only if it failed again after the endpoint had accepted another, or if
//! nothing more can be kept and no other buyer's deliveries fail.
//! Deliberately absent: sending (`courier`), and the file itself (`DeadLetters`).

use super::courier::{Courier, CourierError};
use super::lanes::{Crowding, KeepRoom, KeepWhich, NOT_TRIED, PendingDelivery, TakenFrom, ToKeep};
use crate::ids::Lsn;
use crate::report::feed::files::PUT_OFF;
use crate::report::feed::sink::GivenUp;
use crate::report::feed::{DeadLetters, Durability, Letter};
use std::time::Duration;
use tokio::time::Instant;

/// When the process stops, what is under way may still land for so long.
const LEAVE_MAX: Duration = Duration::from_secs(1);

impl Courier {
    pub(super) fn letters(&self) -> &DeadLetters {
        let kept = self.kept.as_ref();
        kept.expect("the runner opens a sink before it uses it")
    }

    /// Loads what is kept, once.
    pub(super) fn load(&mut self) -> Result<(), CourierError> {
        if self.kept.is_some() {
            return Ok(());
        }
        let sink = self.endpoint.settings().sink;
        let kept = DeadLetters::open_in(&self.folder, &format!("{sink}.{PUT_OFF}"), u64::MAX)?;
        let now = Instant::now();
        for letter in kept.of(sink, Lsn(0), None)? {
            let tried_since = (letter.cause != NOT_TRIED).then_some(letter.refused_at);
            let from = TakenFrom::File { tried_since };
            self.lanes.push(letter.fed, from, now);
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// Keeps deliveries durably, as far as there is room.
    pub(super) fn keep(&mut self, which: KeepWhich) -> Result<(), CourierError> {
        let waiting_max = self.endpoint.settings().waiting_max;
        let room = waiting_max.saturating_sub(self.lanes.kept());
        let now = self.journal.now();
        let letter = |it: ToKeep| Letter {
            fed: it.fed,
            cause: it.cause,
            refused_at: it.tried_since.unwrap_or(now),
        };
        let found = self.lanes.to_keep(which, room).into_iter();
        let letters: Vec<_> = found.map(letter).collect();
        if letters.is_empty() {
            return Ok(());
        }
        let sink = self.endpoint.settings().sink;
        self.letters().keep(sink, &letters)?;
        for letter in &letters {
            self.lanes.is_kept(letter.fed.entry.lsn);
        }
        Ok(())
    }

    /// Gives up the oldest deliveries of buyers who have too many waiting.
    pub(super) fn make_room(&mut self, now: Instant) {
        let settings = self.endpoint.settings();
        let most = settings.waiting_per_buyer_max;
        let is_full = self.lanes.has_unkept() && self.lanes.kept() >= settings.waiting_max;
        let room = if is_full {
            KeepRoom::Full
        } else {
            KeepRoom::Left
        };
        for it in self.lanes.crowding(most, room) {
            let Crowding {
                lsn,
                waiting,
                cause,
            } = it;
            let cause = format!(
                "{waiting} deliveries of its buyer wait, and the limit is {most} (waiting_per_buyer_max); the last failure: {cause}"
            );
            self.give_up(lsn, cause, now);
        }
    }

    pub(super) fn give_up(&mut self, lsn: Lsn, cause: String, now: Instant) {
        if let Some(PendingDelivery { fed, .. }) = self.lanes.done(lsn, now) {
            self.given_up.push(GivenUp { fed, cause });
        }
    }

    /// Strikes out what was delivered. Without a sync: what a crash of the machine undoes is repeated.
    pub(super) fn strike(&mut self) -> Result<(), CourierError> {
        if self.struck.is_empty() {
            return Ok(());
        }
        let sink = self.endpoint.settings().sink;
        let struck = &self.struck;
        self.letters().strike(sink, struck, Durability::Written)?;
        self.struck.clear();
        Ok(())
    }

    /// Lets what is under way land, and keeps the rest. Where everything before is delivered or kept.
    pub(super) async fn settle_to_leave(&mut self) -> Result<Option<Lsn>, CourierError> {
        let until = Instant::now() + LEAVE_MAX;
        while let Ok(Some(landed)) = tokio::time::timeout_at(until, self.flights.join_next()).await
        {
            // An endpoint that wants no more is asked again by the next process.
            let _ = self.land(landed.expect("sending does not panic and is not aborted"));
        }
        self.keep(KeepWhich::All)?;
        self.strike()?;
        Ok((!self.lanes.has_unkept()).then_some(self.taken_to))
    }
}
