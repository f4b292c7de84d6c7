//! Owns why a configuration cannot be used.
//!
//! Invariant: no message contains a value of the file or of the environment, which may be a secret.

use std::path::PathBuf;

/// Why the configuration cannot be used. No message contains a value of the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {source}; check the path and its permissions", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration `{}` is not valid TOML at line {line}, column {column}: {cause}", path.display())]
    Syntax {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there, without what stands there.
        cause: String,
    },
    /// An environment variable for a key, or its value, is not text.
    #[error("the environment variable `{name}` {what}")]
    NotText {
        /// As it is called, as far as it is text.
        name: String,
        /// What is wrong, without the value.
        what: &'static str,
    },
    /// A key that does not exist.
    #[error("the configuration key `{key}` is unknown; did you mean `{nearest}`?")]
    UnknownKey {
        /// As in the file.
        key: String,
        /// The most similar known key.
        nearest: &'static str,
    },
    /// An environment variable for a key that does not exist.
    #[error(
        "the environment variable `{name}` does not match a known key; did you mean the one for `{nearest}`?"
    )]
    UnknownVariable {
        /// The name of the variable.
        name: String,
        /// The most similar known key.
        nearest: &'static str,
    },
    /// A key with an invalid value.
    #[error("the configuration key `{key}` {what}")]
    Invalid {
        key: String,
        /// The problem, without the value.
        what: String,
    },
}
