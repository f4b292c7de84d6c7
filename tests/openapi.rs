//! `docs/openapi.yaml` against the standard and the program: an independent validator takes it, it
//! names exactly the routes that the router has and every reason that an answer can have, and the
//! clients that two generators make of it buy, replay, refund and verify against a running demo.

mod support;

use holdfast::engine::refusal::Refusal;
use holdfast::http::problem::Reason;
use holdfast::http::routes::Resource;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Request, SHOP, Server, Setup};

fn document() -> Value {
    serde_norway::from_str(include_str!("../docs/openapi.yaml")).expect("it is YAML")
}

#[test]
fn it_names_exactly_the_routes_there_are() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "parameters")
        {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let mut routed = BTreeSet::new();
    for resource in Resource::ALL.iter().copied() {
        // HEAD goes with GET and is not documented on its own.
        for method in resource
            .allow()
            .split(", ")
            .filter(|method| *method != "HEAD")
        {
            routed.insert(format!("{method} {}", resource.template()));
        }
    }
    assert_eq!(documented, routed);
}

#[test]
fn it_names_every_reason() {
    let document = document();
    let reasons = &document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"];
    let documented: BTreeSet<_> = reasons
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let told = Reason::ALL_OF_HTTP
        .into_iter()
        .chain(Refusal::ALL.map(Reason::Refusal));
    let told: BTreeSet<_> = told.map(|reason| reason.told().reason).collect();
    assert_eq!(documented, told);
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut open = vec![&document];
    let mut seen = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').expect("within the document");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    seen += 1;
                }
                open.extend(fields.values());
            }
            Value::Array(entries) => open.extend(entries),
            _ => {}
        }
    }
    assert!(seen > 50, "only {seen} references were found");
}

/// An unquoted comma inside `{…}` ends a description and makes the rest of it a key without value.
#[test]
fn no_description_is_split_at_a_comma() {
    let document = document();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    assert!(
                        !value.is_null(),
                        "`{key}` has no value: quote the description"
                    );
                    open.push(value);
                }
            }
            Value::Array(entries) => open.extend(entries),
            _ => {}
        }
    }
}

#[test]
fn an_independent_validator_takes_it() {
    let validated = run(python_tool("openapi-spec-validator")
        .args(["--errors", "all"])
        .arg(root().join("docs/openapi.yaml")));
    assert!(validated.contains("OK"), "{validated}");
}

#[test]
fn a_generated_python_client_buys_replays_refunds_and_verifies() {
    let server = Setup::demo().start();
    let scratch = tempfile::tempdir().unwrap();
    let clients = root().join("tests/generated_clients");
    run(python_tool("openapi-python-client")
        .args(["generate", "--fail-on-warning", "--meta", "none"])
        .args(["--output-path", "holdfast_client", "--config"])
        .arg(clients.join("python_client.yaml"))
        .arg("--path")
        .arg(root().join("docs/openapi.yaml"))
        .current_dir(scratch.path()));
    let shown = run(python_tool("python")
        .arg(clients.join("shop.py"))
        .arg(format!("http://{}", server.address))
        .env("PYTHONPATH", scratch.path()));
    assert_agrees(&server, &shown);
}

#[test]
fn a_generated_typescript_client_type_checks_buys_replays_refunds_and_verifies() {
    let server = Setup::demo().start();
    let tools = root().join("target/typescript");
    let modules = tools.join("node_modules");
    assert!(modules.exists(), "run ./dev servers first");
    // Below `node_modules`' parent, so that what is compiled here finds the packages.
    let scratch = tempfile::tempdir_in(&tools).unwrap();
    let scratch = scratch.path();
    for file in ["shop.ts", "tsconfig.json"] {
        let clients = root().join("tests/generated_clients");
        std::fs::copy(clients.join(file), scratch.join(file)).unwrap();
    }
    // What is emitted is read as modules.
    std::fs::write(scratch.join("package.json"), "{\"type\": \"module\"}").unwrap();
    run(Command::new(modules.join(".bin/openapi-typescript"))
        .arg(root().join("docs/openapi.yaml"))
        .args(["--output", "holdfast.d.ts"])
        .current_dir(scratch));
    run(Command::new(modules.join(".bin/tsc")).current_dir(scratch));
    let shown = run(Command::new("node")
        .arg("shop.js")
        .arg(format!("http://{}", server.address))
        .current_dir(scratch));
    assert_agrees(&server, &shown);
}

/// What a client printed against what the core itself says of the purchase it made.
fn assert_agrees(server: &Server, shown: &str) {
    let shown: Value = serde_json::from_str(shown).expect("it prints one JSON object");
    let path = format!(
        "/limited/purchases/{}",
        shown["purchase_id"].as_str().unwrap()
    );
    let purchase = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(purchase["status"], "partially_refunded", "{purchase}");
    assert_eq!(purchase["refunded_amount"]["value"], 500, "{purchase}");
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);
    assert_eq!(shown["sold"], 1);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn python_tool(name: &str) -> Command {
    let tool = root().join("target/servers/bin").join(name);
    assert!(tool.exists(), "run ./dev servers first");
    Command::new(tool)
}

/// Runs it to a good end; what it printed.
fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into());
    let stdout: String = stdout;
    assert!(status.success(), "{command:?}\n{stdout}\n{stderr}");
    stdout
}
