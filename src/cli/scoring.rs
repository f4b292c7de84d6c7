//! Owns how attempts are scored: whether features are written, and the model of the file that the
//! configuration names.
//!
//! Invariants: a model that is wrong stops a start, because rules on `risk_score` would pass whom
//! they are to stop, and the reading of a configuration while running. What is in force stands in
//! the log. Deliberately absent: the format of models.

use crate::config::RiskConfig;
use crate::engine::event::ModelInForce;
use crate::engine::risk::scoring::{FeaturesWritten, LoadedModel};
use crate::files;
use crate::journal::{Journal, NewScoring, StorageFault, digest_of};
use crate::risk::model::{self, MODEL_BYTES_MAX, ModelError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why attempts cannot be scored as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScoringFault {
    /// The file cannot be read.
    #[error("cannot read the risk model `{}`: {source}; check risk.model_file", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error(
        "the risk model `{}` is wrong at {error}; correct it there, or remove risk.model_file from the configuration", path.display()
    )]
    Wrong {
        path: PathBuf,
        /// The position and the problem.
        error: ModelError,
    },
}

/// A model, and its record in the log.
pub(super) type ScoringModel = (LoadedModel, ModelInForce);

/// Reads the configured model, if there is one.
pub(super) fn read(config: &RiskConfig) -> Result<Option<ScoringModel>, ScoringFault> {
    config.model_file.as_deref().map(load).transpose()
}

/// Scores attempts from now on as configured, with the model from [`read`]; returns whether that
/// changes anything.
pub(super) fn start(
    config: &RiskConfig,
    model: Option<ScoringModel>,
    journal: &Journal,
) -> Result<bool, StorageFault> {
    let kind = model.as_ref().map(|(_, named)| named.kind.clone());
    let digest = model.as_ref().map(|(it, _)| hex::encode(it.digest.0));
    let new = NewScoring {
        features: config.features,
        model,
    };
    let put = journal.risk().put_scoring(new)?;
    if let Some(put) = put {
        journal.wait_durable(put)?;
    }
    if put.is_some() || kind.is_some() {
        tracing::info!(
            event = "risk_scoring",
            model = kind.as_deref().unwrap_or("none"),
            digest = digest.as_deref().unwrap_or("none"),
            features_always = config.features == FeaturesWritten::Always,
            changed = put.is_some(),
            "the scoring of attempts is set"
        );
    }
    Ok(put.is_some())
}

/// The model in a file, and its record in the log.
pub(crate) fn load(path: &Path) -> Result<ScoringModel, ScoringFault> {
    let unreadable = |source| ScoringFault::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let most = u64::try_from(MODEL_BYTES_MAX).unwrap_or(u64::MAX);
    // One byte more than the maximum, so that a longer file is noticed.
    let mut file = files::open(path).map_err(unreadable)?.take(most + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    let parsed = model::parse(&text).map_err(|error| ScoringFault::Wrong {
        path: path.to_owned(),
        error,
    })?;
    let digest = digest_of(&text);
    let named = ModelInForce {
        digest,
        kind: parsed.model.kind().to_owned(),
        name: parsed.name,
    };
    let model = Arc::new(parsed.model);
    Ok((LoadedModel { model, digest }, named))
}
