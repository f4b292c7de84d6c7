//! Owns `receipt verify`: checking a receipt without the server, by its HMAC with the secret, by its
//! signature with public keys only, or by both. The verdict says which seals were checked.

use super::{Verify, VerifyKeys, compose, fail, print};
use crate::config::{Config, Demo, Environment, Sources};
use crate::receipts::{PublicKey, Receipt, ReceiptKey, ReceiptVerdict, Sealer, Verifier, jwks};
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::process::ExitCode;

/// Maximum size of a file; a receipt or a key is much smaller.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Verifies the receipt in a file; the verdict is a line of JSON on stdout.
pub(super) fn verify(arguments: &Verify) -> ExitCode {
    let receipt = match read(&arguments.file) {
        Ok(receipt) => receipt,
        Err(why) => return fail(1, why),
    };
    let verdict = match verdict(&arguments.keys, &receipt) {
        Ok(verdict) => verdict,
        Err(why) => return fail(1, why),
    };
    let reason = verdict.reason.as_str();
    let status = if verdict.valid {
        ExitCode::SUCCESS
    } else {
        let file = arguments.file.display();
        fail(1, format_args!("{file} is not a genuine receipt: {reason}"))
    };
    print(format_args!("{}\n", verdict.to_json()), status)
}

/// A receipt or a key.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    crate::files::read(path, FILE_BYTES_MAX)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn verdict(keys: &VerifyKeys, receipt: &[u8]) -> Result<ReceiptVerdict, String> {
    if keys.config.is_some() || keys.demo {
        return Ok(configured(keys)?.verify_json(receipt));
    }
    let named = match Receipt::from_json(receipt) {
        Ok(named) => named,
        Err(malformed) => return Ok(ReceiptVerdict::of_malformed(malformed)),
    };
    let hmac = keys
        .key_file
        .as_deref()
        .map(|path| hmac_key(path, &named))
        .transpose()?;
    let ed25519 = match (&keys.jwks, &keys.public_key) {
        (Some(path), _) => Some(jwks::read_set(&read(path)?).map_err(|why| about(path, &why))?),
        (None, Some(path)) => Some(public_key(path, &named)?),
        (None, None) => None,
    };
    let verifier = Verifier {
        hmac: hmac.as_ref().map(std::slice::from_ref),
        ed25519: ed25519.as_deref(),
    };
    Ok(verifier.verify(&named))
}

/// The key with the name in the receipt's HMAC.
fn hmac_key(path: &Path, named: &Receipt) -> Result<ReceiptKey, String> {
    let secret = SecretString::from(text(path)?.trim_end_matches(['\r', '\n']).to_owned());
    let key = ReceiptKey::new(named.key_id.clone(), secret.expose_secret().as_bytes());
    key.map_err(|error| error.to_string())
}

/// A JSON Web Key with its name, or a key without one, which gets the name in the receipt's
/// signature. None if the receipt has no signature.
fn public_key(path: &Path, named: &Receipt) -> Result<Vec<PublicKey>, String> {
    let text = text(path)?;
    let key = if text.trim_start().starts_with('{') {
        jwks::read_key(text.as_bytes()).map_err(|why| about(path, &why))?
    } else {
        let Some(signed) = &named.ed25519 else {
            return Ok(Vec::new());
        };
        PublicKey::from_text(signed.key_id.clone(), &text).map_err(|why| about(path, &why))?
    };
    Ok(vec![key])
}

fn text(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| about(path, &"is not text; name the key's file"))
}

fn about(path: &Path, what: &dyn std::fmt::Display) -> String {
    format!("{} {what}", path.display())
}

fn configured(keys: &VerifyKeys) -> Result<Sealer, String> {
    let mut sources = Sources {
        environment: Environment::of_process(),
        demo: if keys.demo { Demo::Yes } else { Demo::No },
        ..Sources::default()
    };
    if let Some(path) = &keys.config {
        sources.read_file(path).map_err(|error| error.to_string())?;
    }
    let config = Config::load(&sources).map_err(|error| error.to_string())?;
    compose::sealer(&config).map_err(|error| error.to_string())
}
