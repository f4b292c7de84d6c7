//! Owns redriving dead letters: read, convert, deliver in halves as always, remove.
//!
//! Invariants: a letter is removed only once it is delivered; the cursor does not move; there is
//! one try, so that the caller gets the result.

use super::control::{Redrive, Redriven};
use super::runner::{Failed, Runner};
use super::sink::{Convert, Deliver, Placed, Purpose};
use crate::ids::Lsn;
use std::collections::HashSet;

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    pub(super) async fn redrive(&mut self, redrive: Redrive) {
        let redriven = self.redrive_now(redrive.from, redrive.to).await;
        // The client may have disconnected; the remaining letters show the result.
        let _ = redrive.answer.send(redriven);
    }

    async fn redrive_now(&mut self, from: Lsn, to: Option<Lsn>) -> Result<Redriven, String> {
        let name = self.control.name;
        let letters = self
            .letters
            .of(name, from, to)
            .map_err(|it| it.to_string())?;
        let mut result = Redriven::default();
        let mut done = HashSet::new();
        // Rejected again, but the sink keeps it in its own dead letters now, so it is removed here.
        let mut buried = 0;
        let mut failure = None;
        let mut items = Vec::new();
        for letter in letters {
            let fed = &letter.fed;
            let (lsn, end) = (fed.entry.lsn, fed.end);
            match self.convert.lock().convert(fed) {
                Ok(Some(item)) => items.push(Placed {
                    lsn,
                    end,
                    chain: None,
                    item,
                }),
                Ok(None) => drop(done.insert(lsn)),
                Err(_) => result.refused += 1,
            }
        }
        let mut ranges: Vec<_> = (0..items.len())
            .step_by(self.batching.events_max)
            .map(|at| at..items.len().min(at + self.batching.events_max))
            .collect();
        ranges.reverse();
        while let Some(range) = ranges.pop() {
            let part = &items[range.clone()];
            match self.try_once(part, Purpose::Redrive).await {
                Ok(delivered) => {
                    let refused: HashSet<_> =
                        delivered.rejected.iter().map(|it| it.index).collect();
                    result.refused += refused.len() + delivered.buried;
                    buried += delivered.buried;
                    let places = part.iter().enumerate();
                    let arrived = places.filter(|(place, _)| !refused.contains(place));
                    done.extend(arrived.map(|(_, it)| it.lsn));
                }
                Err(Failed::Rejected(_)) if part.len() > 1 => {
                    let middle = range.start + part.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                Err(Failed::Rejected(_)) => result.refused += 1,
                Err(Failed::Later(why) | Failed::Misconfigured(why) | Failed::Unwanted(why)) => {
                    self.opened = false;
                    failure = Some(why);
                    break;
                }
                Err(Failed::Ordered) => {
                    failure = Some("the sink was told to stop".to_owned());
                    break;
                }
            }
        }
        result.delivered = done.len() - buried;
        if !done.is_empty() {
            self.letters
                .strike(name, &done)
                .map_err(|it| it.to_string())?;
        }
        failure.map_or(Ok(result), Err)
    }
}
