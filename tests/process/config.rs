//! Settings: where they come from, which override which, what is refused and how it is said.

use holdfast::config::{
    Config, ConfigError, Demo, Environment, GatewayKind, HIDDEN, RELOADABLE, Sources, keys,
};
use std::path::Path;
use support::{Setup, binary, check_table};

const WHOLE: &str = r#"
    [[auth.keys]]
    name = "shop"
    role = "shop"
    key = "a-secret-of-a-shop-0123456789"
    [payments]
    gateway = "sandbox"
    [[receipts.hmac_keys]]
    id = "r1"
    key = { env = "RECEIPT_KEY" }
"#;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let secret = ("RECEIPT_KEY", "0123456789abcdef0123456789abcdef");
    let pairs = environment.iter().copied().chain([secret]);
    Config::load(&Sources {
        file: Some(("holdfast.toml".into(), file.to_owned())),
        environment: Environment::from_pairs(pairs),
        ..Sources::default()
    })
}

/// What is said of a whole configuration with this section beside it.
#[cfg(not(all(
    feature = "kafka",
    feature = "otlp",
    feature = "postgres",
    feature = "redis-import"
)))]
pub fn refusal_of(section: &str) -> String {
    refusal(&format!("{WHOLE}\n{section}"), &[])
}

fn refusal(file: &str, environment: &[(&str, &str)]) -> String {
    load(file, environment)
        .expect_err("it should be refused")
        .to_string()
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let file = format!(
        "{WHOLE}\n[server]\nlisten = \"127.0.0.1:1\"\ndrain_s = 7\n[storage]\nsync = \"always\""
    );
    let config = load(&file, &[]).unwrap();
    assert_eq!(
        (config.server.listen.port(), config.server.drain.as_secs()),
        (1, 7)
    );
    let environment = [
        ("HOLDFAST_SERVER__LISTEN", "127.0.0.1:2"),
        ("HOLDFAST_LIMITS__RATE__COUNT", "9"),
        ("HOLDFAST_LIMITS__RATE", "{ per_s = 3 }"),
        ("HOLDFAST_STORAGE__SYNC__INTERVAL_MS", "50"),
        ("HOLDFAST_DROP__CURRENCIES", "[\"KRW\"]"),
        ("HOLDFAST_NOT_A_KEY", "ignored: it has no section"),
    ];
    let config = load(&file, &environment).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!((config.sale.rate_count, config.sale.rate_per_s), (9, 3));
    assert_eq!(config.storage.sync_interval_ms, Some(50));
    assert_eq!(config.sale.currencies[0].as_str(), "KRW");
    let flags = Sources {
        file: Some(("holdfast.toml".into(), file)),
        environment: Environment::from_pairs(
            environment
                .into_iter()
                .chain([("RECEIPT_KEY", "0123456789abcdef0123456789abcdef")]),
        ),
        listen: Some("127.0.0.1:3".to_owned()),
        ..Sources::default()
    };
    assert_eq!(Config::load(&flags).unwrap().server.listen.port(), 3);
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    for (line, unknown, nearest) in [
        (
            "[server]\nlisten_on = \"x\"",
            "server.listen_on",
            "server.listen",
        ),
        (
            "[server]\nmax_conections = 1",
            "server.max_conections",
            "server.max_connections",
        ),
        ("[sever]\nlisten = \"x\"", "sever", "server.listen"),
        (
            "[limits]\nrate = { cuont = 1 }",
            "limits.rate.cuont",
            "limits.rate.count",
        ),
        (
            "[storage.sync]\ninterval = 1",
            "storage.sync.interval",
            "storage.sync.interval_ms",
        ),
        ("[colours]\nred = 1", "colours", ""),
    ] {
        let told = refusal(&format!("{WHOLE}\n{line}"), &[]);
        assert!(told.contains(&format!("`{unknown}`")), "{told}");
        assert!(told.contains(nearest), "{told}");
    }
    let told = refusal(WHOLE, &[("HOLDFAST_SERVER__LISTN", "x")]);
    assert!(
        told.contains("HOLDFAST_SERVER__LISTN") && told.contains("`server.listen`"),
        "{told}"
    );
}

#[test]
fn values_out_of_range_are_refused_by_their_key() {
    for (line, key) in [
        ("[server]\nlisten = \"somewhere\"", "server.listen"),
        ("[server]\nmax_connections = 0", "server.max_connections"),
        ("[server]\nadmin_listen = \"8081\"", "server.admin_listen"),
        (
            "[server]\nlisten = \"127.0.0.1:81\"\nadmin_listen = \"127.0.0.1:81\"",
            "server.admin_listen",
        ),
        ("[server]\ndrain_s = -1", "server.drain_s"),
        ("[server]\ndrain_s = 1.5", "server.drain_s"),
        ("[server]\nheader_bytes_max = 10", "server.header_bytes_max"),
        ("[server]\ntls = { cert = \"c.pem\" }", "server.tls.key"),
        ("[storage]\nring_bytes = 8388607", "storage.ring_bytes"),
        ("[storage]\nsync = \"sometimes\"", "storage.sync"),
        ("[storage]\nwitness = 1", "storage.witness"),
        ("[drop]\ncurrencies = []", "drop.currencies"),
        ("[drop]\ncurrencies = [\"usd\"]", "drop.currencies"),
        ("[drop]\ncurrencies = [\"USD\", \"USD\"]", "drop.currencies"),
        ("[limits]\nrate = 5", "limits.rate"),
        (
            "[payments.stripe]\nsecret_key = \"short\"",
            "payments.stripe.secret_key",
        ),
        (
            "[payments.stripe]\nsecret_key = \"sk_test_\\u00e9\"",
            "payments.stripe.secret_key",
        ),
        (
            "[payments.stripe]\napi_base = \"http://api.stripe.com\"",
            "payments.stripe.api_base",
        ),
        (
            "[payments.stripe]\nconnections_max = 0",
            "payments.stripe.connections_max",
        ),
        (
            "[[auth.keys]]\nname = \"x\"\nrole = \"root\"\nkey = \"a-secret-of-root-0123456789\"",
            "auth.keys[1].role` of `x`",
        ),
        (
            "[[auth.keys]]\nname = \"x\"\nrole = \"shop\"\nkey = \"short\"",
            "auth.keys[1].key` of `x`",
        ),
        (
            "[[auth.keys]]\nname = \"x\"\nrole = \"shop\"\nkey = \"a-secret-of-a-shop-0123456789\"",
            "auth.keys[1].key` of `x`",
        ),
        (
            "[[auth.keys]]\nname = \"x\"\nrole = \"shop\"\nkey = { env = \"NOT_SET\" }",
            "auth.keys[1].key` of `x`",
        ),
        (
            "[[auth.keys]]\nname = \"x\"\nrole = \"shop\"\nkey = { file = \"/nonexistent/key\" }",
            "auth.keys[1].key` of `x`",
        ),
    ] {
        let told = refusal(&format!("{WHOLE}\n{line}"), &[]);
        assert!(told.contains(key), "{line}: {told}");
    }
}

#[test]
fn endpoints_of_webhooks_are_refused_by_their_key() {
    let key = "secret = \"whsec_c2hvcHMgc2hvcHMgc2hvcHMgc2hvcHMgc2hvcHM=\"";
    let url = "url = \"https://shop.example/\"";
    for (lines, field) in [
        (key.to_owned(), "url"),
        (format!("url = \"http://shop.example/\"\n{key}"), "url"),
        (format!("url = \"https://169.254.169.254/\"\n{key}"), "url"),
        (format!("url = \"https://me@shop.example/\"\n{key}"), "url"),
        (format!("name = \"My Shop\"\n{url}\n{key}"), "name"),
        (url.to_owned(), "secret"),
        (
            format!("{url}\nsecret = \"whsec_c2hvcnQgc2hvcnQgc2hvcnQ=\""),
            "secret",
        ),
        (format!("{url}\nsecrets = []"), "secrets"),
        (
            format!("{url}\n{key}\nevents = [\"admin_acted\"]"),
            "events",
        ),
        (format!("{url}\n{key}\nevents = []"), "events"),
        (format!("{url}\n{key}\nallow_http = true"), "allow_http"),
        (format!("{url}\n{key}\nparallel_max = 0"), "parallel_max"),
        (
            format!("{url}\n{key}\n[[report.webhooks]]\n{url}\n{key}"),
            "name",
        ),
    ] {
        let told = refusal(&format!("{WHOLE}\n[[report.webhooks]]\n{lines}"), &[]);
        let found = [0, 1]
            .iter()
            .any(|at| told.contains(&format!("report.webhooks[{at}].{field}")));
        assert!(found, "{lines}: {told}");
        assert!(!told.contains("c2hv"), "{told}");
    }
    let fine = format!("{WHOLE}\n[[report.webhooks]]\n{url}\n{key}");
    let shown = load(&fine, &[]).unwrap().shown().to_string();
    assert!(
        shown.contains("webhooks_shop") && !shown.contains("c2hv"),
        "{shown}"
    );
}

/// A wildcard takes every address, and that of IPv6 those of IPv4 too.
#[test]
fn listeners_that_would_take_each_others_connections_are_refused() {
    for (listen, admin, overlaps) in [
        ("0.0.0.0:81", "127.0.0.1:81", true),
        ("127.0.0.1:81", "[::]:81", true),
        ("[::1]:81", "[::]:81", true),
        ("127.0.0.1:81", "[::ffff:127.0.0.1]:81", true),
        ("127.0.0.1:81", "127.0.0.2:81", false),
        ("0.0.0.0:81", "[::1]:81", false),
        ("0.0.0.0:81", "127.0.0.1:82", false),
        ("0.0.0.0:0", "0.0.0.0:0", false),
    ] {
        let file = format!("{WHOLE}[server]\nlisten = \"{listen}\"\nadmin_listen = \"{admin}\"");
        let read = load(&file, &[]);
        assert_eq!(read.is_err(), overlaps, "{listen} {admin}: {read:?}");
        if let Err(error) = read {
            assert!(
                error.to_string().contains("`server.admin_listen`"),
                "{error}"
            );
        }
    }
}

/// Neither the place of a mistake nor its cause may show what stands there.
#[test]
fn a_mistake_is_told_with_its_place_its_cause_and_the_entry_but_without_a_secret() {
    let key = "key = \"a-secret-of-somebody-0123456789\"";
    for (more, told) in [
        (
            format!("[[auth.keys]]\nname = \"ops\"\nrole = \"root\"\n{key}"),
            "the configuration key `auth.keys[1].role` of `ops` must be shop, admin, auditor or metrics",
        ),
        (
            format!("[[auth.keys]]\nrole = \"shop\"\n{key}"),
            "the configuration key `auth.keys[1].name` has an entry without the string `name`",
        ),
        (
            format!("[[auth.keys]]\nname = \"ops\"\nrol = \"shop\"\n{key}"),
            "the configuration key `auth.keys[1].rol` is unknown; did you mean `auth.keys[].role`?",
        ),
        (
            format!("[[webhooks.secrets]]\nid = \"w1\"\nformat = \"none\"\n{key}"),
            "the configuration key `webhooks.secrets[0].format` of `w1` must be holdfast, standard or stripe",
        ),
        (
            format!("[[receipts.ed25519_keys]]\nid = \"e1\"\npublic = \"p\"\n{key}"),
            "the configuration key `receipts.ed25519_keys[0].public` of `e1` is set together with `key`; set only one of them",
        ),
        (
            "[storage]\ndata_dir = hush-this-secret".to_owned(),
            "line 13, column 12: string values must be quoted, expected literal string",
        ),
        (
            "[storage]\nhush-this-secret = 1\nhush-this-secret = 2".to_owned(),
            "line 14, column 1: duplicate key",
        ),
    ] {
        let said = refusal(&format!("{WHOLE}\n{more}"), &[]);
        assert!(said.contains(told), "{told}: {said}");
        assert!(
            !said.contains("secret-of") && !said.contains("hush"),
            "{said}"
        );
    }
}

#[test]
fn an_environment_variable_for_a_key_is_text_or_an_error() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("holdfast.toml");
    let bad = OsStr::from_bytes(b"hush\xff");
    let ended = |file: &str, name: &str| {
        std::fs::write(&path, file).unwrap();
        let mut command = binary();
        command.args(["config", "check", "--config"]).arg(&path);
        command.env("RECEIPT_KEY", "0123456789abcdef0123456789abcdef");
        let ended = command.env(name, bad).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        (ended.status.code(), said)
    };
    for (name, told) in [
        (
            "HOLDFAST_STORAGE__DATA_DIR",
            "the environment variable `HOLDFAST_STORAGE__DATA_DIR` is not UTF-8",
        ),
        (
            "RECEIPT_KEY",
            "`receipts.hmac_keys[0].key` of `r1` names an environment variable that is not UTF-8",
        ),
    ] {
        let (status, said) = ended(WHOLE, name);
        assert_eq!(status, Some(1), "{said}");
        assert!(
            said.contains(told) && !said.contains("hush"),
            "{told}: {said}"
        );
    }
    // Other programs' variables are theirs.
    let (status, said) = ended(WHOLE, "ANOTHER_PROGRAM");
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "a-secret-in-a-file-0123456789\n").unwrap();
    let more =
        format!("[[auth.keys]]\nname = \"a\"\nrole = \"admin\"\nkey = {{ file = {path:?} }}");
    let config = load(&format!("{WHOLE}\n{more}"), &[]).unwrap();
    let everything = format!("{config:?} {}", config.shown());
    for secret in [
        "a-secret-of-a-shop-0123456789",
        "a-secret-in-a-file",
        "0123456789abcdef",
    ] {
        assert!(!everything.contains(secret), "{everything}");
    }
    assert_eq!(config.shown()["auth.keys"][1]["key"], HIDDEN);
    // Nor in what is said of a file that does not parse, or of a key in the wrong place.
    for broken in [
        "key = \"a-secret-of-a-shop-0123456789",
        "[server]\nlisten = \"a-secret-of-a-shop-0123456789\"",
    ] {
        assert!(!refusal(broken, &[]).contains("a-secret"), "{broken}");
    }
}

#[test]
fn short_keys_of_the_api_and_secrets_of_two_purposes_are_refused_but_for_the_demo() {
    let short = "[[auth.keys]]\nname = \"x\"\nrole = \"admin\"\nkey = \"only-23-characters-long\"";
    let told = refusal(&format!("{WHOLE}\n{short}"), &[]);
    assert!(
        told.contains("`auth.keys[1].key` of `x`") && told.contains("24"),
        "{told}"
    );

    let shared = "a-secret-that-is-used-twice-0123456789";
    let key = format!("[[auth.keys]]\nname = \"x\"\nrole = \"admin\"\nkey = \"{shared}\"");
    let hook =
        format!("[[webhooks.secrets]]\nid = \"w\"\nformat = \"holdfast\"\nkey = \"{shared}\"");
    let seal = format!("[[receipts.hmac_keys]]\nid = \"r2\"\nkey = \"{shared}\"");
    let stripe = format!("[payments.stripe]\nsecret_key = \"{shared}\"");
    let kafka = format!(
        "[report.kafka]\nbrokers = [\"k:9092\"]\nusername = \"u\"\npassword = \"{shared}\""
    );
    for (one, other, names) in [
        (&key, &hook, ["auth.keys[1].key", "webhooks.secrets[0].key"]),
        (
            &key,
            &seal,
            ["auth.keys[1].key", "receipts.hmac_keys[1].key"],
        ),
        (
            &hook,
            &seal,
            ["receipts.hmac_keys[1].key", "webhooks.secrets[0].key"],
        ),
        (
            &key,
            &stripe,
            ["auth.keys[1].key", "payments.stripe.secret_key"],
        ),
        (
            &hook,
            &kafka,
            ["report.kafka.password", "webhooks.secrets[0].key"],
        ),
    ] {
        let file = format!("{WHOLE}\n{one}\n{other}");
        let told = refusal(&file, &[]);
        assert!(names.iter().all(|name| told.contains(name)), "{told}");
        assert!(!told.contains(shared), "{told}");
        let lifted = Config::load(&Sources {
            file: Some(("holdfast.toml".into(), file)),
            environment: Environment::from_pairs([(
                "RECEIPT_KEY",
                "0123456789abcdef0123456789abcdef",
            )]),
            demo: Demo::Yes,
            ..Sources::default()
        });
        assert!(lifted.is_ok(), "{lifted:?}");
    }
}

#[test]
fn stripe_needs_its_key_and_currencies_that_it_counts_alike() {
    let file = WHOLE.replace("\"sandbox\"", "\"stripe\"");
    let told = refusal(&file, &[]);
    assert!(
        told.contains("`payments.stripe.secret_key` is not set"),
        "{told}"
    );
    let key = (
        "HOLDFAST_PAYMENTS__STRIPE__SECRET_KEY",
        "sk_test_0123456789abcdef0123456789",
    );
    let config = load(&file, &[key]).unwrap();
    assert!(matches!(config.payments.gateway, GatewayKind::Stripe(_)));
    assert_eq!(config.shown()["payments.stripe.secret_key"], HIDDEN);
    assert!(!format!("{config:?}").contains("0123456789"));
    for currency in ["ISK", "MGA", "UGX"] {
        let currencies = format!("[\"USD\", \"{currency}\"]");
        let told = refusal(&file, &[key, ("HOLDFAST_DROP__CURRENCIES", &currencies)]);
        assert!(
            told.contains("drop.currencies") && told.contains(currency),
            "{told}"
        );
    }
}

#[test]
fn without_keys_of_its_own_it_does_not_start_and_says_what_to_add() {
    for (missing, add) in [
        ("auth", "[[auth.keys]]"),
        ("receipts", "[[receipts.hmac_keys]]"),
        ("payments", "sandbox"),
    ] {
        let mut table: toml::Table = WHOLE.parse().unwrap();
        table.remove(missing);
        let told = refusal(&table.to_string(), &[]);
        assert!(told.contains(add) && told.contains("--demo"), "{told}");
    }
    let ended = Setup::plain().run();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("[[auth.keys]]"));
}

#[test]
fn the_demo_fills_only_what_is_left_out_and_stays_on_loopback() {
    let demo = |file: &str| {
        Config::load(&Sources {
            file: Some(("holdfast.toml".into(), file.to_owned())),
            demo: Demo::Yes,
            ..Sources::default()
        })
    };
    assert_eq!(demo("").unwrap().keys.len(), 2);
    let own = "[[auth.keys]]\nname = \"mine\"\nrole = \"shop\"\nkey = \"a-secret-of-mine\"";
    let config = demo(own).unwrap();
    assert_eq!(
        (config.keys.len(), config.keys[0].owner.as_str()),
        (1, "mine")
    );
    assert_eq!(config.receipt_keys[0].id.as_str(), "demo-r1");
    for open in ["0.0.0.0:8080", "192.168.0.1:8080", "[::]:8080"] {
        let told = demo(&format!("[server]\nlisten = \"{open}\""))
            .unwrap_err()
            .to_string();
        assert!(told.contains("loopback"), "{told}");
    }
    assert!(demo("[server]\nlisten = \"[::1]:8080\"").is_ok());
}

#[test]
fn the_secrets_of_the_demo_are_refused_without_it() {
    for (section, secret) in [
        (
            "auth.keys]]\nname = \"x\"\nrole = \"shop\"",
            "demo-shop-key",
        ),
        (
            "auth.keys]]\nname = \"x\"\nrole = \"admin\"",
            "demo-admin-key",
        ),
        (
            "receipts.hmac_keys]]\nid = \"x\"",
            "demo-receipt-key-that-everybody-knows",
        ),
        (
            "webhooks.secrets]]\nid = \"x\"",
            "demo-webhook-secret-that-everybody-knows",
        ),
        (
            "receipts.ed25519_keys]]\nid = \"x\"",
            "64656d6f2d7365656420746861742065766572796f6e65206b6e6f7773212121",
        ),
    ] {
        let file = format!("{WHOLE}\n[[{section}\nkey = \"{secret}\"");
        let told = refusal(&file, &[]);
        assert!(
            told.contains("the demo's") && told.contains("--demo"),
            "{told}"
        );
        assert!(!told.contains(secret), "{told}");
        let sources = Sources {
            file: Some(("holdfast.toml".into(), file)),
            environment: Environment::from_pairs([(
                "RECEIPT_KEY",
                "0123456789abcdef0123456789abcdef",
            )]),
            demo: Demo::Yes,
            ..Sources::default()
        };
        Config::load(&sources).unwrap();
    }
}

/// `config check` with this file; status, stdout, stderr.
fn checked(folder: &Path, file: &str) -> (Option<i32>, String, String) {
    let path = folder.join("holdfast.toml");
    std::fs::write(&path, file).unwrap();
    let mut command = binary();
    command.args(["config", "check", "--config"]).arg(&path);
    command.env("RECEIPT_KEY", "0123456789abcdef0123456789abcdef");
    let ended = command.current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

#[test]
fn config_check_reads_what_serve_would_and_writes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let data = "[storage]\ndata_dir = \"never-made\"\n";
    let whole = format!("{data}{WHOLE}");
    let (status, out, told) = checked(folder, &whole);
    assert_eq!((status, told.as_str()), (Some(0), ""), "{out}");
    for word in ["is valid", "1 shop, 0 admin", "sandbox", "never-made"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    assert!(!out.contains("a-secret-of-a-shop"), "{out}");

    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(at("rules.toml"), "[[rule]]\nname = 7\n").unwrap();
    std::fs::write(at("model.json"), "{").unwrap();
    let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    std::fs::write(at("cert.pem"), one.cert.pem()).unwrap();
    std::fs::write(at("own.pem"), one.signing_key.serialize_pem()).unwrap();
    std::fs::write(at("key.pem"), other.signing_key.serialize_pem()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let tls = |key: &str| format!("{whole}[server.tls]\ncert = \"cert.pem\"\nkey = \"{key}\"\n");
    let shop = |key: &str| format!("[[auth.keys]]\nname = \"b\"\nrole = \"shop\"\nkey = {key}\n");
    let with = |more: &str| format!("{whole}{more}\n");
    for (file, told) in [
        (
            "[server".to_owned(),
            "is not valid TOML at line 1, column 8: unclosed table",
        ),
        (with("[sale]"), "`sale` is unknown"),
        (with("[drop]\nhold_ttl_s = 0"), "`drop.hold_ttl_s` must be"),
        (with("[telemetry]\nlog = \"=\""), "`telemetry.log` must be"),
        (with(&shop("\"short\"")), "fewer than 24 characters"),
        (with(&shop("{ env = \"NOT_SET\" }")), "`NOT_SET` is not set"),
        (with(&shop("{ file = \"none\" }")), "from the file `none`"),
        (with(&shop("{ file = \"fifo\" }")), "is not a regular file"),
        (
            with(&shop("\"0123456789abcdef0123456789abcdef\"")),
            "has the same secret as",
        ),
        (
            with(
                "[[receipts.hmac_keys]]\nid = \"r2\"\nkey = \"demo-receipt-key-that-everybody-knows\"",
            ),
            "is the demo's",
        ),
        (
            with(
                "[[receipts.ed25519_keys]]\nid = \"e1\"\nkey = \"no-key-but-long-enough-to-be-one-0123456789abcdef\"",
            ),
            "receipts.ed25519_keys",
        ),
        (tls("none.pem"), "cannot use the TLS file `none.pem`"),
        (
            with(
                "[report.postgres]\nurl = \"postgres://writer@db.example/shop\"\nca_file = \"none.pem\"",
            ),
            "report.postgres.ca_file: none.pem",
        ),
        (
            with(
                "[backup]\nto = \"s3://drops/a\"\naccess_key = \"id\"\nsecret_key = \"a-secret-of-a-bucket\"\nca_file = \"none.pem\"",
            ),
            "none.pem",
        ),
        (tls("key.pem"), "cannot use the TLS file `cert.pem`"),
        (
            with("[risk]\nrules_file = \"rules.toml\""),
            "`rules.toml` are wrong at line 2, column 8",
        ),
        (
            with("[risk]\nmodel_file = \"model.json\""),
            "`model.json` is wrong at line 1, column 1",
        ),
    ] {
        let (status, out, said) = checked(folder, &file);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{told}: {said}");
        assert!(said.contains(told), "{told}: {said}");
        assert_eq!(said.lines().count(), 1, "one sentence: {said}");
    }
    let (status, out, _) = checked(folder, &tls("own.pem"));
    assert_eq!(status, Some(0));
    assert!(out.contains("TLS"), "{out}");
    assert!(!folder.join("never-made").exists());
    let usage = binary().args(["config", "check", "--what"]).output();
    assert_eq!(usage.unwrap().status.code(), Some(2));
    let missing = binary().args(["config", "check"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn config_check_refuses_what_would_leak_silence_or_be_lost() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let whole = format!("[storage]\ndata_dir = \"never-made\"\n{WHOLE}");
    let at = |name: &str| folder.join(name).display().to_string();
    let with = |more: &str| format!("{whole}{more}\n");
    for (file, told) in [
        (with("[telemetry]\nlog = \"wran\""), "telemetry.log"),
        (with("[telemetry]\nlog = \"\""), "telemetry.log"),
        (
            with(
                "[report.postgres]\nurl = \"postgres://writer:hush@db.example/shop?sslmode=prefer\"",
            ),
            "sslmode is disable or require",
        ),
        (
            with("[report.postgres]\nurl = \"host=db.example password=hush user=writer\""),
            "sslmode is disable or require",
        ),
        (
            with(
                "[backup]\nto = \"s3://drops/a\"\naccess_key = \"id\"\nsecret_key = \"a-secret-of-a-bucket\"\nendpoint = \"https://id:hush@minio.example\"",
            ),
            "`backup.endpoint`",
        ),
        (
            with(&format!(
                "[backup]\nto = \"file://{}\"",
                at("never-made/backup")
            )),
            "is inside storage.data_dir",
        ),
    ] {
        let (status, out, said) = checked(folder, &file);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{told}: {said}");
        assert!(said.contains(told), "{told}: {said}");
        assert!(!said.contains("hush"), "a secret is shown: {said}");
    }
}

/// `docs/configuration.md` names what a reload takes.
#[test]
fn the_documentation_names_what_takes_effect_without_a_restart() {
    let documented = include_str!("../../docs/configuration.md");
    let section = documented.split("## What SIGHUP changes").nth(1).unwrap();
    let named: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("- `"))
        .flat_map(|line| line.split('`').step_by(2))
        .filter(|word| word.contains('.') && !word.contains(' '))
        .collect();
    assert_eq!(named, RELOADABLE);
}

/// `docs/configuration.md` has a line for each key, with its default, and for nothing else.
#[test]
fn the_documentation_has_every_key_with_its_default() {
    let rows: Vec<String> = keys::all().map(row).collect();
    check_table("docs/configuration.md", "## Every key", &rows);
}

fn row(key: &keys::Setting) -> String {
    let default = match key.default {
        "" => "—".to_owned(),
        default => format!("`{default}`"),
    };
    let range = key.range.map_or(String::new(), |(least, most)| {
        format!(" {least} to {most}.")
    });
    format!("| `{}` | {default} | {}{range} |", key.path, key.what)
}

#[test]
fn a_flag_that_cannot_be_meant_is_bad_usage() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data").display().to_string();
    for (arguments, flag) in [
        (
            &["backup", "--to", "nowhere", "--data-dir", &dir][..],
            "--to",
        ),
        (
            &["restore", "--from", "nowhere", "--data-dir", &dir],
            "--from",
        ),
        (&["backup", "verify", "--from", "ftp://host/a"], "--from"),
        (&["replay", &dir, "--keys-max", "0"], "--keys-max"),
        (&["log", &dir, "--to", "the-end"], "--to"),
    ] {
        let ended = binary().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(flag), "{arguments:?}: {said}");
    }
}
