//! Deliveries to the shop are verified by others' code: the published libraries of Standard Webhooks for
//! Python and JavaScript, which know HMAC, and our client for Python, which knows Ed25519, too.

use super::webhooks::{SECRET, SEED, accepted_of, buy, endpoint, setup};
use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::receiver::{Received, Receiver};

/// Each reads `{secret, headers, body}`, and prints the event or ends with an error.
const PYTHON: &str = r#"
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
given = json.load(sys.stdin)
try:
    event = Webhook(given["secret"]).verify(given["body"], given["headers"])
    print(json.dumps(event))
except WebhookVerificationError as refused:
    print(json.dumps({"refused": str(refused)}))
"#;
const JAVASCRIPT: &str = r#"
const { Webhook, WebhookVerificationError } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
try {
    console.log(JSON.stringify(new Webhook(given.secret).verify(given.body, given.headers)));
} catch (refused) {
    if (!(refused instanceof WebhookVerificationError)) throw refused;
    console.log(JSON.stringify({ refused: refused.message }));
}
"#;
const CLIENT: &str = r#"
import json, sys
from holdfast_client.webhooks import WebhookRefused, verify_webhook
given = json.load(sys.stdin)
try:
    webhook = verify_webhook(given["headers"], given["body"].encode(), [given["secret"]])
    print(json.dumps(webhook.json()))
except WebhookRefused as refused:
    print(json.dumps({"refused": refused.reason}))
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn python() -> Command {
    let python = root().join("target/servers/bin/python");
    assert!(python.exists(), "run ./dev servers first");
    Command::new(python)
}

/// What a verifier says of a delivery, with this body in place of its own.
fn verdict(verifier: &mut Command, secret: &str, received: &Received, body: &str) -> Value {
    let mut child = verifier
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the verifier starts");
    let given = json!({"secret": secret, "headers": received.headers, "body": body});
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "run ./dev servers first");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn published_libraries_and_our_client_verify_deliveries() {
    let receiver = Receiver::start();
    let secret = format!("whsec_{}", Base64::encode_string(&SECRET));
    let other = format!("whsec_{}", Base64::encode_string(&[7; 32]));
    let seed = format!("whsk_{}", Base64::encode_string(&SEED));
    let keys = format!("secrets = {:?}", [&seed, &other, &secret]);
    let server = setup(&endpoint("shop", &receiver.url(), &keys)).start();
    server.put_product("drop", 100);
    buy(&server, "ana", 0);
    let delivery = accepted_of(&receiver, "ana", 1).remove(0);
    let body = std::str::from_utf8(&delivery.body).unwrap();
    let forged = body.replace("ana", "eve");

    let by_python = || {
        let mut command = python();
        command.args(["-c", PYTHON]);
        command
    };
    let by_javascript = || {
        let mut command = Command::new("node");
        command.args(["-e", JAVASCRIPT]);
        command.current_dir(root().join("target/typescript"));
        command
    };
    let by_client = || {
        let mut command = python();
        command.args(["-c", CLIENT]);
        command.env("PYTHONPATH", root().join("clients/python/src"));
        command
    };
    let public = SigningKey::from_bytes(&SEED).verifying_key();
    let public = format!("whpk_{}", Base64::encode_string(public.as_bytes()));
    let verifiers: [(&dyn Fn() -> Command, &str); 5] = [
        (&by_python, &secret),
        (&by_python, &other),
        (&by_javascript, &secret),
        (&by_client, &secret),
        (&by_client, &public),
    ];
    for (verifier, key) in verifiers {
        assert_eq!(
            verdict(&mut verifier(), key, &delivery, body),
            delivery.json()
        );
        let refused = verdict(&mut verifier(), key, &delivery, &forged);
        assert!(refused["refused"].is_string(), "{refused}");
    }
}
