//! Receipts bought over HTTP, verified by a program that is not ours (OpenSSL) and by ours without
//! any secret, with the public keys that the core publishes.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{Request, SHOP, Server, Setup, binary};

fn buy(server: &Server, user: &str) -> Value {
    let key = format!("receipt-{user}");
    let bought = server.ask(&Request::buy(user, "drop-1", "tok_ok", &key));
    assert_eq!(bought.status, 201, "{bought:?}");
    bought.json()["receipt"].clone()
}

fn jwks(server: &Server) -> Value {
    let answer = server.ask(&Request::get("/.well-known/jwks.json"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let kind = header("content-type");
    assert_eq!(kind.as_deref(), Some("application/jwk-set+json"));
    let cached = header("cache-control");
    assert_eq!(cached.as_deref(), Some("public, max-age=3600"));
    answer.json()
}

fn openssl(arguments: &[&str], dir: &Path) -> Output {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(dir);
    command.output().expect("OpenSSL is installed")
}

fn bytes(text: &Value) -> Vec<u8> {
    hex::decode(text.as_str().unwrap()).unwrap()
}

/// The public key's PEM, put together from the key set as RFC 8410 says.
fn pem(jwk: &Value, dir: &Path) -> PathBuf {
    let x = jwk["x"]
        .as_str()
        .unwrap()
        .replace('-', "+")
        .replace('_', "/");
    let x = {
        std::fs::write(dir.join("x.b64"), format!("{x}=\n")).unwrap();
        let decoded = openssl(&["base64", "-d", "-in", "x.b64"], dir);
        decoded.stdout
    };
    assert_eq!(x.len(), 32);
    let prefix = hex::decode("302a300506032b6570032100").unwrap();
    std::fs::write(dir.join("key.der"), [prefix, x].concat()).unwrap();
    let convert = [
        "pkey", "-pubin", "-inform", "DER", "-in", "key.der", "-out", "key.pem",
    ];
    let converted = openssl(&convert, dir);
    assert!(converted.status.success(), "{converted:?}");
    dir.join("key.pem")
}

/// Checks the signature the way the documentation tells, without a line of this program.
fn openssl_verifies(receipt: &Value, dir: &Path) -> bool {
    let hash = bytes(&receipt["integrity_hash"]);
    let key_id = receipt["ed25519"]["key_id"].as_str().unwrap().as_bytes();
    let message = [b"holdfast-receipt-sign-v1\n", hash.as_slice(), key_id].concat();
    std::fs::write(dir.join("message"), message).unwrap();
    std::fs::write(
        dir.join("signature"),
        bytes(&receipt["ed25519"]["signature"]),
    )
    .unwrap();
    let verify = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "message",
        "-sigfile",
        "signature",
    ];
    openssl(&verify, dir).status.success()
}

struct Verdict {
    status: Option<i32>,
    shown: Value,
}

fn verify(receipt: &Value, arguments: &[&str], dir: &Path) -> Verdict {
    std::fs::write(dir.join("receipt.json"), receipt.to_string()).unwrap();
    let mut command = binary();
    command
        .args(["receipt", "verify", "receipt.json"])
        .args(arguments)
        .current_dir(dir)
        .stderr(Stdio::piped());
    let ended = command.output().unwrap();
    Verdict {
        status: ended.status.code(),
        shown: serde_json::from_slice(&ended.stdout).unwrap_or(Value::Null),
    }
}

#[test]
fn anybody_verifies_a_receipt_with_the_published_key() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Setup::demo().start();
    let receipt = buy(&server, "ana");
    let path = format!(
        "/limited/receipts/{}",
        receipt["receipt_id"].as_str().unwrap()
    );
    let again = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(
        again, receipt,
        "the signature is the same whenever it is asked"
    );

    let set = jwks(&server);
    assert_eq!(set["keys"][0]["kid"], receipt["ed25519"]["key_id"]);
    pem(&set["keys"][0], dir);
    assert!(openssl_verifies(&receipt, dir));
    let mut forged = receipt.clone();
    forged["integrity_hash"] = json!("0".repeat(64));
    assert!(!openssl_verifies(&forged, dir));

    std::fs::write(dir.join("jwks.json"), set.to_string()).unwrap();
    std::fs::write(dir.join("jwk.json"), set["keys"][0].to_string()).unwrap();
    std::fs::write(
        dir.join("secret"),
        "demo-receipt-key-that-everybody-knows\n",
    )
    .unwrap();
    let mut changed = receipt.clone();
    changed["user_id"] = json!("bo");
    let mut stripped = receipt.clone();
    stripped.as_object_mut().unwrap().remove("ed25519");
    let (jwks, jwk, pem) = (
        ["--jwks", "jwks.json"],
        ["--public-key", "jwk.json"],
        ["--public-key", "key.pem"],
    );
    let secret = ["--key-file", "secret"];
    let both = ["--key-file", "secret", "--jwks", "jwks.json"];
    let cases: [(&Value, &[&str], i32, [&str; 3]); 12] = [
        (&receipt, &jwks, 0, ["genuine", "not_checked", "genuine"]),
        (&receipt, &jwk, 0, ["genuine", "not_checked", "genuine"]),
        (&receipt, &pem, 0, ["genuine", "not_checked", "genuine"]),
        (&receipt, &secret, 0, ["genuine", "genuine", "not_checked"]),
        (&receipt, &both, 0, ["genuine", "genuine", "genuine"]),
        (&receipt, &["--demo"], 0, ["genuine", "genuine", "genuine"]),
        (
            &changed,
            &jwks,
            1,
            ["hash_mismatch", "not_checked", "genuine"],
        ),
        (&stripped, &jwks, 1, ["unsigned", "not_checked", "absent"]),
        (&stripped, &pem, 1, ["unsigned", "not_checked", "absent"]),
        (&stripped, &both, 0, ["genuine", "genuine", "absent"]),
        (&stripped, &["--demo"], 0, ["genuine", "genuine", "absent"]),
        (&stripped, &secret, 0, ["genuine", "genuine", "absent"]),
    ];
    for (receipt, arguments, status, [reason, hmac, ed25519]) in cases {
        let verdict = verify(receipt, arguments, dir);
        assert_eq!(verdict.status, Some(status), "{arguments:?}: {receipt}");
        let wanted = json!({
            "valid": status == 0,
            "key_id": "demo-r1",
            "reason": reason,
            "seals": {"hmac": hmac, "ed25519": ed25519},
        });
        assert_eq!(verdict.shown, wanted, "{arguments:?}");
    }
    for usage in [
        &["--jwks", "jwks.json", "--public-key", "key.pem"][..],
        &["--demo", "--jwks", "jwks.json"],
        &[],
    ] {
        assert_eq!(verify(&receipt, usage, dir).status, Some(2), "{usage:?}");
    }
    assert_eq!(verify(&receipt, &["--jwks", "secret"], dir).status, Some(1));
}

/// Keys as an operator makes them, a rotation, and a key retired to its public half.
#[test]
fn keys_made_with_openssl_sign_rotate_and_retire() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for name in ["one.pem", "two.pem"] {
        let made = openssl(&["genpkey", "-algorithm", "ed25519", "-out", name], dir);
        assert!(made.status.success(), "{made:?}");
    }
    let public = openssl(&["pkey", "-in", "one.pem", "-pubout"], dir).stdout;
    let public = String::from_utf8(public).unwrap();
    let entry = |id: &str, file: &str| {
        let path = dir.join(file);
        format!("[[receipts.ed25519_keys]]\nid = \"{id}\"\nkey = {{ file = {path:?} }}\n")
    };
    let data = dir.join("data");
    let start = |keys: &str| Setup::demo().config(keys).data_dir(&data).start();
    let names = |server: &Server| {
        let set = jwks(server);
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    let server = start(&entry("e1", "one.pem"));
    let first = buy(&server, "ana");
    assert_eq!(first["ed25519"]["key_id"], "e1");
    let _ = server.stop();

    let server = start(&(entry("e2", "two.pem") + &entry("e1", "one.pem")));
    assert_eq!(names(&server), ["e2", "e1"]);
    assert_eq!(buy(&server, "bo")["ed25519"]["key_id"], "e2");
    let path = format!(
        "/limited/receipts/{}",
        first["receipt_id"].as_str().unwrap()
    );
    assert_eq!(server.ask(&Request::get(&path).key(SHOP)).json(), first);
    let _ = server.stop();

    let retired =
        format!("[[receipts.ed25519_keys]]\nid = \"e1\"\npublic = \"\"\"{public}\"\"\"\n");
    let server = start(&(entry("e2", "two.pem") + &retired));
    assert_eq!(names(&server), ["e2", "e1"]);
    let check = |receipt: &Value| {
        server
            .ask(&Request::post("/receipts/verify").json(receipt))
            .json()
    };
    let seals = json!({"hmac": "genuine", "ed25519": "genuine"});
    let shown = check(&first);
    assert_eq!((&shown["valid"], &shown["seals"]), (&json!(true), &seals));
    let unsigned = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(unsigned.get("ed25519"), None);
    assert_eq!(check(&unsigned)["reason"], "genuine");
    let mut swapped = first.clone();
    swapped["ed25519"]["key_id"] = json!("e2");
    assert_eq!(check(&swapped)["reason"], "signature_mismatch");
}

#[test]
fn signing_keys_that_do_not_read_stop_the_start_without_being_shown() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let wrong = seed.replace('9', "g");
    for (keys, told) in [
        (format!("id = \"e1\"\nkey = \"{wrong}\""), "the `key` of e1"),
        (
            format!(
                "id = \"e1\"\npublic = \"{public}\"\n[[receipts.ed25519_keys]]\nid = \"e2\"\nkey = \"{seed}\""
            ),
            "has no secret",
        ),
        (
            format!("id = \"e1\"\nkey = \"{seed}\"\npublic = \"{public}\""),
            "is set together with `key`",
        ),
        ("id = \"e1\"".to_owned(), "without its `key`"),
        ("id = \"e1\"\nkey = \"short\"".to_owned(), "has fewer than"),
        (format!("id = \"e 1\"\nkey = \"{seed}\""), "must be 1 to 64"),
    ] {
        let config = format!("[[receipts.ed25519_keys]]\n{keys}");
        let ended = Setup::demo().config(&config).run();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{keys}: {log}");
        assert!(log.contains(told), "{keys}: {log}");
        assert!(!log.contains(seed) && !log.contains(&wrong), "{log}");
    }
}

/// Two regions: each seals with keys of its own, and has the other's public keys.
#[test]
fn a_region_with_the_public_keys_only_verifies_as_well() {
    let home = Setup::demo().start();
    let receipt = buy(&home, "ana");
    let jwk = &jwks(&home)["keys"][0];
    let (kid, x) = (jwk["kid"].as_str().unwrap(), jwk["x"].as_str().unwrap());
    let public = format!("[[receipts.ed25519_keys]]\nid = \"{kid}\"\npublic = \"{x}\"\n");
    let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    let own_signature = format!("[[receipts.ed25519_keys]]\nid = \"e9\"\nkey = \"{seed}\"\n");
    let own_seal =
        "[[receipts.hmac_keys]]\nid = \"r9\"\nkey = \"0123456789abcdef0123456789abcdef\"\n";
    let check = |server: &Server, receipt: &Value| {
        let asked = Request::post("/receipts/verify").json(receipt);
        let answer = server.ask(&asked);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    for keys in [
        format!("{own_seal}{own_signature}{public}"),
        format!("{own_seal}{public}"),
    ] {
        let abroad = Setup::demo().config(&keys).start();
        let expected = json!({
            "valid": true,
            "key_id": "demo-r1",
            "reason": "genuine",
            "seals": {"hmac": "unknown_key", "ed25519": "genuine"},
        });
        assert_eq!(check(&abroad, &receipt), expected, "{keys}");
        let mut changed = receipt.clone();
        changed["amount"]["value"] = json!(1);
        let verdict = check(&abroad, &changed);
        assert_eq!(
            (&verdict["valid"], &verdict["reason"]),
            (&json!(false), &json!("hash_mismatch"))
        );
        let mut forged = receipt.clone();
        forged["ed25519"]["signature"] = json!("0".repeat(128));
        let verdict = check(&abroad, &forged);
        assert_eq!(
            (&verdict["valid"], &verdict["reason"]),
            (&json!(false), &json!("signature_mismatch"))
        );
        let mut stripped = receipt.clone();
        stripped.as_object_mut().unwrap().remove("ed25519");
        let verdict = check(&abroad, &stripped);
        assert_eq!(
            (&verdict["valid"], &verdict["reason"]),
            (&json!(false), &json!("unknown_key"))
        );
        // What it seals itself is its own.
        assert_eq!(buy(&abroad, "bo")["key_id"], "r9");
    }
}

/// However a client writes the instant, here and offline; and whatever else is sent is no receipt.
#[test]
fn a_receipt_is_verified_by_its_instant_and_hostile_ones_are_not_valid() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Setup::demo().start();
    let receipt = buy(&server, "ana");
    let at = receipt["captured_at"].as_str().unwrap();
    let bare = at.strip_suffix('Z').unwrap();
    for spelled in [
        format!("{bare}+00:00"),
        format!("{bare}000Z"),
        format!("{bare}000-00:00"),
    ] {
        let mut same = receipt.clone();
        same["captured_at"] = json!(spelled);
        let verdict = server.ask(&Request::post("/receipts/verify").json(&same));
        assert_eq!(verdict.json()["reason"], "genuine", "{spelled}");
        assert_eq!(verify(&same, &["--demo"], dir).status, Some(0), "{spelled}");
    }
    let text = receipt.to_string();
    let quantity = "\"quantity\":1";
    let mut hostile = vec![
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "1e999".to_owned(),
        "\"receipt\"".to_owned(),
        format!("[{text}]"),
        text.replace(quantity, "\"quantity\":1,\"quantity\":1"),
        text.replace(quantity, "\"quantity\":1,\"quantit\\u0079\":1"),
        text.replace(at, "2026-02-30T00:00:00.000Z"),
        text.replace(at, &"9".repeat(3_000)),
        text[..text.len() - 1].to_owned(),
        "[".repeat(4_000),
        format!("{}{text}", " ".repeat(4_096)),
    ];
    for number in [
        "1.0",
        "1e0",
        "-1",
        "1e400",
        "18446744073709551616",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "{}",
    ] {
        hostile.push(text.replace(quantity, &format!("\"quantity\":{number}")));
        hostile.push(text.replace("\"value\":1999", &format!("\"value\":{number}")));
    }
    for field in [
        "receipt_id",
        "captured_at",
        "integrity_hash",
        "hmac",
        "amount",
        "ed25519",
    ] {
        for value in [
            json!(null),
            json!(1),
            json!([]),
            json!({}),
            json!("\u{0}"),
            json!("é"),
        ] {
            let mut changed = receipt.clone();
            changed[field] = value;
            hostile.push(changed.to_string());
        }
    }
    assert!(
        text.contains(quantity) && text.contains("\"value\":1999"),
        "{text}"
    );
    for body in hostile {
        let answer = server.ask(&Request::post("/receipts/verify").body(body.as_bytes()));
        match answer.status {
            200 => assert_eq!(answer.json()["valid"], false, "{body}"),
            status => assert_eq!(status, 400, "{body}: {answer:?}"),
        }
    }
    let not_utf8 = Request::post("/receipts/verify").body(&[0xff, 0xfe, 0x00]);
    assert!(matches!(server.ask(&not_utf8).status, 200 | 400));
    // Offline, too, a file that is no receipt gets its verdict.
    let verdict = verify(&json!({"receipt_id": 1}), &["--demo"], dir);
    let by_key = {
        std::fs::write(dir.join("jwks.json"), jwks(&server).to_string()).unwrap();
        verify(&json!({"receipt_id": 1}), &["--jwks", "jwks.json"], dir)
    };
    for verdict in [verdict, by_key] {
        assert_eq!(verdict.status, Some(1));
        assert_eq!(verdict.shown["reason"], "malformed");
    }
}

#[test]
fn a_receipt_whose_key_was_removed_names_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = |id: &str| {
        let secret = format!("{id} seals receipts and has enough bytes");
        format!("[[receipts.hmac_keys]]\nid = \"{id}\"\nkey = \"{secret}\"\n")
    };
    let start = |keys: &str| Setup::demo().config(keys).data_dir(dir.path()).start();
    let server = start(&key("r1"));
    let receipt = buy(&server, "ana");
    assert_eq!(receipt["key_id"], "r1");
    assert!(server.stop().0.success());

    let server = start(&key("r2"));
    let receipt_id = receipt["receipt_id"].as_str().unwrap();
    let purchase = format!("/limited/purchases/{}", receipt_id.replacen("r_", "p_", 1));
    let shown = server.ask(&Request::get(&purchase).key(SHOP)).json();
    assert_eq!(shown["status"], "captured");
    assert_eq!(shown["receipt"], Value::Null);
    let missing = json!({"receipt_id": receipt_id, "key_id": "r1"});
    assert_eq!(shown["receipt_unavailable"], missing, "{shown}");
    let path = format!("/limited/receipts/{receipt_id}");
    let alone = server.ask(&Request::get(&path).key(SHOP));
    assert_eq!(alone.reason(), "receipt_unavailable");
    assert_eq!(alone.json()["key_id"], "r1", "{alone:?}");
    assert!(alone.json()["detail"].as_str().unwrap().contains("r1"));
    // The signature of the demo's key would be enough.
    let mut unsigned = receipt.clone();
    unsigned.as_object_mut().unwrap().remove("ed25519");
    let verdict = server.ask(&Request::post("/receipts/verify").json(&unsigned));
    let verdict = verdict.json();
    assert_eq!(verdict["reason"], "unknown_key", "{verdict}");
    assert_eq!(verdict["missing_keys"], json!(["r1"]), "{verdict}");
    assert!(server.stop().0.success());

    // Put back, it shows what it sealed, byte for byte.
    let server = start(&(key("r2") + &key("r1")));
    let shown = server.ask(&Request::get(&purchase).key(SHOP)).json();
    assert_eq!(shown["receipt"], receipt);
    assert_eq!(shown.get("receipt_unavailable"), None);
    let verdict = server.ask(&Request::post("/receipts/verify").json(&unsigned));
    assert_eq!(verdict.json()["reason"], "genuine");
    assert_eq!(verdict.json().get("missing_keys"), None);
}
