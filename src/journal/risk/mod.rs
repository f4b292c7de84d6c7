//! Owns the risk rules in force, the counters kept for them, and the operator's facts about buyers.
//!
//! Invariants: rules change while no shard has its turn, so the log shows which attempts were
//! counted before and which after, and recovery keeps exactly the same counters; the compiled rules
//! and their event are swapped together; the previous rules are kept.
//! Deliberately absent: the language (`risk`), which compiles text into rules.

pub(in crate::journal) mod scoring;

use crate::engine::counter::{By, Counter, Depths};
use crate::engine::decide::Claims;
use crate::engine::event::{AdminActed, BuyerPaused, BuyerRated, CounterKept, Event, RiskRulesSet};
use crate::engine::event::{Part, Pause, Rating, RiskEvent, RuleName, RuleOutcome, RulesSource};
use crate::engine::refusal::Refusal;
use crate::engine::risk::kept::{depths_of, kept_for};
use crate::engine::risk::program::RuleSet;
use crate::engine::shard::Shard;
use crate::engine::stamp::Stamp;
use crate::engine::velocity::{Named, Velocity};
use crate::ids::{Digest16, Lsn, ShardId, UserId};
use crate::journal::Journal;
use crate::journal::format::fault::StorageFault;
use crate::journal::risk::scoring::ScoringAt;
use crate::journal::time::clock::Moment;
use crate::time::UnixMs;
use parking_lot::MutexGuard;
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use std::sync::Arc;

/// A set of rules that the log has, and where.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RulesAt {
    pub set: RiskRulesSet,
    /// Since when they are in force.
    pub at: UnixMs,
    /// Where that stands in the log: their version.
    pub lsn: Lsn,
}

/// What the log says of risk rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Rules {
    /// Those in force, where any were ever set.
    pub in_force: Option<RulesAt>,
    /// Those before.
    pub previous: Option<RulesAt>,
    /// The digest of the rules that a file said last.
    pub file: Option<Digest16>,
}

/// What the log says of rules and scoring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct InForce {
    pub(in crate::journal) rules: Rules,
    /// How attempts are scored, where that was ever set.
    pub(in crate::journal) scoring: Option<ScoringAt>,
}

impl InForce {
    /// Applies what an event changes in it. Live and recovery alike.
    pub(in crate::journal) fn apply(
        &mut self,
        change: RiskEvent<'_>,
        stamp: Stamp,
        velocity: &Velocity,
    ) {
        match change {
            RiskEvent::RiskRulesSet(set) => self.rules.apply(set, stamp),
            RiskEvent::RiskScoringSet(set) => {
                self.scoring = Some(ScoringAt {
                    set: set.clone(),
                    at: stamp.at,
                    lsn: stamp.lsn,
                });
            }
        }
        velocity.keep(&self.depths());
    }

    /// How much is kept of each counter: the most that rules or features need.
    pub(in crate::journal) fn depths(&self) -> Depths {
        let scoring = self.scoring.as_ref().map_or(&[][..], |it| &it.set.kept);
        let (mut depths, more) = (depths_of(self.rules.kept()), depths_of(scoring));
        for (depth, more) in depths.iter_mut().zip(more) {
            *depth = more.max(*depth);
        }
        depths
    }
}

impl Rules {
    fn apply(&mut self, set: &RiskRulesSet, stamp: Stamp) {
        if set.source == RulesSource::File {
            self.file = Some(set.digest);
        }
        let now = RulesAt {
            set: set.clone(),
            at: stamp.at,
            lsn: stamp.lsn,
        };
        self.previous = self.in_force.replace(now);
    }

    /// What is kept of the counters, beyond what always is.
    pub fn kept(&self) -> &[CounterKept] {
        self.in_force.as_ref().map_or(&[], |it| &it.set.kept)
    }
}

/// Rules to be put in force.
#[derive(Debug)]
pub struct NewRules {
    /// Compiled from the text.
    pub compiled: RuleSet,
    /// As TOML.
    pub text: String,
    /// Where they come from.
    pub source: RulesSource,
    /// Who sets them, where it is the operator.
    pub by: Option<crate::engine::event::AdminAct>,
}

/// One counter of a buyer, as the rules in force see it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct UserCount {
    pub counter: Counter,
    /// Over which window.
    pub window_ms: u64,
    /// How far it is counted: so many, or more.
    pub up_to: u32,
    pub count: u32,
}

/// The first half of a text's SHA-256.
pub fn digest_of(text: &str) -> Digest16 {
    let digest = Sha256::digest(text.as_bytes());
    let (half, _) = digest
        .split_first_chunk()
        .expect("a digest has 32 bytes, of which the first 16 are taken");
    Digest16(*half)
}

/// What an event that was made here changes.
pub(in crate::journal) fn change_in(event: &Event) -> RiskEvent<'_> {
    match event.part() {
        Part::Risk(change) => change,
        Part::Nothing
        | Part::Limits(_)
        | Part::Catalogue(_)
        | Part::Time(_)
        | Part::History(_)
        | Part::Webhooks(_)
        | Part::Shard(..) => unreachable!("rules or a scoring were set, not {}", event.kind()),
    }
}

/// The turns of all shards.
pub(in crate::journal) struct AllTurns<'a> {
    pub(in crate::journal) shards: Vec<MutexGuard<'a, Shard>>,
    /// Now.
    pub(in crate::journal) moment: Moment,
    /// Since when a counter is kept that is kept from now on.
    pub(in crate::journal) since: UnixMs,
}

impl Journal {
    /// The rules in force as the log has them, and from which LSN on they may be told.
    pub fn risk_rules(&self) -> (Rules, Lsn) {
        let rules = self.rules_turn.lock().rules.clone();
        (rules, self.appended())
    }

    /// The compiled rules in force.
    pub fn compiled_rules(&self) -> Arc<RuleSet> {
        self.rules.load_full()
    }

    /// Each rule in force with its outcome and how often it held since the process started.
    pub fn rule_counts(&self) -> Vec<(RuleName, RuleOutcome, u64)> {
        let rules = self.rules.load();
        let counts = rules.counts();
        counts
            .map(|(name, outcome, held)| (name.clone(), outcome, held))
            .collect()
    }

    /// Keys of counters that went, or were not taken in, because there were too many.
    pub fn velocity_given_up(&self) -> u64 {
        self.velocity.given_up()
    }

    /// Takes up the rules that the log has in force, compiled again after a restart.
    pub fn take_up_rules(&self, compiled: RuleSet) {
        let _turn = self.rules_turn.lock();
        self.rules.store(Arc::new(compiled));
    }

    /// Puts `new` in force; the LSN that must be durable before that is told. Takes the turns of all
    /// shards for a moment.
    pub fn put_rules(&self, new: NewRules) -> Result<Lsn, StorageFault> {
        self.set_rules(new, |_, _| None)
    }

    /// The same as an administrative act: what `acted` makes of the rules before and of those that
    /// will be stands in the same append.
    pub fn put_rules_acted(
        &self,
        new: NewRules,
        acted: impl FnOnce(Option<&RiskRulesSet>, &RiskRulesSet) -> AdminActed,
    ) -> Result<Lsn, StorageFault> {
        self.set_rules(new, |before, after| Some(acted(before, after)))
    }

    fn set_rules(
        &self,
        new: NewRules,
        acted: impl FnOnce(Option<&RiskRulesSet>, &RiskRulesSet) -> Option<AdminActed>,
    ) -> Result<Lsn, StorageFault> {
        let NewRules {
            mut compiled,
            text,
            source,
            by,
        } = new;
        let mut in_force = self.rules_turn.lock();
        let AllTurns {
            shards,
            moment,
            since,
        } = self.all_turns();
        let rules = &in_force.rules;
        let set = RiskRulesSet {
            digest: digest_of(&text),
            text,
            source,
            kept: kept_for(&compiled, rules.kept(), since),
            by,
        };
        let acted = acted(rules.in_force.as_ref().map(|it| &it.set), &set);
        let mut events = SmallVec::<[Event; 2]>::from_iter([Event::RiskRulesSet(set)]);
        events.extend(acted.map(Event::AdminActed));
        let (end, begins) = self.append(&events, moment)?;
        let stamp = moment.stamp(begins[0]);
        in_force.apply(change_in(&events[0]), stamp, &self.velocity);
        compiled.count_on_from(&self.rules.load());
        self.rules.store(Arc::new(compiled));
        drop(shards);
        Ok(end)
    }

    /// Takes the turns of all shards, so that nothing is counted until they are given back.
    pub(in crate::journal) fn all_turns(&self) -> AllTurns<'_> {
        let shards: Vec<_> = ShardId::all().map(|id| self.shard(id)).collect();
        let latest = shards.iter().map(|shard| shard.last_at()).max();
        let moment = self.clock.moment_after(latest.unwrap_or_default());
        // Not by the buyers who are kept: those who were there may be forgotten.
        let never = UnixMs::default();
        let nobody = shards.iter().all(|shard| shard.last_at() == never);
        // Where nothing was there to be counted, nothing was missed.
        let since = if nobody && self.velocity.keys() == 0 {
            UnixMs::default()
        } else {
            moment.at
        };
        AllTurns {
            shards,
            moment,
            since,
        }
    }

    /// Pauses a buyer or lifts the pause; the LSN that must be durable before that is told.
    pub fn pause_buyer(&self, paused: BuyerPaused) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = paused.user.clone();
        self.say_of_buyer(&user, Event::BuyerPaused(paused), |_| None)
    }

    /// The same as an administrative act: what `acted` makes of the pause before stands in the same
    /// append.
    pub fn pause_buyer_acted(
        &self,
        paused: BuyerPaused,
        acted: impl FnOnce(Option<&Pause>) -> AdminActed,
    ) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = paused.user.clone();
        let now = self.now();
        self.say_of_buyer(&user, Event::BuyerPaused(paused), |shard| {
            Some(acted(shard.paused(&user, now)))
        })
    }

    /// Rates a buyer, likewise.
    pub fn rate_buyer(&self, rated: BuyerRated) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = rated.user.clone();
        self.say_of_buyer(&user, Event::BuyerRated(rated), |_| None)
    }

    /// The same as an administrative act: what `acted` makes of the rating before stands in the same
    /// append.
    pub fn rate_buyer_acted(
        &self,
        rated: BuyerRated,
        acted: impl FnOnce(Option<&Rating>) -> AdminActed,
    ) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let user = rated.user.clone();
        self.say_of_buyer(&user, Event::BuyerRated(rated), |shard| {
            Some(acted(shard.rating(&user)))
        })
    }

    /// A buyer's pause, while it lasts, and rating, and from which LSN on they may be told.
    pub fn buyer_risk(&self, user: &UserId) -> (Option<Pause>, Option<Rating>, Lsn) {
        let shard = self.shard(ShardId::of(user));
        let pause = shard.paused(user, self.now()).cloned();
        let rating = shard.rating(user).cloned();
        (pause, rating, self.appended())
    }

    /// A counter of what `named` names, at `since_ms` or later; exact up to `cap` where as much is kept.
    pub fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> u32 {
        self.velocity.count(counter, named, since_ms, cap)
    }

    /// The counters of `user` that the rules in force keep, each with its window in milliseconds,
    /// how far it is counted, and the count now.
    pub fn user_counts(&self, user: &UserId) -> (Vec<UserCount>, Lsn) {
        let rules = self.rules.load();
        let now_ms = self.now().get();
        let named = Named {
            user: Some(user),
            ..Named::default()
        };
        let mut counts: Vec<UserCount> = Vec::new();
        for (_, ask) in rules.asks().filter(|(_, ask)| ask.counter.by() == By::User) {
            let since_ms = (now_ms + 1).saturating_sub(ask.window_ms);
            let up_to = u32::from(ask.depth);
            let count = self.velocity.count(ask.counter, &named, since_ms, up_to);
            let same =
                |it: &&mut UserCount| it.counter == ask.counter && it.window_ms == ask.window_ms;
            match counts.iter_mut().find(same) {
                Some(known) => {
                    known.up_to = known.up_to.max(up_to);
                    known.count = known.count.max(count);
                }
                None => counts.push(UserCount {
                    counter: ask.counter,
                    window_ms: ask.window_ms,
                    up_to,
                    count,
                }),
            }
        }
        (counts, self.appended())
    }

    /// SHA-256 over every counter that buyers share, in hexadecimal: the same after recovery.
    /// Means something only while nothing changes.
    pub fn counters_digest(&self) -> String {
        let mut keys = Vec::new();
        self.velocity.export(|key, instants| {
            let values = instants.into_iter().map(|instant| (0, instant));
            keys.push((0_u8, key, values.collect::<Vec<_>>()));
        });
        self.velocity
            .export_distinct(|key, seen| keys.push((1, key, seen)));
        keys.sort_unstable();
        let mut hash = Sha256::new();
        for (table, key, values) in keys {
            hash.update([table]);
            hash.update(key.to_le_bytes());
            for (value, instant) in values {
                hash.update(value.to_le_bytes());
                hash.update(instant.to_le_bytes());
            }
        }
        hex::encode(hash.finalize())
    }

    fn say_of_buyer(
        &self,
        user: &UserId,
        event: Event,
        acted: impl FnOnce(&Shard) -> Option<AdminActed>,
    ) -> Result<Result<Lsn, Refusal>, StorageFault> {
        let mut turn = self.turn(ShardId::of(user))?;
        if let Err(refusal) = turn.shard.room_for_buyer(user, &self.settings.bounds) {
            return Ok(Err(refusal));
        }
        let acted = acted(&turn.shard);
        let mut events = SmallVec::<[Event; 2]>::from_iter([event]);
        events.extend(acted.map(Event::AdminActed));
        let told = turn.commit_events(&events, Claims::default())?;
        Ok(Ok(told))
    }
}
