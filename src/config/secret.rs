//! Owns secrets: their sources, and hiding them.
//!
//! Invariants: no error here contains a secret or the text it was parsed from; a secret is shown as
//! [`HIDDEN`]. Deliberately absent: the purpose of the secrets.

use super::ConfigError;
use super::source::Environment;
use crate::files::SECRET_BYTES_MAX;
use secrecy::SecretString;
use std::path::Path;
use toml::Value;

/// Shown in place of a secret.
pub const HIDDEN: &str = "***";

/// The secret in `value`, or the one that it refers to; errors name the key `path`.
pub fn resolve(
    path: &str,
    value: &Value,
    environment: &Environment,
) -> Result<SecretString, ConfigError> {
    let invalid = |what: String| ConfigError::Invalid {
        key: path.to_owned(),
        what,
    };
    let secret = match value {
        Value::String(text) => SecretString::from(text.clone()),
        Value::Table(table) if table.len() == 1 => {
            if let Some(Value::String(file)) = table.get("file") {
                let text = crate::files::read_text(Path::new(file), SECRET_BYTES_MAX).map_err(
                    |error| {
                        invalid(format!(
                            "cannot read the secret from the file `{file}`: {error}"
                        ))
                    },
                )?;
                SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned())
            } else if let Some(Value::String(name)) = table.get("env") {
                if environment.is_not_text(name) {
                    return Err(invalid(
                        "names an environment variable that is not UTF-8".to_owned(),
                    ));
                }
                let text = environment.get(name).ok_or_else(|| {
                    let variable =
                        |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
                    // Repeat the name only if it looks like a variable's name: the operator may
                    // have written the secret itself here.
                    if name.bytes().all(variable) {
                        invalid(format!("the environment variable `{name}` is not set"))
                    } else {
                        invalid("the environment variable in `env` is not set".to_owned())
                    }
                })?;
                SecretString::from(text.to_owned())
            } else {
                return Err(invalid(FORMS.to_owned()));
            }
        }
        _ => return Err(invalid(FORMS.to_owned())),
    };
    Ok(secret)
}

const FORMS: &str = "must be a string, `{ file = \"…\" }` or `{ env = \"…\" }`";
