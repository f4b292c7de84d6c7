//! Owns `receipt verify`: checking a receipt without the server.

use super::{Verify, VerifyKeys, compose, fail};
use crate::config::{Config, Demo, Environment, Sources};
use crate::receipts::{Receipt, ReceiptKey, Sealer};
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::process::ExitCode;

/// The most bytes that are read of a file; a receipt is much smaller.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Verifies the receipt in a file; the verdict is a line of JSON on stdout.
pub(super) fn verify(arguments: &Verify) -> ExitCode {
    let receipt = match read(&arguments.file) {
        Ok(receipt) => receipt,
        Err(why) => return fail(1, why),
    };
    let sealer = match sealer(&arguments.keys, &receipt) {
        Ok(sealer) => sealer,
        Err(why) => return fail(1, why),
    };
    let verdict = sealer.verify_json(&receipt);
    let key_id = verdict
        .key_id
        .as_ref()
        .map(crate::ids::ReceiptKeyId::as_str);
    let reason = verdict.reason.as_str();
    println!(
        "{}",
        serde_json::json!({ "valid": verdict.valid, "key_id": key_id, "reason": reason })
    );
    if verdict.valid {
        ExitCode::SUCCESS
    } else {
        let file = arguments.file.display();
        fail(1, format_args!("{file} is not a genuine receipt: {reason}"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("{} cannot be read: {why}", path.display());
    let size = std::fs::metadata(path)
        .map_err(|error| cannot(&error))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(cannot(&"it is larger than any receipt or key"));
    }
    std::fs::read(path).map_err(|error| cannot(&error))
}

fn sealer(keys: &VerifyKeys, receipt: &[u8]) -> Result<Sealer, String> {
    if let Some(path) = &keys.key_file {
        let secret = String::from_utf8(read(path)?).map_err(|_| {
            format!(
                "{} is not text; name the file of the secret",
                path.display()
            )
        })?;
        let secret = SecretString::from(secret.trim_end_matches(['\r', '\n']).to_owned());
        let named = Receipt::from_json(receipt)
            .map_err(|error| format!("the file is no receipt: {error}"))?
            .key_id;
        let key = ReceiptKey::new(named, secret.expose_secret().as_bytes());
        return key
            .and_then(|key| Sealer::new(vec![key]))
            .map_err(|error| error.to_string());
    }
    let mut sources = Sources {
        environment: Environment::of_process(),
        demo: if keys.demo { Demo::Yes } else { Demo::No },
        ..Sources::default()
    };
    if let Some(path) = &keys.config {
        sources.read_file(path).map_err(|error| error.to_string())?;
    }
    let config = Config::load(&sources).map_err(|error| error.to_string())?;
    compose::sealer(&config.receipt_keys).map_err(|error| error.to_string())
}
