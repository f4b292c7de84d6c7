//! The operator's console: its files over HTTP, and the page in a real browser.
//!
//! The browser's part is `tests/console/console.mjs`, which drives Chromium against a server of this
//! test. `HOLDFAST_SCREENSHOTS=1` has it write `docs/images/` again.

use holdfast::money::Currency;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use support::signing::SECRETS;
use support::{ADMIN, KEYS_OF_EACH_ROLE, READER, Request, SHOP, Setup, product_terms};

const FILES: [&str; 4] = ["", "/app.js", "/console.css", "/uPlot.iife.min.js"];

#[test]
fn its_files_need_no_key_and_have_strict_headers() {
    let server = Setup::demo().config(KEYS_OF_EACH_ROLE).start();
    for file in FILES {
        let path = format!("/console{file}");
        let answer = server.ask(&Request::get(&path));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let policy = answer.header("content-security-policy").unwrap();
        for word in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(word), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let etag = answer.header("etag").unwrap();
        let again = server.ask(&Request::get(&path).header("If-None-Match", etag));
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert!(again.header("content-security-policy").is_some(), "{path}");
        let head = server.ask(&Request::new("HEAD", &path));
        assert_eq!(
            (head.status, head.header("etag")),
            (200, Some(etag)),
            "{path}"
        );
    }
    let kind = |path: &str| {
        let answer = server.ask(&Request::get(path));
        answer.header("content-type").unwrap().to_owned()
    };
    assert_eq!(kind("/console"), "text/html; charset=utf-8");
    assert_eq!(kind("/console/app.js"), "text/javascript; charset=utf-8");
    assert_eq!(kind("/console/console.css"), "text/css; charset=utf-8");
}

#[test]
fn what_it_does_not_have_is_not_found() {
    let server = Setup::demo().start();
    let slash = server.ask(&Request::get("/console/"));
    assert_eq!(
        (slash.status, slash.header("location")),
        (308, Some("../console"))
    );
    for path in [
        "/console/nothing.js",
        "/console/..%2fapp.js",
        "/console/a/b",
        "/consol",
    ] {
        assert_eq!(server.ask(&Request::get(path)).status, 404, "{path}");
    }
    assert_eq!(server.ask(&Request::post("/console")).status, 405);
    let other = Request::get("/console").header("If-Match", "\"other\"");
    assert_eq!(server.ask(&other).status, 412);
}

#[test]
fn a_key_of_administration_knows_its_name_and_role() {
    let server = Setup::demo().config(KEYS_OF_EACH_ROLE).start();
    let ask = |key: &str| server.ask(&Request::get("/admin/key").key(key));
    assert_eq!(ask(ADMIN).json(), json!({"name": "boss", "role": "admin"}));
    assert_eq!(
        ask(READER).json(),
        json!({"name": "reader", "role": "auditor"})
    );
    assert_eq!(ask(SHOP).status, 403);
    assert_eq!(ask("a-key-of-nobody").status, 401);
}

/// The page formats money by its own table of currencies whose minor unit is not a hundredth.
#[test]
fn it_knows_the_decimals_of_every_currency() {
    let script = include_str!("../../console/format.js");
    let (_, table) = script.split_once("export const DECIMALS = {").unwrap();
    let (table, _) = table.split_once('}').unwrap();
    let decimals = |code: &str| {
        let (_, rest) = table.split_once(&format!("{code}: "))?;
        rest[..1].parse::<usize>().ok()
    };
    let letters = || (b'A'..=b'Z').map(char::from);
    let mut currencies = 0;
    for first in letters() {
        for second in letters() {
            for third in letters() {
                let code = format!("{first}{second}{third}");
                let Some(currency) = Currency::parse(&code) else {
                    assert_eq!(decimals(&code), None, "{code} is no currency");
                    continue;
                };
                let shown = currency.in_units(0);
                let expected = shown.split_once('.').map_or(0, |(_, part)| part.len());
                assert_eq!(decimals(&code).unwrap_or(2), expected, "{code}");
                currencies += 1;
            }
        }
    }
    assert!(currencies > 150, "{currencies}");
}

#[test]
fn an_operator_watches_a_drop_and_decides_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/console");
    assert!(
        tools.join("node_modules").exists(),
        "run ./dev servers first"
    );
    let scratch = tempfile::tempdir().unwrap();
    let lines = scratch.path().join("events");
    let config = format!(
        "{KEYS_OF_EACH_ROLE}\n{SECRETS}\n[review]\namount_over = {{ USD = 5000 }}\n[risk]\ndefault_rules = true\n\
         [limits.rate]\ncount = 1000\nper_s = 1\n[report.jsonl]\npath = {lines:?}"
    );
    let server = Setup::demo().config(&config).start();
    let watch = json!({
        "name": "<img src=x onerror=\"document.title='owned'\">",
        "price": {"USD": 2500, "KRW": 33000}, "stock": 40,
    });
    let put = Request::put("/admin/products/watch").key(ADMIN);
    assert_eq!(server.ask(&put.json(&product_terms(&watch))).status, 201);
    let ran = Command::new("node")
        .arg(root.join("tests/console/console.mjs"))
        .env("CONSOLE_TOOLS", &tools)
        .env("CONSOLE_URL", format!("http://{}", server.address))
        .env("CONSOLE_IMAGES", root.join("docs/images"))
        .output()
        .expect("node is installed");
    let shown = String::from_utf8_lossy(&ran.stdout);
    let wrong = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{shown}\n{wrong}");
    println!("{shown}");
    // What was decided in the browser is what the core did.
    let audit = server.ask(&Request::get("/admin/audit?kind=admin_acted&limit=100").key(READER));
    let audit = audit.text();
    for act in [
        "review_approved",
        "refund",
        "settle",
        "stock_changed",
        "sink_paused",
        "snapshot",
    ] {
        assert!(audit.contains(&format!("\"{act}\"")), "{act} in\n{audit}");
    }
}
