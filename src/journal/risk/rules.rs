//! Owns the risk rules in force, the counters kept for them, and the operator's facts about buyers.
//!
//! Invariants: rules change while no shard has its turn, so the log shows which attempts were
//! counted before and which after, and recovery keeps exactly the same counters; the compiled rules
//! and their event are swapped together; the previous rules are kept.
//! Deliberately absent: the language (`risk`), which compiles text into rules.

use crate::engine::counter::{By, Counter};
use crate::engine::event::{Event, RiskRulesSet};
use crate::engine::event::{RuleName, RuleOutcome, RulesSource};
use crate::engine::risk::kept::kept_for;
use crate::engine::risk::program::RuleSet;
use crate::engine::velocity::Named;
use crate::ids::{Lsn, UserId};
use crate::journal::core::JournalCore;
use crate::journal::core::append::AllTurns;
use crate::journal::core::in_force::{Rules, change_in, digest_of};
use crate::journal::format::fault::StorageFault;
use crate::journal::turn::audit::{Audit, Revision};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use std::sync::Arc;

/// New rules.
#[derive(Debug)]
pub struct NewRules {
    /// Compiled from the text.
    pub compiled: RuleSet,
    /// As TOML.
    pub text: String,
    /// Their source.
    pub source: RulesSource,
    /// The administrative act, if the operator sets them.
    pub by: Option<crate::engine::event::AdminAct>,
}

/// One counter of a buyer, as the rules in force use it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct UserCount {
    pub counter: Counter,
    /// Its window, in milliseconds.
    pub window_ms: u64,
    /// The largest count that is exact; beyond it the counter only says "at least".
    pub up_to: u32,
    pub count: u32,
}

/// Changes of risk rules, scoring and facts about buyers; reads of their counters.
pub struct RiskControl<'a> {
    pub(super) core: &'a JournalCore,
}

impl<'a> RiskControl<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl RiskControl<'_> {
    /// The rules in the log, and the LSN that must be durable before they are shown.
    pub fn rules(&self) -> (Rules, Lsn) {
        let rules = self.core.rules_turn.lock().rules.clone();
        (rules, self.core.appended())
    }

    /// The compiled rules in force.
    pub fn compiled(&self) -> Arc<RuleSet> {
        self.core.rules.load_full()
    }

    /// Each rule in force with its outcome and how often it matched since the process started.
    pub fn rule_counts(&self) -> Vec<(RuleName, RuleOutcome, u64)> {
        let rules = self.core.rules.load();
        let counts = rules.counts();
        counts
            .map(|(name, outcome, held)| (name.clone(), outcome, held))
            .collect()
    }

    /// Number of counter keys that were dropped or refused, because there were too many.
    pub fn velocity_given_up(&self) -> u64 {
        self.core.velocity.given_up()
    }

    /// Sets the compiled form of the rules in force, after a restart.
    pub fn take_up_rules(&self, compiled: RuleSet) {
        let _turn = self.core.rules_turn.lock();
        self.core.rules.store(Arc::new(compiled));
    }

    /// Puts `new` in force, with the act that asked for it; returns the LSN that must be durable before
    /// that is confirmed. Takes the turns of all shards for a moment.
    pub fn put_rules(
        &self,
        new: NewRules,
        audit: Audit<'_, Revision<RiskRulesSet>>,
    ) -> Result<Lsn, StorageFault> {
        let NewRules {
            mut compiled,
            text,
            source,
            by,
        } = new;
        let mut in_force = self.core.rules_turn.lock();
        let AllTurns {
            shards,
            moment,
            since,
        } = self.core.all_turns();
        let rules = &in_force.rules;
        let set = RiskRulesSet {
            digest: digest_of(&text),
            text,
            source,
            kept: kept_for(&compiled, rules.kept(), since),
            by,
        };
        let act = audit.act_of(|| Revision {
            before: rules.in_force.as_ref().map(|it| it.set.clone()),
            after: set.clone(),
        });
        let mut events = SmallVec::<[Event; 2]>::from_iter([Event::RiskRulesSet(set)]);
        events.extend(act);
        let (end, begins) = self.core.append(&events, moment)?;
        let stamp = moment.stamp(begins[0]);
        in_force.apply(change_in(&events[0]), stamp, &self.core.velocity);
        compiled.count_on_from(&self.core.rules.load());
        self.core.rules.store(Arc::new(compiled));
        drop(shards);
        Ok(end)
    }

    /// The count of `named` since `since_ms`; exact up to `cap` if the counter is that deep.
    pub fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> u32 {
        self.core.velocity.count(counter, named, since_ms, cap)
    }

    /// The counters of `user` that the rules in force use, and the LSN that must be durable before they
    /// are shown.
    pub fn user_counts(&self, user: &UserId) -> (Vec<UserCount>, Lsn) {
        let rules = self.core.rules.load();
        let now_ms = self.core.now().get();
        let named = Named {
            user: Some(user),
            ..Named::default()
        };
        let mut counts: Vec<UserCount> = Vec::new();
        for (_, ask) in rules.asks().filter(|(_, ask)| ask.counter.by() == By::User) {
            let since_ms = (now_ms + 1).saturating_sub(ask.window_ms);
            let up_to = u32::from(ask.depth);
            let count = self
                .core
                .velocity
                .count(ask.counter, &named, since_ms, up_to);
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
        (counts, self.core.appended())
    }

    /// SHA-256 over every counter that buyers share, in hexadecimal: the same after recovery. Call it
    /// only while nothing changes.
    pub fn counters_digest(&self) -> String {
        let mut keys = Vec::new();
        self.core.velocity.export(|key, instants| {
            let values = instants.into_iter().map(|instant| (0, instant));
            keys.push((0_u8, key, values.collect::<Vec<_>>()));
        });
        self.core
            .velocity
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
}
