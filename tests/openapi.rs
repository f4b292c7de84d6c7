//! `docs/openapi.yaml` against the standard and the program: an independent validator takes it, it
//! names exactly the routes that the router has and every reason that an answer can have, and the
//! clients that two generators make of it buy, replay, refund and verify against a running demo.

mod support;

use holdfast::engine::refusal::Refusal;
use holdfast::http::problem::Reason;
use holdfast::http::routes::Resource;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{ADMIN, Request, Response, SHOP, Server, Setup};

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

/// What the running demo answers is what the file says of that call and status, without a field that
/// it does not name.
#[test]
fn answers_of_the_running_demo_are_of_their_schemas() {
    let document = document();
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[limits.rate]\ncount = 3\n[review]\namount_over = {{ USD = 5000 }}\n[report.jsonl]\npath = {:?}",
        dir.path().join("events")
    );
    let server = Setup::demo().config(&config).start();
    let (mut number, mut wrong) = (0, Vec::new());
    // The status, for a reader of the table below; the body, for the next request.
    let mut ask = |status: u16, method: &str, template: &str, id: &str, body: Value| {
        number += 1;
        let (before, after) = template.split_once('{').unwrap_or((template, ""));
        let path = match after.split_once('}') {
            Some((_, after)) => format!("{before}{id}{after}"),
            None => format!("{template}{id}"),
        };
        let key = if template.starts_with("/admin") {
            ADMIN
        } else {
            SHOP
        };
        let mut request = Request::new(method, &path).key(key);
        if method != "GET" {
            request = request.once(&format!("key-{number:08}"));
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = server.ask(&request);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        wrong.extend(undocumented(&document, method, template, &answer));
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    };
    let order = |user: &str, quantity: u32, card: &str| json!({"user_id": user, "product_id": "watch", "quantity": quantity, "currency": "USD", "card_token": card});
    let none = || Value::Null;
    let word = |value: &Value| value.as_str().unwrap().to_owned();

    let watch = json!({"name": "Watch", "price": {"USD": 1999}, "stock": 9, "reward_tokens": 3});
    let product = "/admin/products/{product_id}";
    ask(201, "PUT", product, "watch", support::product_terms(&watch));
    ask(200, "PUT", product, "watch", support::product_terms(&watch));
    ask(400, "PUT", product, "watch", json!({"name": 1}));
    ask(200, "GET", product, "watch", none());
    ask(200, "GET", "/admin/products", "", none());
    ask(
        200,
        "GET",
        "/limited/products/{product_id}",
        "watch",
        none(),
    );
    ask(
        404,
        "GET",
        "/limited/products/{product_id}",
        "nothing",
        none(),
    );
    let ten = json!({"percent_off": 10, "uses_max": 5});
    ask(
        201,
        "PUT",
        "/admin/promotions/{code}",
        "TEN",
        support::promotion_terms(&ten),
    );
    ask(200, "GET", "/admin/promotions/{code}", "TEN", none());
    ask(200, "GET", "/admin/promotions", "", none());

    let hold = json!({"user_id": "ana", "product_id": "watch", "quantity": 1});
    let held = word(&ask(201, "POST", "/limited/holds", "", hold.clone())["hold_id"]);
    ask(200, "DELETE", "/limited/holds/{hold_id}", &held, none());
    let bought = ask(201, "POST", "/limited/buy", "", order("ana", 1, "tok_ok"));
    ask(
        402,
        "POST",
        "/limited/buy",
        "",
        order("bo", 1, "tok_declined"),
    );
    let reviewed =
        word(&ask(202, "POST", "/limited/buy", "", order("cy", 3, "tok_ok"))["purchase_id"]);
    ask(409, "POST", "/limited/buy", "", order("dee", 99, "tok_ok"));
    ask(201, "POST", "/limited/holds", "", hold.clone());
    ask(429, "POST", "/limited/holds", "", hold);
    ask(400, "POST", "/limited/buy", "", json!({}));
    let paid = word(&bought["purchase_id"]);
    ask(
        200,
        "GET",
        "/limited/purchases/{purchase_id}",
        &paid,
        none(),
    );
    ask(
        200,
        "GET",
        "/limited/receipts/{receipt_id}",
        &word(&bought["receipt"]["receipt_id"]),
        none(),
    );
    ask(
        200,
        "POST",
        "/receipts/verify",
        "",
        bought["receipt"].clone(),
    );
    ask(200, "GET", "/.well-known/jwks.json", "", none());
    ask(200, "GET", "/limited/rewards/{user_id}", "ana", none());
    ask(
        200,
        "POST",
        "/limited/rewards/{user_id}/spend",
        "ana",
        json!({"tokens": 1}),
    );
    ask(
        409,
        "POST",
        "/limited/rewards/{user_id}/spend",
        "ana",
        json!({"tokens": 100}),
    );

    let refunds = "/admin/purchases/{purchase_id}/refunds";
    let part = json!({"amount": 500, "previously_refunded": 0, "reason": "scratched"});
    ask(201, "POST", refunds, &paid, part.clone());
    ask(409, "POST", refunds, &paid, part);
    ask(200, "GET", refunds, &paid, none());
    ask(200, "GET", "/admin/purchases/{purchase_id}", &paid, none());
    ask(
        409,
        "POST",
        "/admin/purchases/{purchase_id}/void",
        &paid,
        json!({}),
    );
    ask(200, "GET", "/admin/reviews", "", none());
    let approve = "/admin/reviews/{purchase_id}/approve";
    ask(
        200,
        "POST",
        approve,
        &reviewed,
        json!({"note": "looked at"}),
    );
    ask(200, "GET", "/admin/users/{user_id}", "ana", none());
    let pause = json!({"until": "2999-01-01T00:00:00Z", "reason": "looked at"});
    ask(200, "POST", "/admin/users/{user_id}/pause", "eve", pause);
    ask(403, "POST", "/limited/buy", "", order("eve", 1, "tok_ok"));
    ask(200, "DELETE", "/admin/users/{user_id}/pause", "eve", none());
    ask(200, "GET", "/admin/users/{user_id}/rating", "eve", none());
    for path in [
        "/admin/payments",
        "/admin/risk/rules",
        "/admin/sandbox/charges",
        "/admin/sinks",
        "/admin/dead-letters",
        "/admin/webhooks/secrets",
        "/admin/segments",
        "/admin/audit",
        "/admin/config",
        "/admin/status",
        "/livez",
        "/readyz",
    ] {
        ask(200, "GET", path, "", none());
    }
    ask(200, "POST", "/admin/snapshot", "", none());
    ask(202, "POST", "/admin/reconcile", "", none());
    ask(200, "GET", "/admin/reconcile", "", none());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the answer has that `document` does not say of that call and status.
fn undocumented(document: &Value, method: &str, template: &str, answer: &Response) -> Vec<String> {
    let operation = &document["paths"][template][method.to_lowercase()];
    let responses = &operation["responses"];
    let response = match &responses[answer.status.to_string()] {
        Value::Null => &responses["default"],
        response => response,
    };
    let response = match response["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => response,
    };
    let (kind, content) = response["content"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    let told = answer.header("content-type").unwrap_or_default();
    assert!(
        told.starts_with(kind.as_str()),
        "{method} {template}: {told}"
    );
    let mut schema = document.clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["allOf"] = json!([content["schema"]]);
    // Every field at the top is named, where the file names any.
    let is_open = content["schema"] == json!({"type": "object"});
    schema["unevaluatedProperties"] = json!(is_open);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let body = answer.json();
    validator
        .iter_errors(&body)
        .map(|error| {
            let (status, at) = (answer.status, error.instance_path());
            format!("{method} {template} {status}: {error} at `{at}`")
        })
        .collect()
}
