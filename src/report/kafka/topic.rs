//! Owns reading the topic: how far it is in which history, where that parted from the log's, and which
//! events it has that the log does not.
//!
//! Invariants: 1. nothing is committed and no group is joined; 2. of a topic no more is read than the
//! newest messages of each partition, and what is lost; 3. messages without a stamp of this log are
//! another producer's and are passed over.
//! Deliberately absent: writing, and what the log has. Everything here blocks.

use super::failure::{KafkaFailure, class_of};
use super::history::{HistoryStamp, STAMP};
use super::settings::KafkaSettings;
use crate::ids::Lsn;
use crate::journal::Cursor;
use crate::report::feed::sink::Class;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Messages of each partition that are read first, and the most that are read at once.
const FIRST_READ: i64 = 16;
const READ_MAX: i64 = 8_192;

/// Other producers' messages of a partition that are passed over in search of one of ours.
const PASSED_OVER_MAX: i64 = 4_096;

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);

/// Offsets of each partition.
pub(super) type Ranges = BTreeMap<i32, Range<i64>>;

/// A message as far as it says where it is from.
#[derive(Debug)]
pub(super) struct TopicMessage<'m> {
    pub(super) stamp: HistoryStamp,
    pub(super) ce_type: &'m str,
    pub(super) ce_source: &'m str,
    pub(super) ce_id: &'m str,
    pub(super) json: &'m [u8],
}

/// Where a topic's history parted from the log's.
#[derive(Debug)]
pub(super) struct TopicParting {
    /// Behind the newest event that both have; `None`: the topic shows none.
    pub(super) common: Option<Lsn>,
    /// What the topic has behind that.
    pub(super) lost: Ranges,
}

/// A topic to be read.
pub(super) struct TopicReader {
    consumer: BaseConsumer,
    topic: String,
    partitions: Vec<i32>,
    log_id: u64,
    /// How long the brokers may be silent.
    patience: Duration,
}

impl TopicReader {
    pub(super) fn new(
        settings: &KafkaSettings,
        partitions: Vec<i32>,
        log_id: u64,
        patience: Duration,
    ) -> Result<Self, KafkaFailure> {
        let consumer = settings.reader_config().create();
        Ok(Self {
            consumer: consumer.map_err(KafkaFailure::Setup)?,
            topic: settings.topic.clone(),
            partitions,
            log_id,
            patience,
        })
    }

    /// The stamps of the newest messages, one of each partition that has any.
    pub(super) fn newest(&self) -> Result<Vec<HistoryStamp>, KafkaFailure> {
        let ends = self.ends()?;
        let mut newest = BTreeMap::new();
        let mut back = FIRST_READ;
        let mut ranges = before_the_ends(&ends, back);
        while !ranges.is_empty() {
            self.read(&ranges, |partition, _, found| {
                newest.insert(partition, found.stamp);
                Ok(())
            })?;
            ranges.retain(|partition, range| {
                let left = ends[partition].start..range.start;
                *range = left.end.saturating_sub(back * 4).max(left.start)..left.end;
                !newest.contains_key(partition) && back < PASSED_OVER_MAX && !range.is_empty()
            });
            back *= 4;
        }
        Ok(newest.into_values().collect())
    }

    /// Where its history and the log's parted. `has` says whether the log has this place; `passes` names
    /// messages that say nothing about it.
    pub(super) fn parting(
        &self,
        has: impl Fn(&Cursor) -> Result<bool, KafkaFailure>,
        passes: impl Fn(&TopicMessage<'_>) -> bool,
    ) -> Result<TopicParting, KafkaFailure> {
        let ends = self.ends()?;
        let mut parted = TopicParting {
            common: None,
            lost: ends.clone(),
        };
        let mut count = FIRST_READ;
        let mut ranges = before_the_ends(&ends, count);
        while !ranges.is_empty() {
            let mut seen: BTreeMap<i32, Vec<(i64, Cursor)>> = BTreeMap::new();
            self.read(&ranges, |partition, offset, found| {
                if !passes(&found) {
                    let places = seen.entry(partition).or_default();
                    places.push((offset, found.stamp.newest));
                }
                Ok(())
            })?;
            for (partition, places) in seen {
                if let Some((offset, cursor)) = last_common(&places, &has)? {
                    ranges.remove(&partition);
                    let lost = parted.lost.get_mut(&partition).expect("it was read");
                    lost.start = offset + 1;
                    parted.common = parted.common.max(Some(cursor.lsn));
                }
            }
            count = (count * 4).min(READ_MAX);
            ranges.retain(|partition, range| {
                let left = ends[partition].start..range.start;
                *range = left.end.saturating_sub(count).max(left.start)..left.end;
                !range.is_empty()
            });
        }
        Ok(parted)
    }

    /// Hands over every message of this log in `ranges`, those of a partition in their order.
    pub(super) fn read(
        &self,
        ranges: &Ranges,
        mut each: impl FnMut(i32, i64, TopicMessage<'_>) -> Result<(), KafkaFailure>,
    ) -> Result<(), KafkaFailure> {
        let mut assigned = TopicPartitionList::new();
        let mut left: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, range) in ranges.iter().filter(|(_, it)| !it.is_empty()) {
            let from = Offset::Offset(range.start);
            assigned
                .add_partition_offset(&self.topic, *partition, from)
                .map_err(|error| self.unread(&error))?;
            left.insert(*partition, range.end);
        }
        if left.is_empty() {
            return Ok(());
        }
        let assigning = self.consumer.assign(&assigned);
        assigning.map_err(|error| self.unread(&error))?;
        let mut until = Instant::now() + self.patience;
        while !left.is_empty() {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    until = Instant::now() + self.patience;
                    let partition = message.partition();
                    let Some(end) = left.get(&partition).copied() else {
                        continue;
                    };
                    let offset = message.offset();
                    if offset < end
                        && let Some(found) = self.found(&message)
                    {
                        each(partition, offset, found)?;
                    }
                    if offset + 1 >= end {
                        left.remove(&partition);
                    }
                }
                // What stood there last was removed, or is no message.
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
                Some(Err(error)) if ends_reading(&error) => return Err(self.unread(&error)),
                Some(Err(_)) | None if Instant::now() < until => {}
                Some(Err(error)) => return Err(self.unread(&error)),
                None => {
                    return Err(KafkaFailure::Read {
                        topic: self.topic.clone(),
                        code: RDKafkaErrorCode::OperationTimedOut,
                    });
                }
            }
        }
        Ok(())
    }

    /// From where to where messages stand.
    fn ends(&self) -> Result<Ranges, KafkaFailure> {
        let mut ends = BTreeMap::new();
        for partition in &self.partitions {
            let marks = self
                .consumer
                .fetch_watermarks(&self.topic, *partition, self.patience);
            let (low, high) = marks.map_err(|error| self.unread(&error))?;
            ends.insert(*partition, low..high);
        }
        Ok(ends)
    }

    fn found<'m>(&self, message: &'m BorrowedMessage<'_>) -> Option<TopicMessage<'m>> {
        let headers = message.headers()?;
        let text = |name: &str| {
            let header = headers.iter().find(|it| it.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        let stamp = HistoryStamp::read(text(STAMP)?)?;
        (stamp.log_id == self.log_id).then_some(())?;
        Some(TopicMessage {
            stamp,
            ce_type: text("ce_type")?,
            ce_source: text("ce_source")?,
            ce_id: text("ce_id")?,
            json: message.payload().unwrap_or_default(),
        })
    }

    fn unread(&self, error: &KafkaError) -> KafkaFailure {
        KafkaFailure::Read {
            topic: self.topic.clone(),
            code: super::producer::code_of(error),
        }
    }
}

/// Whether an error of the consumer is about reading this topic, and stays. It joins no group, so
/// what a group's coordinator refuses does not matter.
fn ends_reading(error: &KafkaError) -> bool {
    let code = super::producer::code_of(error);
    code != RDKafkaErrorCode::GroupAuthorizationFailed && class_of(code) == Class::Misconfigured
}

/// The last `count` offsets of each partition that has any.
fn before_the_ends(ends: &Ranges, count: i64) -> Ranges {
    let last = ends.iter().map(|(partition, range)| {
        let start = range.end.saturating_sub(count).max(range.start);
        (*partition, start..range.end)
    });
    last.filter(|(_, range)| !range.is_empty()).collect()
}

/// The last of these places of one partition that the log has. Stamps of one generation grow, and the log
/// has them up to where both parted: so each run of one generation is searched by halves.
fn last_common(
    places: &[(i64, Cursor)],
    has: impl Fn(&Cursor) -> Result<bool, KafkaFailure>,
) -> Result<Option<(i64, Cursor)>, KafkaFailure> {
    let runs = places.chunk_by(|(_, one), (_, next)| one.generation == next.generation);
    for run in runs.rev() {
        let (mut low, mut high) = (0, run.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if has(&run[middle].1)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low > 0 {
            return Ok(Some(run[low - 1]));
        }
    }
    Ok(None)
}
