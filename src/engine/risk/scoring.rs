//! Owns how attempts are scored now: by which model, and whether their features are recorded.
//!
//! Invariant: a model is evaluated at most once for an attempt. Deliberately absent: the arithmetic
//! (`model`).

use crate::engine::risk::model::Model;
use crate::engine::words::features::Features;
use crate::engine::words::score::{ModelScore, Scored};
use crate::ids::Digest16;
use std::sync::Arc;

/// A model with its identity.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// Compiled.
    pub model: Arc<Model>,
    /// The first half of the SHA-256 of its file.
    pub digest: Digest16,
}

/// Whether features are recorded in the events of attempts.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum FeaturesWritten {
    /// Only with a model's score, if a rule uses it.
    #[default]
    WithScores,
    /// For every attempt that rules are evaluated for.
    Always,
}

/// The scoring in force.
#[derive(Clone, Debug, Default)]
pub struct Scoring {
    /// Whether features are written.
    pub features: FeaturesWritten,
    /// The model, where one is loaded.
    pub model: Option<LoadedModel>,
}

impl Scoring {
    /// Whether features are ever computed.
    pub fn is_on(&self) -> bool {
        self.features == FeaturesWritten::Always || self.model.is_some()
    }

    /// Whether to compute the features of an attempt, by whether the rules use the score.
    pub fn wants_features(&self, rules_use_score: bool) -> bool {
        self.features == FeaturesWritten::Always || rules_use_score && self.model.is_some()
    }

    /// The score of `features`.
    pub fn score(&self, features: Features) -> Scored {
        let score = self.model.as_ref().map(|loaded| ModelScore {
            model: loaded.digest,
            score: loaded.model.score(&features),
        });
        Scored { features, score }
    }
}
