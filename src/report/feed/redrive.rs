//! Owns redriving dead letters: read, convert, deliver in halves as always, remove.
//!
//! Invariants: a letter is removed only once it is delivered, and at once after its part of the letters; the
//! cursor does not move; each letter has one try, so that the caller gets the result; a redrive ends about
//! `deliver_timeout` after it began, and says where to go on, so that new events wait no longer than that.

use super::control::{Redrive, Redriven};
use super::dead_letters::Durability;
use super::runner::{Failed, Runner};
use super::sink::{Convert, Deliver, Delivered, Placed, Purpose};
use crate::ids::Lsn;
use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// A try may end that much later than its own timeouts say: what was delivered is to be kept.
const TRY_SLACK: Duration = Duration::from_secs(1);

/// The result reaches the client that much later, since what was delivered is struck out first.
const RESULT_SLACK: Duration = Duration::from_secs(2);

/// After how long a part of a redrive is dropped, and its result with it.
pub(super) fn longest_part(deliver_timeout: Duration, longest_try: Duration) -> Duration {
    deliver_timeout + longest_try + TRY_SLACK
}

/// How long a client waits for a redrive.
pub(super) fn longest_wait(deliver_timeout: Duration, longest_try: Duration) -> Duration {
    longest_part(deliver_timeout, longest_try) + RESULT_SLACK
}

/// What is known of a redrive so far.
#[derive(Default)]
struct RedriveProgress {
    redriven: Redriven,
    /// Delivered, but still among the letters.
    done: HashSet<Lsn>,
}

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    pub(super) async fn redrive(&mut self, redrive: Redrive) {
        let redriven = self.redrive_now(redrive.from, redrive.to).await;
        // The client may have disconnected; the remaining letters show the result.
        let _ = redrive.answer.send(redriven);
    }

    async fn redrive_now(&mut self, from: Lsn, to: Option<Lsn>) -> Redriven {
        let until = Instant::now() + self.settings.deliver_timeout;
        let mut progress = RedriveProgress::default();
        let items = match self.letters_to_redrive(from, to, &mut progress) {
            Ok(items) => items,
            Err(why) => return progress.failed(why),
        };
        let mut ranges: Vec<_> = (0..items.len())
            .step_by(self.batching.events_max)
            .map(|at| at..items.len().min(at + self.batching.events_max))
            .collect();
        ranges.reverse();
        let mut is_first = true;
        while let Some(range) = ranges.pop() {
            if Instant::now() >= until && !is_first {
                progress.redriven.next = Some(items[range.start].lsn);
                break;
            }
            is_first = false;
            let part = &items[range.clone()];
            match self.try_once(part, Purpose::Redrive { until }).await {
                Ok(delivered) => progress.add(part, &delivered),
                Err(failed) if part.len() == 1 || !matches!(failed, Failed::Rejected(_)) => {
                    if let Some(why) = self.why_not(failed, &mut progress.redriven) {
                        return progress.failed(why);
                    }
                }
                Err(_) => ranges.extend(halves(range)),
            }
            if let Err(why) = self.strike_done(&mut progress) {
                return progress.failed(why);
            }
            if progress.redriven.next.is_some() {
                break;
            }
        }
        if let Err(why) = self.strike_done(&mut progress) {
            return progress.failed(why);
        }
        progress.redriven
    }

    /// The letters as the sink's items.
    fn letters_to_redrive(
        &self,
        from: Lsn,
        to: Option<Lsn>,
        progress: &mut RedriveProgress,
    ) -> Result<Vec<Placed<C::Item>>, String> {
        let letters = self.letters.of(self.control.name, from, to);
        let mut items = Vec::new();
        for letter in letters.map_err(|it| it.to_string())? {
            let fed = &letter.fed;
            let (lsn, end) = (fed.entry.lsn, fed.end);
            match self.convert.lock().convert(fed) {
                Ok(Some(item)) => items.push(Placed {
                    lsn,
                    end,
                    chain: None,
                    item,
                }),
                Ok(None) => {
                    progress.redriven.delivered += 1;
                    progress.done.insert(lsn);
                }
                Err(_) => progress.redriven.refused += 1,
            }
        }
        Ok(items)
    }

    /// Why the redrive ends, unless it is one letter that was rejected.
    fn why_not(&mut self, failed: Failed, redriven: &mut Redriven) -> Option<String> {
        match failed {
            Failed::Rejected(_) => {
                redriven.refused += 1;
                None
            }
            Failed::Later(why) | Failed::Misconfigured(why) | Failed::Unwanted(why) => {
                self.opened = false;
                Some(why)
            }
            Failed::Ordered => Some("the sink was told to stop".to_owned()),
        }
    }

    fn strike_done(&self, progress: &mut RedriveProgress) -> Result<(), String> {
        if progress.done.is_empty() {
            return Ok(());
        }
        let name = self.control.name;
        let struck = self
            .letters
            .strike(name, &progress.done, Durability::Synced);
        struck.map_err(|it| it.to_string())?;
        progress.done.clear();
        Ok(())
    }
}

impl RedriveProgress {
    fn add<I>(&mut self, part: &[Placed<I>], delivered: &Delivered) {
        let refused: HashSet<_> = delivered.rejected.iter().map(|it| it.index).collect();
        let left: HashSet<_> = delivered.left.iter().copied().collect();
        let places = part.iter().enumerate();
        let arrived = places.filter(|(place, _)| !refused.contains(place) && !left.contains(place));
        let arrived: Vec<_> = arrived.map(|(_, it)| it.lsn).collect();
        // What the sink keeps in its own dead letters now is removed here, too.
        self.redriven.delivered += arrived.len() - delivered.buried;
        self.redriven.refused += refused.len() + delivered.buried;
        self.redriven.next = left.iter().min().map(|place| part[*place].lsn);
        self.done.extend(arrived);
    }

    fn failed(self, why: String) -> Redriven {
        Redriven {
            failure: Some(why),
            ..self.redriven
        }
    }
}

/// The second half first, since the last one is tried next.
fn halves(range: Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [middle..range.end, range.start..middle]
}
