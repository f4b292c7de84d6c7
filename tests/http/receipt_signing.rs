//! When a receipt is signed: for the answer to the buy, or for each read.

use serde_json::{Value, json};
use support::{Request, SHOP, Server, Setup, binary};

const WHEN_READ: &str = "[receipts]\nsign = \"when_read\"";

fn read(server: &Server, path: &str) -> Value {
    let answer = server.ask(&Request::get(path).key(SHOP));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn seals(server: &Server, receipt: &Value) -> Value {
    let verdict = server.ask(&Request::post("/receipts/verify").json(receipt));
    let verdict = verdict.json();
    assert_eq!(verdict["valid"], true, "{verdict}");
    verdict["seals"].clone()
}

/// Neither the first answer nor a replay carries the signature, and every read does, of the same
/// receipt.
#[test]
fn signed_when_read_the_buy_has_the_hmac_alone_and_every_read_both() {
    let dir = tempfile::tempdir().unwrap();
    let start = |toml: &str| Setup::demo().config(toml).data_dir(dir.path()).start();
    let order = Request::buy("ana", "drop-1", "tok_ok", "receipt-ana");
    let server = start(WHEN_READ);
    let bought = server.ask(&order);
    assert_eq!(bought.status, 201, "{bought:?}");
    let receipt = bought.json()["receipt"].clone();
    assert_eq!(receipt.get("ed25519"), None, "{receipt}");
    let alone = json!({"hmac": "genuine", "ed25519": "absent"});
    assert_eq!(seals(&server, &receipt), alone);

    let text = |name: &str| receipt[name].as_str().unwrap().to_owned();
    let receipt_path = format!("/limited/receipts/{}", text("receipt_id"));
    let purchase_path = format!("/limited/purchases/{}", text("purchase_id"));
    let signed = read(&server, &receipt_path);
    let both = json!({"hmac": "genuine", "ed25519": "genuine"});
    assert_eq!(seals(&server, &signed), both);
    assert_eq!(read(&server, &purchase_path)["receipt"], signed);
    let mut stripped = signed.clone();
    stripped.as_object_mut().unwrap().remove("ed25519");
    assert_eq!(stripped, receipt, "the same but for the signature");

    let replayed = server.ask(&order);
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!(replayed.body, bought.body);
    let _ = server.stop();
    let server = start(WHEN_READ);
    assert_eq!(server.ask(&order).body, bought.body);
    let _ = server.stop();
    let server = start("");
    assert_eq!(read(&server, &receipt_path), signed);
    // The setting is that of the capture: the same answer under its key, whatever it is now.
    assert_eq!(server.ask(&order).body, bought.body);
    let other = Request::buy("bo", "drop-1", "tok_ok", "receipt-bo");
    let with_both = server.ask(&other);
    assert_eq!(seals(&server, &with_both.json()["receipt"]), both);
    let _ = server.stop();
    let server = start(WHEN_READ);
    assert_eq!(server.ask(&other).body, with_both.body);
}

#[test]
fn a_check_of_the_configuration_says_when_receipts_are_signed() {
    let check = |sign: &str| {
        let mut command = binary();
        command.args(["config", "check", "--demo"]);
        command.env("HOLDFAST_RECEIPTS__SIGN", sign);
        let ended = command.output().unwrap();
        let [shown, refused] = [ended.stdout, ended.stderr];
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ended.status.code(), text(shown), text(refused))
    };
    let said = "receipts, which are signed when they are read\n";
    let (status, shown, _) = check("when_read");
    assert_eq!((status, shown.contains(said)), (Some(0), true), "{shown}");
    let (status, shown, _) = check("at_capture");
    assert_eq!((status, shown.contains(said)), (Some(0), false), "{shown}");
    let (status, _, refused) = check("later");
    let says = refused.contains("`receipts.sign` must be at_capture or when_read");
    assert_eq!((status, says), (Some(1), true), "{refused}");
}
