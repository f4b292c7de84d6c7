//! Owns the risk rules and the scoring recorded in the log: those in force, the previous ones, and the
//! depth of the counters kept for them.
//!
//! Invariant: live and recovery apply the same events in the same way. Deliberately absent: compiled
//! rules, which turns use, and the language (`risk`).

use crate::engine::counter::Depths;
use crate::engine::event::RulesSource;
use crate::engine::event::{CounterKept, Event, Part, RiskEvent, RiskRulesSet, RiskScoringSet};
use crate::engine::risk::kept::depths_of;
use crate::engine::stamp::Stamp;
use crate::engine::velocity::Velocity;
use crate::ids::{Digest16, Lsn};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A set of rules in the log, and its position.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RulesAt {
    pub set: RiskRulesSet,
    /// The instant at which they came into force.
    pub at: UnixMs,
    /// The LSN of their event, which is their version.
    pub lsn: Lsn,
}

/// The risk rules recorded in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Rules {
    /// The rules in force; `None` if none were ever set.
    pub in_force: Option<RulesAt>,
    /// The rules before them.
    pub previous: Option<RulesAt>,
    /// The digest of the rules that a file set last.
    pub file: Option<Digest16>,
}

/// The rules and the scoring recorded in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct InForce {
    pub(in crate::journal) rules: Rules,
    /// The scoring in force; `None` if none was ever set.
    pub(in crate::journal) scoring: Option<ScoringAt>,
}

impl InForce {
    /// Applies an event. Live and recovery call the same function.
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

    /// The depth of each counter: the most that rules or features need.
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

    /// The counters kept beyond those that are always kept.
    pub fn kept(&self) -> &[CounterKept] {
        self.in_force.as_ref().map_or(&[], |it| &it.set.kept)
    }
}

/// A scoring in the log, and its position.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ScoringAt {
    pub set: RiskScoringSet,
    pub at: UnixMs,
    /// The LSN of its event.
    pub lsn: Lsn,
}

/// The first half of a text's SHA-256.
pub fn digest_of(text: &str) -> Digest16 {
    let digest = Sha256::digest(text.as_bytes());
    let (half, _) = digest
        .split_first_chunk()
        .expect("a digest has 32 bytes, of which the first 16 are taken");
    Digest16(*half)
}

/// The change of rules or scoring in an event that this folder made.
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
