//! Owns what a message says about the history of the log that it comes from.
//!
//! A restored or copied directory assigns LSNs again, so an event is named by its LSN and a generation,
//! which is in `ce_source`. It is the generation that wrote the event. A copy continues in its old
//! generation until it is accepted; if the acceptance takes events of another history back, the events
//! before it get its generation. Each message also has a stamp, the position of the newest event in the
//! topic, by which the next start decides whether the topic has this history.
//! Invariants: 1. `ce_source` and `ce_id` name one event over all histories, and a repeat has the same;
//! 2. within a partition stamps of one generation only grow, over repeats and redriven dead letters too.
//! Deliberately absent: reading and writing topics.

use super::super::feed::sink::Placed;
use super::messages::KafkaMessage;
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use crate::report::feed::cursor::log_id_text;
use std::fmt;

/// The header that holds a [`HistoryStamp`].
pub(super) const STAMP: &str = "holdfast_history";

/// Acceptances that a stamp remembers, the newest: far more than the life of a topic brings.
const EPOCHS_MAX: usize = 8;

/// The LSN from which events belong to an accepted generation, even if an earlier one wrote them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    generation: Generation,
    from: Lsn,
}

/// Where the newest event of a topic stands, and in which history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HistoryStamp {
    pub(super) log_id: u64,
    /// Behind the newest event.
    pub(super) newest: Cursor,
    /// Oldest first.
    epochs: Vec<Epoch>,
}

impl HistoryStamp {
    /// Reads what its `Display` writes.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let log_id = u64::from_str_radix(words.next()?, 16).ok()?;
        let generation = words.next()?.parse().ok()?;
        let lsn = Lsn(words.next()?.parse().ok()?);
        let chain = u32::from_str_radix(words.next()?, 16).ok()?;
        let epoch = |word: &str| {
            let (generation, from) = word.split_once('@')?;
            Some(Epoch {
                generation: generation.parse().ok()?,
                from: Lsn(from.parse().ok()?),
            })
        };
        Some(Self {
            log_id,
            newest: Cursor {
                generation,
                lsn,
                chain,
            },
            epochs: words.map(epoch).collect::<Option<_>>()?,
        })
    }
}

/// As `00c0ffee00c0ffee 2-00c0ffee00c0ffee 4096 89abcdef 2-00c0ffee00c0ffee@2048`: log, generation,
/// LSN and checksum, then the epochs.
impl fmt::Display for HistoryStamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor {
            generation,
            lsn,
            chain,
        } = self.newest;
        let log_id = log_id_text(self.log_id);
        write!(out, "{log_id} {generation} {lsn} {chain:08x}")?;
        for Epoch { generation, from } in &self.epochs {
            write!(out, " {generation}@{from}")?;
        }
        Ok(())
    }
}

/// A message with what it says about its history.
#[derive(Debug)]
pub(super) struct Marked<'a> {
    pub(super) placed: &'a Placed<KafkaMessage>,
    pub(super) source: String,
    /// `None` for a dead letter that is driven again into a topic that shows nothing else.
    pub(super) stamp: Option<String>,
}

/// What is known of the topic's history.
#[derive(Debug, Default)]
pub(super) struct TopicHistory {
    log_id: u64,
    /// `ce_source` but for the generation.
    source: String,
    /// Behind the newest event that was sent.
    newest: Option<Cursor>,
    epochs: Vec<Epoch>,
}

impl TopicHistory {
    /// Of a topic whose newest event of this log has this stamp.
    pub(super) fn new(log_id: u64, source: Option<&str>, newest: Option<HistoryStamp>) -> Self {
        let source = match source {
            Some(source) => source.to_owned(),
            None => format!("urn:holdfast:log:{}", log_id_text(log_id)),
        };
        let (newest, epochs) = match newest {
            Some(stamp) => (Some(stamp.newest), stamp.epochs),
            None => (None, Vec::new()),
        };
        Self {
            log_id,
            source,
            newest,
            epochs,
        }
    }

    /// `ce_source` of what belongs to this generation.
    pub(super) fn source_of(&self, generation: Generation) -> String {
        format!("{}:{generation}", self.source)
    }

    /// What the newest event was sent with, and what goes behind it is sent with.
    pub(super) fn stamp(&self) -> Option<String> {
        let stamp = HistoryStamp {
            log_id: self.log_id,
            newest: self.newest?,
            epochs: self.epochs.clone(),
        };
        Some(stamp.to_string())
    }

    /// Marks messages that are about to be sent. `begun` has the generations of the log and where each
    /// begins, oldest first.
    pub(super) fn mark<'a>(
        &mut self,
        items: &'a [Placed<KafkaMessage>],
        begun: &[(Generation, Lsn)],
    ) -> Vec<Marked<'a>> {
        let mark = |placed: &'a Placed<KafkaMessage>| {
            let generation = self.generation_of(placed.lsn, begun);
            if let Some(chain) = placed.chain
                && self.newest.is_none_or(|it| it.lsn < placed.end)
            {
                self.newest = Some(Cursor {
                    generation,
                    lsn: placed.end,
                    chain,
                });
            }
            Marked {
                placed,
                source: self.source_of(generation),
                stamp: self.stamp(),
            }
        };
        items.iter().map(mark).collect()
    }

    /// What was behind `to` is taken back: from there on events are of `to`'s generation.
    pub(super) fn goes_on_from(&mut self, to: &Cursor) {
        self.epochs.retain(|it| it.from < to.lsn);
        self.epochs.push(Epoch {
            generation: to.generation,
            from: to.lsn,
        });
        let surplus = self.epochs.len().saturating_sub(EPOCHS_MAX);
        self.epochs.drain(..surplus);
        self.newest = Some(*to);
    }

    fn generation_of(&self, lsn: Lsn, begun: &[(Generation, Lsn)]) -> Generation {
        let wrote = begun.iter().rfind(|(_, first)| *first <= lsn);
        let wrote = wrote.or(begun.first()).map(|(generation, _)| *generation);
        let epoch = self.epochs.iter().rfind(|it| it.from <= lsn);
        let accepted = epoch.map(|it| it.generation);
        let both = wrote.into_iter().chain(accepted);
        both.max_by_key(|it| it.number())
            .expect("a log that runs has a generation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Generation = Generation::new(1, 7);
    const SECOND: Generation = Generation::new(2, 8);
    const THIRD: Generation = Generation::new(3, 9);

    fn placed(lsn: u64, chain: Option<u32>) -> Placed<KafkaMessage> {
        Placed {
            lsn: Lsn(lsn),
            end: Lsn(lsn + 64),
            chain,
            item: KafkaMessage {
                key: "ana".into(),
                ce_type: "t",
                ce_time: "2027-01-15T08:00:00.123Z".into(),
                traceparent: None,
                at_ms: 0,
                json: Vec::new(),
            },
        }
    }

    /// The generation in the source, and the LSN of the stamp, of an event.
    fn marked(topic: &mut TopicHistory, lsn: u64, begun: &[(Generation, Lsn)]) -> (String, u64) {
        let item = [placed(lsn, Some(5))];
        let marked = topic.mark(&item, begun).remove(0);
        let generation = marked.source.strip_prefix("s:").unwrap().to_owned();
        let stamp = HistoryStamp::read(&marked.stamp.unwrap()).unwrap();
        (generation, stamp.newest.lsn.0)
    }

    #[test]
    fn an_event_keeps_its_name_over_repeats_and_a_lost_one_shares_it_with_none() {
        let mut topic = TopicHistory::new(1, Some("s"), None);
        let begun = [(FIRST, Lsn(0))];
        assert_eq!(marked(&mut topic, 64, &begun), (FIRST.to_string(), 128));
        assert_eq!(marked(&mut topic, 512, &begun), (FIRST.to_string(), 576));
        assert_eq!(
            marked(&mut topic, 64, &begun),
            (FIRST.to_string(), 576),
            "a repeat"
        );

        // A copy wrote on from 128 in its old generation, and was accepted at 1024.
        let generation = SECOND;
        topic.goes_on_from(&Cursor {
            generation,
            lsn: Lsn(128),
            chain: 3,
        });
        let begun = [(FIRST, Lsn(0)), (SECOND, Lsn(1024))];
        for (lsn, of) in [(64, FIRST), (128, SECOND), (512, SECOND), (1024, SECOND)] {
            assert_eq!(marked(&mut topic, lsn, &begun).0, of.to_string(), "{lsn}");
        }

        // The next process knows it from the stamp, and a restored log's generation stands above.
        let stamp = HistoryStamp::read(&topic.stamp().unwrap());
        let mut topic = TopicHistory::new(1, Some("s"), stamp);
        let begun = [(FIRST, Lsn(0)), (THIRD, Lsn(2048))];
        for (lsn, of) in [(64, FIRST), (512, SECOND), (2048, THIRD)] {
            assert_eq!(marked(&mut topic, lsn, &begun).0, of.to_string(), "{lsn}");
        }
    }

    #[test]
    fn a_dead_letter_says_how_far_the_topic_is_and_nothing_where_that_is_not_known() {
        let mut topic = TopicHistory::new(1, None, None);
        let begun = [(FIRST, Lsn(0))];
        let letter = [placed(64, None)];
        assert_eq!(topic.mark(&letter, &begun)[0].stamp, None);
        topic.mark(&[placed(512, Some(5))], &begun);
        let stamp = topic.mark(&letter, &begun).remove(0).stamp.unwrap();
        assert_eq!(HistoryStamp::read(&stamp).unwrap().newest.lsn, Lsn(576));
    }

    #[test]
    fn stamps_are_read_as_they_are_written_and_only_so() {
        let mut topic = TopicHistory::new(0x00c0_ffee, None, None);
        for number in 1..20 {
            topic.goes_on_from(&Cursor {
                generation: Generation::new(number, 3),
                lsn: Lsn(u64::from(number) * 64),
                chain: 0xab,
            });
        }
        let text = topic.stamp().unwrap();
        let stamp = HistoryStamp::read(&text).unwrap();
        assert_eq!(stamp.to_string(), text);
        assert_eq!(stamp.epochs.len(), EPOCHS_MAX);
        assert!(text.starts_with("0000000000c0ffee 19-0000000000000003 1216 000000ab 12-"));
        for bad in ["", "c0ffee", "c0ffee 1-03 64 ab", &text[..text.len() - 5]] {
            assert_eq!(HistoryStamp::read(bad), None, "{bad}");
        }
    }
}
