//! Owns which risk rules are in force: those of a file, those that are shipped, or those that the
//! log has, the newest of them.
//!
//! Invariants: a file counts as newer than all that the log has exactly where its text is not the one
//! that was read last; rules that do not parse leave those in force as they are, and stop a start only where
//! there are none; the rules in force
//! stand in the log, so that a restart finds them. Deliberately absent: the language.

use crate::config::RiskConfig;
use crate::engine::event::RulesSource;
use crate::journal::{Journal, NewRules, Rules, digest_of};
use crate::risk::{self, RulesError};
use std::path::{Path, PathBuf};

/// Why rules cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum RulesFault {
    /// The file cannot be read.
    #[error("the risk rules `{}` cannot be read: {source}; check risk.rules_file", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("the risk rules `{}` are wrong at {error}; correct them there", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        error: RulesError,
    },
    /// The log has rules of another program.
    #[error(
        "the risk rules in the log are not understood ({0}); start the program that wrote them, or name a file that changed in risk.rules_file"
    )]
    Logged(RulesError),
    /// The log failed.
    #[error(transparent)]
    Storage(#[from] crate::journal::StorageFault),
}

/// Puts the rules in force that are to be at start.
pub(super) fn start(config: &RiskConfig, journal: &Journal) -> Result<(), RulesFault> {
    let (rules, _) = journal.risk_rules();
    if let Some(path) = &config.rules_file {
        match read_file(path, &rules, journal) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(fault @ RulesFault::Storage(_)) => return Err(fault),
            // A restart must not fail on a file that a running process would have refused.
            Err(fault) if rules.in_force.is_some() => refused(&fault),
            Err(fault) => return Err(fault),
        }
    }
    if config.rules_file.is_none()
        && let Some(text) = shipped(config, &rules)
    {
        return put(journal, text.to_owned(), RulesSource::Shipped).map_err(|fault| match fault {
            PutFault::Wrong(error) => RulesFault::Logged(error),
            PutFault::Storage(fault) => fault.into(),
        });
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
        "the risk rules of the log are in force"
    );
    journal.take_up_rules(compiled.set);
    Ok(())
}

/// Reads the file again; what is wrong with it is said, and nothing changes then.
pub(super) fn reload(config: &RiskConfig, journal: &Journal) {
    let Some(path) = &config.rules_file else {
        return;
    };
    let (rules, _) = journal.risk_rules();
    if let Err(fault) = read_file(path, &rules, journal) {
        refused(&fault);
    }
}

fn refused(fault: &RulesFault) {
    tracing::error!(
        event = "risk_rules_refused",
        "{fault}; the rules in force stay as they are"
    );
}

/// The text to put in force where no file is named; `None` where what the log has stays.
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

/// Puts the file's rules in force where they changed; whether they did.
fn read_file(path: &Path, rules: &Rules, journal: &Journal) -> Result<bool, RulesFault> {
    let text = crate::files::read_text(path, crate::files::TEXT_BYTES_MAX).map_err(|source| {
        RulesFault::Unreadable {
            path: path.to_owned(),
            source,
        }
    })?;
    if rules.file == Some(digest_of(&text)) {
        return Ok(false);
    }
    match put(journal, text, RulesSource::File) {
        Ok(()) => Ok(true),
        Err(PutFault::Storage(fault)) => Err(fault.into()),
        Err(PutFault::Wrong(error)) => Err(RulesFault::Wrong {
            path: path.to_owned(),
            error,
        }),
    }
}

enum PutFault {
    Wrong(RulesError),
    Storage(crate::journal::StorageFault),
}

fn put(journal: &Journal, text: String, source: RulesSource) -> Result<(), PutFault> {
    let compiled = match source {
        RulesSource::File | RulesSource::Administration => risk::compile_to_enforce(&text),
        // `risk.default_rules = false` says in so many words that there are none.
        RulesSource::Shipped => risk::compile(&text),
    };
    let compiled = compiled.map_err(PutFault::Wrong)?;
    let rules = compiled.shown.len();
    let new = NewRules {
        compiled: compiled.set,
        text,
        source,
        by: None,
    };
    let put = journal.put_rules(new).map_err(PutFault::Storage)?;
    journal.wait_durable(put).map_err(PutFault::Storage)?;
    tracing::info!(
        event = "risk_rules",
        rules,
        source = source.as_str(),
        "new risk rules are in force"
    );
    Ok(())
}
