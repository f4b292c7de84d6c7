//! Owns which risk rules are in force: those of a file, those that are shipped, or those that the
//! log has, the newest of them.
//!
//! Invariants: a file counts as newer than all that the log has exactly where its text is not the
//! one that was read last; rules that do not parse leave those in force as they are, and stop a
//! start only where there are none; the rules in force stand in the log, so that a restart finds
//! them. Deliberately absent: the language.

use crate::config::RiskConfig;
use crate::engine::event::RulesSource;
use crate::files;
use crate::journal::{Audit, Journal, NewRules, Rules, StorageFault, digest_of};
use crate::risk::{self, Compiled, RulesError};
use std::path::PathBuf;

/// Why rules cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum RulesFault {
    /// The file cannot be read.
    #[error("cannot read the risk rules `{}`: {source}; check risk.rules_file", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("the risk rules `{}` are wrong at {error}; correct them there", path.display())]
    Wrong {
        path: PathBuf,
        /// The position and the problem.
        error: RulesError,
    },
    /// The log has rules that this version cannot read.
    #[error(
        "this version cannot read the risk rules in the log ({0}); start the version that wrote them, or set new rules in risk.rules_file"
    )]
    Logged(RulesError),
    /// The log failed.
    #[error(transparent)]
    Storage(#[from] StorageFault),
}

/// The rules of a file, ready to be put into force.
pub(super) struct RulesFile {
    text: String,
    compiled: Compiled,
}

/// Reads the configured file, if there is one.
pub(super) fn read(config: &RiskConfig) -> Result<Option<RulesFile>, RulesFault> {
    let Some(path) = &config.rules_file else {
        return Ok(None);
    };
    let text =
        files::read_text(path, files::TEXT_BYTES_MAX).map_err(|source| RulesFault::Unreadable {
            path: path.clone(),
            source,
        })?;
    let compiled = risk::compile_to_enforce(&text).map_err(|error| RulesFault::Wrong {
        path: path.clone(),
        error,
    })?;
    Ok(Some(RulesFile { text, compiled }))
}

impl RulesFile {
    /// Number of rules.
    pub(super) fn count(&self) -> usize {
        self.compiled.shown.len()
    }

    /// Puts them into force unless they were the last ones read; returns whether they were not.
    pub(super) fn put(self, journal: &Journal) -> Result<bool, StorageFault> {
        let (rules, _) = journal.risk().rules();
        if rules.file == Some(digest_of(&self.text)) {
            return Ok(false);
        }
        put(journal, self.text, self.compiled, RulesSource::File)?;
        Ok(true)
    }
}

/// Puts the rules of a start into force; `file` is the result of [`read`].
pub(super) fn start(
    config: &RiskConfig,
    file: Result<Option<RulesFile>, RulesFault>,
    journal: &Journal,
) -> Result<(), RulesFault> {
    let (rules, _) = journal.risk().rules();
    match file {
        Ok(Some(file)) => {
            if file.put(journal)? {
                return Ok(());
            }
        }
        Ok(None) => {}
        // A restart must not fail because of a file that a running process would have refused.
        Err(fault) if rules.in_force.is_some() => tracing::error!(
            event = "risk_rules_refused",
            "{fault}; the rules in force stay as they are"
        ),
        Err(fault) => return Err(fault),
    }
    if config.rules_file.is_none()
        && let Some(text) = shipped(config, &rules)
    {
        // `risk.default_rules = false` means no rules.
        let compiled = risk::compile(text).map_err(RulesFault::Logged)?;
        put(journal, text.to_owned(), compiled, RulesSource::Shipped)?;
        return Ok(());
    }
    let Some(in_force) = &rules.in_force else {
        return Ok(());
    };
    let compiled = risk::compile(&in_force.set.text).map_err(RulesFault::Logged)?;
    tracing::info!(
        event = "risk_rules",
        rules = compiled.shown.len(),
        source = in_force.set.source.as_str(),
        version = in_force.lsn.0,
        "risk rules from the log are in force"
    );
    journal.risk().take_up_rules(compiled.set);
    Ok(())
}

/// The text to put into force if no file is configured; `None` if the rules of the log stay.
fn shipped(config: &RiskConfig, rules: &Rules) -> Option<&'static str> {
    let text = if config.default_rules {
        risk::SHIPPED
    } else {
        ""
    };
    match &rules.in_force {
        None => config.default_rules.then_some(text),
        Some(in_force) if in_force.set.source == RulesSource::Shipped => {
            (in_force.set.digest != digest_of(text)).then_some(text)
        }
        Some(_) => None,
    }
}

fn put(
    journal: &Journal,
    text: String,
    compiled: Compiled,
    source: RulesSource,
) -> Result<(), StorageFault> {
    let rules = compiled.shown.len();
    let new = NewRules {
        compiled: compiled.set,
        text,
        source,
        by: None,
    };
    journal.wait_durable(journal.risk().put_rules(new, Audit::Nothing)?)?;
    tracing::info!(
        event = "risk_rules",
        rules,
        source = source.as_str(),
        "new risk rules are in force"
    );
    Ok(())
}
