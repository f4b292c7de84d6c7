//! Owns the deliveries that are not done, in one lane for each buyer.
//!
//! Invariants: 1. only the first delivery of a lane is under way or due, so a buyer's events keep
//! their order; 2. a lane that is not under way has exactly one entry in `due`; 3. an event is in at
//! most one place; 4. what is not kept durably is named by `unkept`.
//! Deliberately absent: sending, clocks and files.

use crate::ids::{Lsn, UserId};
use crate::report::feed::Backoff;
use crate::report::feed::sink::Fed;
use crate::time::UnixMs;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// `None`: events that are about no buyer.
type LaneKey = Option<UserId>;

/// Why a delivery is kept that was not tried yet. A file of kept ones is read by it.
pub(super) const NOT_TRIED: &str = "waits for its turn";

/// After a restart in an outage some lane fails first, and no other has failed yet. By the time at which it
/// fails again, every lane that was due has been tried.
const FAILURES_ALONE: u32 = 2;

/// One delivery that is not done.
#[derive(Clone, Debug)]
pub(super) struct PendingDelivery {
    pub(super) fed: Fed,
    /// Whether it is kept durably, with its first try.
    pub(super) is_kept: bool,
    /// When it was tried first; `None`: not yet.
    pub(super) tried_since: Option<UnixMs>,
    /// In this process.
    pub(super) tries: u32,
}

/// A delivery to keep durably.
pub(super) struct ToKeep {
    pub(super) fed: Fed,
    pub(super) cause: String,
    pub(super) tried_since: Option<UnixMs>,
}

/// Where an event comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum TakenFrom {
    Log,
    /// It is kept durably.
    File {
        tried_since: Option<UnixMs>,
    },
}

/// The deliveries of one buyer.
#[derive(Debug)]
struct BuyerLane {
    queue: VecDeque<PendingDelivery>,
    /// When its first one is due; `None`: it is under way.
    due: Option<Instant>,
    /// The endpoint asked not to be called with it before.
    not_before: Instant,
    backoff: Backoff,
    /// Why its first one failed last.
    cause: Option<String>,
    /// What the tries of its first one showed, in this process.
    tried: LaneTries,
}

/// What the tries of one delivery showed.
#[derive(Copy, Clone, Debug, Default)]
struct LaneTries {
    failures: u32,
    /// When it failed first.
    failed_at: Option<Instant>,
    /// Between the first failure and the latest try, the endpoint accepted another delivery.
    is_after_accepted: bool,
    /// It failed in such a try: the endpoint refuses this delivery, and not all.
    is_refused: bool,
}

#[derive(Debug)]
pub(super) struct BuyerLanes {
    lanes: HashMap<LaneKey, BuyerLane>,
    places: BTreeMap<Lsn, LaneKey>,
    /// By the time at which they are due, and the LSN of their first delivery.
    due: BTreeMap<(Instant, Lsn), LaneKey>,
    unkept: BTreeMap<Lsn, LaneKey>,
    /// How many lanes failed last.
    failing: usize,
    backoff: Backoff,
}

impl BuyerLanes {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            lanes: HashMap::new(),
            places: BTreeMap::new(),
            due: BTreeMap::new(),
            unkept: BTreeMap::new(),
            failing: 0,
            backoff,
        }
    }

    pub(super) fn has(&self, lsn: Lsn) -> bool {
        self.places.contains_key(&lsn)
    }

    /// Number of deliveries that are kept durably.
    pub(super) fn kept(&self) -> usize {
        self.places.len() - self.unkept.len()
    }

    /// Whether there is one that is not kept durably.
    pub(super) fn has_unkept(&self) -> bool {
        !self.unkept.is_empty()
    }

    pub(super) const fn is_failing(&self) -> bool {
        self.failing > 0
    }

    /// The oldest one, and when its event happened.
    pub(super) fn oldest(&self) -> Option<(Lsn, UnixMs)> {
        let (lsn, key) = self.places.first_key_value()?;
        let first = self.lanes[key].queue.front();
        first.map(|it| (*lsn, it.fed.entry.at))
    }

    /// Appends an event, whose LSN is above every other one's of its buyer.
    pub(super) fn push(&mut self, fed: Fed, from: TakenFrom, now: Instant) {
        let key = fed.entry.event.user().cloned();
        let lsn = fed.entry.lsn;
        self.places.insert(lsn, key.clone());
        let tried_since = match from {
            TakenFrom::File { tried_since } => tried_since,
            TakenFrom::Log => {
                self.unkept.insert(lsn, key.clone());
                None
            }
        };
        let pending = PendingDelivery {
            fed,
            is_kept: from != TakenFrom::Log,
            tried_since,
            tries: 0,
        };
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.queue.push_back(pending);
            return;
        }
        self.due.insert((now, lsn), key.clone());
        let lane = BuyerLane {
            queue: VecDeque::from([pending]),
            due: Some(now),
            not_before: now,
            backoff: self.backoff,
            cause: None,
            tried: LaneTries::default(),
        };
        self.lanes.insert(key, lane);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next delivery that is due, which is under way from now on. The endpoint accepted one last at
    /// `accepted_at`.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        accepted_at: Option<Instant>,
    ) -> Option<PendingDelivery> {
        let entry = self.due.first_entry().filter(|it| it.key().0 <= now)?;
        let key = entry.remove();
        let lane = self.lane(&key);
        lane.due = None;
        let times = lane.tried.failed_at.zip(accepted_at);
        lane.tried.is_after_accepted = times.is_some_and(|(failed, accepted)| accepted > failed);
        let first = lane.queue.front_mut().expect("a lane has a delivery");
        first.tries += 1;
        Some(first.clone())
    }

    /// The delivery at `lsn` is done: it leaves, and the next one of its buyer is due.
    pub(super) fn done(&mut self, lsn: Lsn, now: Instant) -> Option<PendingDelivery> {
        let key = self.places.remove(&lsn)?;
        self.unkept.remove(&lsn);
        let backoff = self.backoff;
        let lane = self.lane(&key);
        let failed = lane.cause.take().is_some();
        lane.backoff = backoff;
        lane.tried = LaneTries::default();
        // One that is given up was due again.
        let was_due = lane.due.take();
        let done = lane.queue.pop_front().expect("a lane has a delivery");
        assert_eq!(done.fed.entry.lsn, lsn, "only the first one of a lane ends");
        let next = lane.queue.front().map(|it| it.fed.entry.lsn);
        lane.due = next.map(|_| now);
        if let Some(at) = was_due {
            self.due.remove(&(at, lsn));
        }
        if let Some(next) = next {
            self.due.insert((now, next), key);
        } else {
            self.lanes.remove(&key);
        }
        self.failing -= usize::from(failed);
        Some(done)
    }

    /// The delivery at `lsn` failed, by the core's time `at`: it is due after its lane's next wait, and not
    /// before the wait that was `asked` for. Returns it. One that failed for the first time is to be kept
    /// with that time.
    pub(super) fn failed(
        &mut self,
        lsn: Lsn,
        cause: String,
        (now, at): (Instant, UnixMs),
        asked: Duration,
    ) -> Option<PendingDelivery> {
        let key = self.places.get(&lsn)?.clone();
        let lane = self.lane(&key);
        lane.tried.failures = lane.tried.failures.saturating_add(1);
        lane.tried.failed_at.get_or_insert(now);
        lane.tried.is_refused |= lane.tried.is_after_accepted;
        let front = lane.queue.front_mut().expect("a lane has a delivery");
        let is_first_failure = front.tried_since.is_none();
        if is_first_failure {
            front.tried_since = Some(at);
            front.is_kept = false;
        }
        let is_new = lane.cause.replace(cause).is_none();
        lane.not_before = now + asked;
        let due = (now + lane.backoff.next()).max(lane.not_before);
        lane.due = Some(due);
        let first = lane.queue.front().cloned();
        self.failing += usize::from(is_new);
        if is_first_failure {
            self.unkept.insert(lsn, key.clone());
        }
        self.due.insert((due, lsn), key);
        first
    }

    /// Of each buyer with more than `most` deliveries the first one, if it is kept and the endpoint refuses
    /// it alone: it failed again after the endpoint had accepted another, or, when there is no room for
    /// others, it failed repeatedly and no other buyer's did.
    pub(super) fn crowding(&self, most: usize, room: KeepRoom) -> Vec<Crowding> {
        if self.places.len() <= most {
            return Vec::new();
        }
        let may_be_alone = room == KeepRoom::Full && self.failing == 1;
        let lanes = self.lanes.values().filter(|lane| {
            let is_alone = may_be_alone && lane.tried.failures >= FAILURES_ALONE;
            lane.queue.len() > most && lane.due.is_some() && (lane.tried.is_refused || is_alone)
        });
        let first = |lane: &BuyerLane| {
            let first = lane.queue.front().filter(|it| it.is_kept)?;
            Some(Crowding {
                lsn: first.fed.entry.lsn,
                waiting: lane.queue.len(),
                cause: lane.cause.clone()?,
            })
        };
        lanes.filter_map(first).collect()
    }

    /// The delivery at `lsn` is due again at once.
    pub(super) fn again(&mut self, lsn: Lsn, now: Instant) {
        let Some(key) = self.places.get(&lsn).cloned() else {
            return;
        };
        self.lane(&key).due = Some(now);
        self.due.insert((now, lsn), key);
    }

    /// Every lane is due.
    pub(super) fn wake_all(&mut self, now: Instant, wake: Wake) {
        let waiting = std::mem::take(&mut self.due);
        for ((at, lsn), key) in waiting {
            let lane = self.lane(&key);
            let at = at.min(match wake {
                Wake::Heeding => now.max(lane.not_before),
                Wake::Ordered => now,
            });
            lane.due = Some(at);
            self.due.insert((at, lsn), key);
        }
    }

    /// At most `room` events to keep durably, each with why: those of lanes that failed, or all.
    pub(super) fn to_keep(&self, which: KeepWhich, room: usize) -> Vec<ToKeep> {
        let mut found = Vec::new();
        for (lsn, key) in &self.unkept {
            if found.len() == room {
                break;
            }
            let lane = &self.lanes[key];
            if which == KeepWhich::All || lane.cause.is_some() {
                let pending = lane.queue.iter().find(|it| it.fed.entry.lsn == *lsn);
                let pending = pending.expect("what is not kept is in its lane");
                let tried = lane.cause.clone().filter(|_| pending.tried_since.is_some());
                found.push(ToKeep {
                    fed: pending.fed.clone(),
                    cause: tried.unwrap_or_else(|| NOT_TRIED.to_owned()),
                    tried_since: pending.tried_since,
                });
            }
        }
        found
    }

    /// The event at `lsn` is kept durably.
    pub(super) fn is_kept(&mut self, lsn: Lsn) {
        let Some(key) = self.unkept.remove(&lsn) else {
            return;
        };
        let queue = &mut self.lane(&key).queue;
        let found = queue.iter_mut().find(|it| it.fed.entry.lsn == lsn);
        let found = found.expect("what is not kept is in its lane");
        found.is_kept = true;
    }

    /// Removes everything from `from` on, and nothing is under way; returns the LSNs.
    pub(super) fn cut(&mut self, from: Lsn, now: Instant) -> Vec<Lsn> {
        let cut = self.places.split_off(&from);
        self.unkept.split_off(&from);
        for key in cut.values() {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.queue.retain(|it| it.fed.entry.lsn < from);
                if lane.queue.is_empty() {
                    self.failing -= usize::from(lane.cause.is_some());
                    self.lanes.remove(key);
                }
            }
        }
        self.due.clear();
        for (key, lane) in &mut self.lanes {
            let first = lane.queue.front().expect("a lane has a delivery");
            let at = *lane.due.get_or_insert(now);
            self.due.insert((at, first.fed.entry.lsn), key.clone());
        }
        cut.into_keys().collect()
    }

    fn lane(&mut self, key: &LaneKey) -> &mut BuyerLane {
        let lane = self.lanes.get_mut(key);
        lane.expect("a place names a lane that there is")
    }
}

/// A delivery whose buyer has too many waiting.
pub(super) struct Crowding {
    pub(super) lsn: Lsn,
    /// The buyer's deliveries.
    pub(super) waiting: usize,
    /// Why it failed last.
    pub(super) cause: String,
}

/// Whether more can be kept durably.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum KeepRoom {
    Left,
    /// Then a buyer who is the only one to fail holds all others up.
    Full,
}

/// Why lanes are woken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The endpoint answers again: lanes that it asked to wait do so.
    Heeding,
    /// An operator wants it: nothing waits.
    Ordered,
}

/// Which deliveries are kept durably.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum KeepWhich {
    /// Those of buyers whose first delivery failed.
    Failed,
    All,
}
