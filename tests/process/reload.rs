//! SIGHUP: what takes effect while requests go on, that it is all or nothing, and what is said of
//! what waits for a restart.

use base64ct::{Base64, Encoding};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use support::receiver::Receiver;
use support::signing::{Own, event, mac};
use support::{ADMIN, Request, SHOP, Server, Setup, binary, until};

/// SIGHUP with this configuration; the log line of what came of it.
fn reload(server: &Server, config: &str) -> Value {
    let done = || -> Vec<Value> {
        let lines = server.log.lines();
        let lines = lines.iter().filter_map(|it| serde_json::from_str(it).ok());
        let done = |line: &Value| line["event"] == "reloaded" || line["event"] == "reload_failed";
        lines.filter(done).collect()
    };
    std::fs::write(&server.config, config).unwrap();
    let before = done().len();
    server.hang_up();
    until("the configuration is read again", || {
        done().get(before).cloned()
    })
}

fn reloaded(server: &Server, config: &str) -> Value {
    let line = reload(server, config);
    assert_eq!(line["event"], "reloaded", "{line}");
    line
}

fn failed(server: &Server, config: &str) -> String {
    let line = reload(server, config);
    assert_eq!(line["event"], "reload_failed", "{line}");
    line["message"].as_str().unwrap().to_owned()
}

fn key(name: &str, role: &str, key: &str, rest: &str) -> String {
    format!("[[auth.keys]]\nname = \"{name}\"\nrole = \"{role}\"\nkey = \"{key}\"\n{rest}\n")
}

#[test]
fn keys_come_and_go_and_change_at_once_on_connections_that_are_open_too() {
    const OTHER: &str = "another-key-of-a-shop";
    let admin = key("boss", "admin", ADMIN, "");
    let shop = |rest: &str| key("shop", "shop", SHOP, rest);
    let server = Setup::demo().config(&(admin.clone() + &shop(""))).start();
    let mut open = server.connect();
    let mut status = |with: &str| {
        let product = Request::get("/limited/products/drop-1").key(with);
        open.ask(&product).status
    };
    assert_eq!((status(SHOP), status(OTHER)), (200, 401));

    // 1. A key more. 2. The old one gone. 3. Another role. 4. A rate.
    let both = admin.clone() + &shop("") + &key("shop", "shop", OTHER, "");
    assert_eq!(reloaded(&server, &both)["changed"], "auth.keys");
    assert_eq!((status(SHOP), status(OTHER)), (200, 200));
    reloaded(&server, &(admin.clone() + &key("shop", "shop", OTHER, "")));
    assert_eq!((status(SHOP), status(OTHER)), (401, 200));
    reloaded(
        &server,
        &(admin.clone() + &key("shop", "auditor", OTHER, "")),
    );
    assert_eq!(status(OTHER), 403);
    reloaded(&server, &(admin.clone() + &shop("rate_per_s = 1")));
    let answers: Vec<u16> = (0..50).map(|_| status(SHOP)).collect();
    assert!(answers.contains(&429), "{answers:?}");
    // What was taken of a rate stays taken when something else changes.
    reloaded(&server, &(admin.clone() + &shop("rate_per_s = 1000000")));
    let shown = server.ask(&Request::get("/admin/config").key(ADMIN)).json();
    assert_eq!(shown["auth.keys"][1]["rate_per_s"], "1000000", "{shown}");
    assert_eq!(shown["auth.keys"][1]["key"], "***");

    // Refusals of a key that was not there at the start are in the trail.
    reloaded(&server, &(admin + &key("watch", "auditor", OTHER, "")));
    let refused = Request::post("/admin/snapshot").key(OTHER);
    assert_eq!(server.ask(&refused).status, 403);
    let trail = Request::get("/admin/audit?kind=admin_refused").key(ADMIN);
    let trail = server.ask(&trail).json();
    assert_eq!(trail["events"][0]["key_owner"], "watch", "{trail}");
    let lines = server.log.lines().join("\n");
    assert!(!lines.contains(OTHER), "no key is logged");
}

/// The certificate that a new connection is shown.
fn certificate_of(server: &Server, roots: &[CertificateDer<'static>]) -> CertificateDer<'static> {
    let mut known = rustls::RootCertStore::empty();
    for root in roots {
        known.add(root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(known)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(server.address).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

/// The certificate's expiry on `/metrics`, in Unix seconds.
fn certificate_expiry(server: &Server) -> String {
    let url = format!("https://{}/metrics", server.address);
    let fetched = std::process::Command::new("curl")
        .args(["--silent", "--fail", "--insecure", &url])
        .output()
        .unwrap();
    let text = String::from_utf8(fetched.stdout).unwrap();
    let name = "holdfast_tls_certificate_expiry_timestamp_seconds ";
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn new_connections_get_the_new_certificate_and_a_pair_that_does_not_fit_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let made = |year: i32| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let (one, two) = (made(2030), made(2040));
    let roots = [&one, &two].map(|it| it.0.der().clone());
    std::fs::write(at("cert.pem"), one.0.pem()).unwrap();
    std::fs::write(at("key.pem"), one.1.serialize_pem()).unwrap();
    let config = format!(
        "[server.tls]\ncert = {:?}\nkey = {:?}\n",
        at("cert.pem"),
        at("key.pem")
    );
    let server = Setup::demo().config(&config).start();
    assert_eq!(certificate_of(&server, &roots), roots[0]);
    assert_eq!(certificate_expiry(&server), "1893456000");

    // The certificate is replaced before its key: that pair is not taken.
    std::fs::write(at("cert.pem"), two.0.pem()).unwrap();
    let told = failed(&server, &config);
    assert!(told.contains("cert.pem`: "), "{told}");
    assert_eq!(certificate_of(&server, &roots), roots[0]);
    std::fs::write(at("key.pem"), two.1.serialize_pem()).unwrap();
    assert_eq!(reloaded(&server, &config)["changed"], "server.tls.cert");
    assert_eq!(certificate_of(&server, &roots), roots[1]);
    assert_eq!(certificate_expiry(&server), "2208988800");
    std::fs::remove_file(at("key.pem")).unwrap();
    let told = failed(&server, &config);
    assert!(told.contains("key.pem`: "), "{told}");
    assert_eq!(certificate_of(&server, &roots), roots[1]);
    // A listener begins with TLS or without.
    let line = reloaded(&server, "");
    assert_eq!(line["restart_needed"], "server.tls.cert, server.tls.key");
    assert_eq!(certificate_of(&server, &roots), roots[1]);
}

#[test]
fn a_new_rate_holds_for_the_next_attempt_and_recovery_follows_it() {
    let scratch = tempfile::tempdir().unwrap();
    let rate = |count: u32| format!("[limits]\nrate = {{ count = {count}, per_s = 3600 }}\n");
    let server = Setup::demo()
        .config(&rate(3))
        .data_dir(scratch.path())
        .start();
    let mut number = 0;
    let mut hold = |server: &Server| {
        number += 1;
        let key = format!("key-rate-{number}");
        server.ask(&Request::hold("ana", "drop-1", 1, &key)).status
    };
    let hold_and_release = |status: u16| assert_eq!(status, 201);
    hold_and_release(hold(&server));
    let line = reloaded(&server, &rate(1));
    assert_eq!(line["changed"], "limits.rate.count");
    let limited = server.ask(&Request::hold("ana", "drop-1", 1, "key-rate-more"));
    assert_eq!(
        (limited.status, limited.reason().as_str()),
        (429, "rate_limited")
    );
    assert_eq!(
        limited.header("ratelimit-policy"),
        Some("\"attempts\";q=1;w=3600"),
        "{limited:?}"
    );
    reloaded(&server, &rate(2));
    hold_and_release(hold(&server));
    assert_eq!(hold(&server), 429);
    let shown = server.ask(&Request::get("/admin/config").key(ADMIN)).json();
    assert_eq!(shown["limits.rate.count"], 2);
    let digest = |server: &Server| {
        let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
        status["recovery"]["digest"].clone()
    };
    server.stop();

    // The log says it: what it leads to is what it was, whatever the configuration of a reader.
    let changes = binary()
        .args(["log", "--kind", "limits_set"])
        .arg(scratch.path())
        .output()
        .unwrap();
    let changes = String::from_utf8(changes.stdout).unwrap();
    let counts: Vec<Value> = changes
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["rate_count"].clone())
        .collect();
    assert_eq!(counts, [json!(3), json!(1), json!(2)], "{changes}");
    let checked = binary().arg("check").arg(scratch.path()).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let told = String::from_utf8(checked.stdout).unwrap();
    let server = Setup::demo()
        .config(&rate(2))
        .data_dir(scratch.path())
        .start();
    let digest = digest(&server);
    assert!(told.contains(digest.as_str().unwrap()), "{told}");
    assert_eq!(hold(&server), 429);
}

#[test]
fn the_level_of_the_log_changes_while_running() {
    let level = |word: &str| format!("[telemetry]\nlog = \"{word}\"\n");
    let server = Setup::demo().config(&level("info")).start();
    let genuine = |number: u32| {
        let purchase = "p_00000000000fff075a17c0de5a17c0de";
        let body = event(&format!("e-{number}"), "payment.captured", purchase, 0);
        let webhook = Own::new(&format!("n-{number}"), &body);
        let webhook = webhook.signed_with("demo-webhook-secret-that-everybody-knows");
        assert_eq!(server.ask(&webhook.request()).status, 200);
        let lines = server.log.lines();
        let lines = lines.iter();
        lines.filter(|it| it.contains("webhook_genuine")).count()
    };
    assert_eq!(genuine(1), 0);
    let line = reloaded(&server, &level("debug"));
    assert_eq!(line["changed"], "telemetry.log");
    genuine(2);
    server.log.wait_for("webhook_genuine").unwrap();
    let told = failed(&server, &level("debug=debug=debug"));
    assert!(told.contains("telemetry.log"), "{told}");
    reloaded(&server, &level("info"));
    let before = genuine(3);
    assert_eq!((before, genuine(4)), (1, 1));
}

const OWN: &str = r#"
[[auth.keys]]
name = "shop"
role = "shop"
key = "a-key-of-the-shop-0123456789"
[[auth.keys]]
name = "boss"
role = "admin"
key = "a-key-of-the-boss-0123456789"
[payments]
gateway = "sandbox"
[[receipts.hmac_keys]]
id = "r1"
key = "a-key-that-seals-receipts-0123456789"
"#;

#[test]
fn no_secret_serves_two_purposes_whether_a_reload_or_an_operator_sets_it() {
    const BOSS: &str = "a-key-of-the-boss-0123456789";
    const ADDED: &str = "a-secret-of-webhooks-0123456789";
    let server = Setup::plain().config(OWN).start();
    let add = |id: &str, secret: &str| {
        let body = json!({ "id": id, "key": secret });
        let request = Request::post("/admin/webhooks/secrets")
            .key(BOSS)
            .json(&body);
        server.ask(&request)
    };
    for taken in [
        BOSS,
        "a-key-that-seals-receipts-0123456789",
        "demo-webhook-secret-that-everybody-knows",
    ] {
        let refused = add("w1", taken);
        assert_eq!(refused.status, 400, "{refused:?}");
        let told = refused.json();
        assert_eq!(told["errors"][0]["field"], "key", "{told}");
        assert!(told.to_string().contains("another purpose"), "{told}");
    }
    assert_eq!(add("w1", ADDED).status, 201);

    let twice = OWN.to_owned() + &key("new", "shop", ADDED, "");
    let told = failed(&server, &twice);
    assert!(told.contains("`w1`") && !told.contains(ADDED), "{told}");
    let product = Request::get("/limited/products").key(ADDED);
    assert_eq!(server.ask(&product).status, 401, "nothing has changed");
    // Once a reload has set a key, no operator can sign webhooks with it.
    let other = "another-key-of-the-shop-0123456789";
    reloaded(&server, &(OWN.to_owned() + &key("new", "shop", other, "")));
    assert_eq!(add("w2", other).status, 400);
}

#[test]
fn a_file_that_is_wrong_anywhere_changes_nothing_and_the_rest_waits_for_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let rules = scratch.path().join("rules.toml");
    let rule = "[[rule]]\nname = \"one\"\nwhen = \"quantity > 900\"\nthen = \"block\"\n";
    std::fs::write(&rules, rule).unwrap();
    let admin = key("boss", "admin", ADMIN, "") + &key("shop", "shop", SHOP, "");
    let file = |path: &Path| format!("[risk]\nrules_file = {path:?}\n");
    let server = Setup::demo()
        .config(&(admin.clone() + &file(&rules)))
        .start();

    let another = "another-key-of-a-shop";
    let more = admin.clone() + &key("more", "shop", another, "");
    let product = Request::get("/limited/products").key(another);
    let none = scratch.path().join("none");
    let wrong = |line: &str| more.clone() + line;
    std::fs::write(scratch.path().join("wrong.toml"), "[[rule]]\nname = 7\n").unwrap();
    for (config, told) in [
        (wrong("[server"), "line"),
        (wrong(&file(&none)), "cannot read"),
        (
            wrong(&file(&scratch.path().join("wrong.toml"))),
            "line 2, column 8",
        ),
        (
            wrong(&format!("[risk]\nmodel_file = {none:?}\n")),
            "cannot read",
        ),
        (wrong("[telemetry]\nlog = \"=\"\n"), "telemetry.log"),
    ] {
        let said = failed(&server, &config);
        assert!(said.contains(told), "{said}");
        assert_eq!(server.ask(&product).status, 401, "{said}");
    }
    let line = reloaded(
        &server,
        &(more + "[drop]\nhold_ttl_s = 7\n[server]\ndrain_s = 7\n"),
    );
    assert_eq!(server.ask(&product).status, 200);
    assert_eq!(line["changed"], "auth.keys, risk.rules_file");
    assert_eq!(line["restart_needed"], "drop.hold_ttl_s, server.drain_s");
    let shown = server.ask(&Request::get("/admin/config").key(ADMIN)).json();
    assert_eq!(shown["drop.hold_ttl_s"], 300, "what is in force is shown");
}

/// The endpoint `shop` at `url` with these keys.
fn endpoint(url: &str, keys: &[&[u8; 32]], more: &str) -> String {
    let key = |it: &&[u8; 32]| format!("whsec_{}", Base64::encode_string(*it));
    let keys: Vec<String> = keys.iter().map(key).collect();
    format!(
        "[report.batch]\nwait_ms = 2\n[[report.webhooks]]\nname = \"shop\"\nurl = \"{url}\"\nsecrets = {keys:?}\n\
         allow_private = true\nretry_first_ms = 20\nretry_max_ms = 200\n{more}\n"
    )
}

fn buy(server: &Server, user: &str) {
    let buy = Request::buy(user, "drop-1", "tok_ok", &format!("key-of-{user}"));
    assert_eq!(server.ask(&buy).status, 201);
}

#[test]
fn the_next_delivery_to_the_shop_is_signed_with_the_new_secrets_or_nothing_changes() {
    let (one, two, three) = ([1; 32], [2; 32], [3; 32]);
    let receiver = Receiver::start();
    let config = |keys: &[&[u8; 32]], more: &str| endpoint(&receiver.url(), keys, more);
    let server = Setup::demo().config(&config(&[&one], "")).start();
    let signed_by = |user: &str| -> Vec<u8> {
        buy(&server, user);
        let delivery = until("it is delivered", || {
            let accepted = receiver.accepted();
            accepted.into_iter().find(|it| it.user() == user)
        });
        let header = |name: &str| delivery.headers[name].clone();
        let body = std::str::from_utf8(&delivery.body).unwrap();
        let signed = format!(
            "{}.{}.{body}",
            header("webhook-id"),
            header("webhook-timestamp")
        );
        let by = |signature: &str| {
            let keys = [&one, &two, &three].into_iter();
            let key = keys.clone().find(|key| {
                signature == format!("v1,{}", Base64::encode_string(&mac(*key, &signed)))
            });
            key.expect("it is by one of the keys")[0]
        };
        header("webhook-signature").split(' ').map(by).collect()
    };
    assert_eq!(signed_by("ana"), [1]);
    let line = reloaded(&server, &config(&[&two, &one], ""));
    assert_eq!(
        (&line["changed"], &line["restart_needed"]),
        (&json!("report.webhooks"), &json!(""))
    );
    assert_eq!(signed_by("bo"), [2, 1]);
    let shown = server.ask(&Request::get("/admin/config").key(ADMIN)).json();
    assert_eq!(shown["report.webhooks"][0]["keys"], 2, "{shown}");

    // A file that is not there: nothing of it is taken.
    let told = failed(&server, &config(&[&three], "ca_file = \"/no/such.pem\""));
    assert!(
        told.contains("ca_file") && told.contains("/no/such.pem"),
        "{told}"
    );
    assert_eq!(signed_by("cyd"), [2, 1]);
    let ended = Setup::demo()
        .config(&config(&[&one], "ca_file = \"/no/such.pem\""))
        .run();
    assert_eq!(ended.status.code(), Some(1));
    // Another setting waits for a restart, and the secret does not.
    let line = reloaded(&server, &config(&[&three], "parallel_max = 2"));
    assert_eq!(
        (&line["changed"], &line["restart_needed"]),
        (&json!("report.webhooks"), &json!("report.webhooks"))
    );
    assert_eq!(signed_by("dee"), [3]);
}

#[test]
fn the_authorities_of_an_endpoint_are_read_again() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let made = || {
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let (shops, other) = (made(), made());
    std::fs::write(at("cert.pem"), shops.0.pem()).unwrap();
    std::fs::write(at("key.pem"), shops.1.serialize_pem()).unwrap();
    std::fs::write(at("ca.pem"), other.0.pem()).unwrap();
    let tls = format!(
        "[server.tls]\ncert = {:?}\nkey = {:?}\n",
        at("cert.pem"),
        at("key.pem")
    );
    // It speaks TLS, and knows no such path.
    let shop = Setup::demo().config(&tls).start();
    let url = format!("https://localhost:{}/hooks", shop.address.port());
    let config = endpoint(&url, &[&[1; 32]], &format!("ca_file = {:?}", at("ca.pem")));
    let server = Setup::demo().config(&config).start();
    buy(&server, "ana");
    let fails = |why: &str| {
        until("the endpoint fails for this reason", || {
            let sinks = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
            let failure = sinks["sinks"][0]["failure"].as_str()?.to_owned();
            failure.contains(why).then_some(())
        });
    };
    fails("certificate");
    std::fs::write(at("ca.pem"), shops.0.pem()).unwrap();
    assert_eq!(reloaded(&server, &config)["changed"], "report.webhooks");
    fails("answered 40");
}
