//! Owns how attempts are scored: the model in force and whether features are written, as recorded
//! in the log and as turns use it.
//!
//! Invariants: a change is logged, with the depth of counters that it needs, while no shard has its
//! turn; so the log shows from when on features are exact, and recovery keeps the same counters.
//! Recovery evaluates no model: scores are in the events of their attempts.
//! Deliberately absent: the files of models (`risk`), and what scores lead to (rules).

use super::rules::RiskControl;
use crate::engine::event::{Event, ModelInForce, RiskScoringSet};
use crate::engine::features::{FEATURES_VERSION, depths_for_features};
use crate::engine::risk::kept::kept_to;
use crate::engine::risk::scoring::{FeaturesWritten, LoadedModel, Scoring};
use crate::ids::Lsn;
use crate::journal::core::append::AllTurns;
use crate::journal::core::in_force::ScoringAt;
use crate::journal::core::in_force::change_in;
use crate::journal::format::fault::StorageFault;
use std::sync::Arc;

/// A new scoring of attempts.
#[derive(Clone, Debug, Default)]
pub struct NewScoring {
    /// Whether the features of every attempt are recorded.
    pub features: FeaturesWritten,
    /// The model, and its record for the log.
    pub model: Option<(LoadedModel, ModelInForce)>,
}

impl RiskControl<'_> {
    /// The scoring in the log, and the LSN that must be durable before it is shown.
    pub fn scoring(&self) -> (Option<ScoringAt>, Lsn) {
        let scoring = self.core.rules_turn.lock().scoring.clone();
        (scoring, self.core.appended())
    }

    /// Puts a scoring in force. If the log does not have it yet, takes the turns of all shards for a
    /// moment, and returns the LSN that must be durable before the change is confirmed.
    pub fn put_scoring(&self, new: NewScoring) -> Result<Option<Lsn>, StorageFault> {
        let NewScoring { features, model } = new;
        let (model, named) = model.unzip();
        let compiled = Scoring { features, model };
        let mut in_force = self.core.rules_turn.lock();
        let before = in_force.scoring.as_ref().map(|it| &it.set);
        let written = (features == FeaturesWritten::Always).then_some(FEATURES_VERSION);
        let same = match before {
            Some(before) => before.features == written && before.model == named,
            // To score nothing needs no record if nothing was ever scored.
            None => !compiled.is_on(),
        };
        if same {
            self.core.scoring.store(Arc::new(compiled));
            return Ok(None);
        }
        let AllTurns {
            shards,
            moment,
            since,
        } = self.core.all_turns();
        let kept = if compiled.is_on() {
            let before = before.map_or(&[][..], |it| &it.kept);
            kept_to(&depths_for_features(), before, since)
        } else {
            Vec::new()
        };
        let set = RiskScoringSet {
            features: written,
            model: named,
            kept,
        };
        let event = Event::RiskScoringSet(set);
        let (end, begins) = self.core.append(std::slice::from_ref(&event), moment)?;
        let stamp = moment.stamp(begins[0]);
        in_force.apply(change_in(&event), stamp, &self.core.velocity);
        self.core.scoring.store(Arc::new(compiled));
        drop(shards);
        Ok(Some(end))
    }
}
