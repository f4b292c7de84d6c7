//! Owns scores, what was taken of an attempt for scoring it, and how attempts are scored now.
//!
//! Invariants: a score is 0 to 1,000 and stands in the event of its attempt with the features that it
//! was made of and the model that made it, so that recovery evaluates no model; a model is asked at
//! most once an attempt. Deliberately absent: the features (`features`) and the arithmetic (`model`).

use super::features::Features;
use super::model::Model;
use crate::ids::Digest16;
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;

/// How risky an attempt is: a probability in thousandths, 0 to 1,000.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct Score(u16);

impl Score {
    /// The largest.
    pub const MAX: Self = Self(1_000);

    /// The score of so many thousandths; `None` above a thousand.
    pub fn new(thousandths: u32) -> Option<Self> {
        let score = Self(u16::try_from(thousandths).ok()?);
        (score <= Self::MAX).then_some(score)
    }

    /// In thousandths.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }
}

/// A score, and what made it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ModelScore {
    /// The first half of the SHA-256 of the model's file.
    pub model: Digest16,
    /// The score.
    pub score: Score,
}

/// The features of an attempt, and its score where a model was loaded.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Scored {
    /// What it was made of.
    pub features: Features,
    /// What a model made of it.
    pub score: Option<ModelScore>,
}

/// What was taken of an attempt for scoring it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Appraisal {
    /// No features were taken: none were wanted, or it was refused before rules were asked.
    #[default]
    Plain,
    /// Features, and a score where a model was loaded; apart, so that records without are short.
    Taken(Box<Scored>),
}

impl Appraisal {
    /// What was taken, where anything was.
    pub fn scored(&self) -> Option<&Scored> {
        match self {
            Self::Taken(scored) => Some(scored),
            Self::Plain => None,
        }
    }

    /// The score, where there is one.
    pub fn score(&self) -> Option<Score> {
        Some(self.scored()?.score?.score)
    }
}

impl From<Option<Scored>> for Appraisal {
    fn from(scored: Option<Scored>) -> Self {
        scored.map_or(Self::Plain, |it| Self::Taken(Box::new(it)))
    }
}

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
