//! Owns scores and the features they are computed from.
//!
//! Invariant: a score is 0 to 1,000 and is recorded in the event of its attempt, with its features
//! and its model, so recovery evaluates no model. Deliberately absent: the features (`features`),
//! and how attempts are scored (`risk::scoring`).

use crate::engine::words::features::Features;
use crate::ids::Digest16;
use rkyv::{Archive, Deserialize, Serialize};

/// How risky an attempt is: a probability in thousandths, 0 to 1,000.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct Score(u16);

impl Score {
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

/// A score and the model that computed it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ModelScore {
    /// The first half of the SHA-256 of the model's file.
    pub model: Digest16,
    pub score: Score,
}

/// The features of an attempt, and its score where a model was loaded.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Scored {
    pub features: Features,
    /// The score that a model computed from them.
    pub score: Option<ModelScore>,
}

/// What an attempt was scored by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Appraisal {
    /// No features were taken: none were requested, or the attempt was refused before the rules
    /// were evaluated.
    #[default]
    Plain,
    /// Features, and a score if a model was loaded. Boxed, so that records without them stay short.
    Taken(Box<Scored>),
}

impl Appraisal {
    /// Features and score, if there are any.
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
