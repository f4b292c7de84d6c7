//! Owns how attempts are scored now: by which model, and whether their features are written.
//!
//! Invariant: a model is asked at most once an attempt. Deliberately absent: the arithmetic (`model`).

use crate::engine::risk::model::Model;
use crate::engine::words::features::Features;
use crate::engine::words::score::{ModelScore, Scored};
use crate::ids::Digest16;
use std::sync::Arc;

/// A model with what identifies it.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// Compiled.
    pub model: Arc<Model>,
    /// The first half of the SHA-256 of its file.
    pub digest: Digest16,
}

/// Whether features are written into the events of attempts.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum FeaturesWritten {
    /// Only where a rule asks for the score of a model, and with it.
    #[default]
    WithScores,
    /// Of every attempt that rules are asked about.
    Always,
}

/// How attempts are scored now.
#[derive(Clone, Debug, Default)]
pub struct Scoring {
    /// Whether features are written.
    pub features: FeaturesWritten,
    /// The model, where one is loaded.
    pub model: Option<LoadedModel>,
}

impl Scoring {
    /// Whether anything is ever taken of attempts.
    pub fn is_on(&self) -> bool {
        self.features == FeaturesWritten::Always || self.model.is_some()
    }

    /// Whether features are to be taken of an attempt, about which rules are asked that ask for a
    /// score or do not.
    pub fn wants_features(&self, rules_use_score: bool) -> bool {
        self.features == FeaturesWritten::Always || rules_use_score && self.model.is_some()
    }

    /// What `features` come to.
    pub fn score(&self, features: Features) -> Scored {
        let score = self.model.as_ref().map(|loaded| ModelScore {
            model: loaded.digest,
            score: loaded.model.score(&features),
        });
        Scored { features, score }
    }
}
