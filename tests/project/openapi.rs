//! `docs/openapi.yaml` against the standard and the program: an independent validator takes it, it
//! names exactly the routes that the router has and every reason that an answer can have, and the
//! clients that two generators make of it buy, replay, refund and verify against a running demo.

use holdfast::engine::refusal::Refusal;
use holdfast::http::route::Route;
use holdfast::http::wire::problem::Reason;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{ADMIN, Request, Response, SHOP, Server, Setup};

fn document() -> Value {
    serde_norway::from_str(include_str!("../../docs/openapi.yaml")).expect("it is YAML")
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
    // HEAD goes with GET and is not documented on its own.
    let routed: BTreeSet<_> = Route::ALL
        .iter()
        .map(|it| format!("{} {}", it.method(), it.template()))
        .collect();
    assert_eq!(
        routed.len(),
        Route::ALL.len(),
        "no route stands there twice"
    );
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
    let told: BTreeSet<_> = told.map(|reason| reason.texts().reason).collect();
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
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[limits.rate]\ncount = 3\n[review]\namount_over = {{ USD = 5000 }}\n[report.jsonl]\npath = {:?}",
        dir.path().join("events")
    );
    let mut asking = Asking {
        document: document(),
        server: Setup::demo().config(&config).start(),
        number: 0,
        wrong: Vec::new(),
    };
    asking.of_terms();
    let [paid, reviewed] = asking.of_purchases();
    asking.of_administration(&paid, &reviewed);
    assert!(asking.wrong.is_empty(), "{:#?}", asking.wrong);
}

/// Requests to a demo whose answers are held against the file.
struct Asking {
    document: Value,
    server: Server,
    number: u32,
    wrong: Vec<String>,
}

impl Asking {
    /// Asks, with `id` in the template's place or behind it; the answer's body.
    fn ask(&mut self, status: u16, method: &str, template: &str, id: &str, body: &Value) -> Value {
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
            self.number += 1;
            request = request.once(&format!("key-{:08}", self.number));
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = self.server.ask(&request);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let wrong = undocumented(&self.document, method, template, &answer);
        self.wrong.extend(wrong);
        answer.json()
    }

    fn get(&mut self, template: &str, id: &str) -> Value {
        self.ask(200, "GET", template, id, &Value::Null)
    }

    fn post(&mut self, status: u16, template: &str, id: &str, body: &Value) -> Value {
        self.ask(status, "POST", template, id, body)
    }

    fn of_terms(&mut self) {
        let watch =
            json!({"name": "Watch", "price": {"USD": 1999}, "stock": 9, "reward_tokens": 3});
        let product = "/admin/products/{product_id}";
        let terms = support::product_terms(&watch);
        self.ask(201, "PUT", product, "watch", &terms);
        self.ask(200, "PUT", product, "watch", &terms);
        self.ask(400, "PUT", product, "watch", &json!({"name": 1}));
        self.get(product, "watch");
        self.get("/admin/products", "");
        let shown = "/limited/products/{product_id}";
        self.get(shown, "watch");
        self.ask(404, "GET", shown, "nothing", &Value::Null);
        let ten = support::promotion_terms(&json!({"percent_off": 10, "uses_max": 5}));
        self.ask(201, "PUT", "/admin/promotions/{code}", "TEN", &ten);
        self.get("/admin/promotions/{code}", "TEN");
        self.get("/admin/promotions", "");
    }

    /// A purchase that is paid, and one under review.
    fn of_purchases(&mut self) -> [String; 2] {
        let (holds, buy) = ("/limited/holds", "/limited/buy");
        let order = json!({"user_id": "ana", "product_id": "watch", "quantity": 1});
        let placed = self.post(201, holds, "", &order);
        let hold_id = placed["hold_id"].as_str().unwrap();
        self.ask(
            200,
            "DELETE",
            "/limited/holds/{hold_id}",
            hold_id,
            &Value::Null,
        );
        let paid = self.post(201, buy, "", &watches("ana", 1, "tok_ok"));
        self.post(402, buy, "", &watches("bo", 1, "tok_declined"));
        let reviewed = self.post(202, buy, "", &watches("cy", 3, "tok_ok"));
        self.post(409, buy, "", &watches("dee", 99, "tok_ok"));
        self.post(201, holds, "", &order);
        self.post(429, holds, "", &order);
        self.post(400, buy, "", &json!({}));
        let id = |purchase: &Value| purchase["purchase_id"].as_str().unwrap().to_owned();
        self.get("/limited/purchases/{purchase_id}", &id(&paid));
        let receipt = &paid["receipt"];
        let receipt_id = receipt["receipt_id"].as_str().unwrap();
        self.get("/limited/receipts/{receipt_id}", receipt_id);
        self.post(200, "/receipts/verify", "", receipt);
        self.get("/.well-known/jwks.json", "");
        self.get("/limited/rewards/{user_id}", "ana");
        let spend = "/limited/rewards/{user_id}/spend";
        self.post(200, spend, "ana", &json!({"tokens": 1}));
        self.post(409, spend, "ana", &json!({"tokens": 100}));
        [id(&paid), id(&reviewed)]
    }

    fn of_administration(&mut self, paid: &str, reviewed: &str) {
        let refunds = "/admin/purchases/{purchase_id}/refunds";
        let part = json!({"amount": 500, "previously_refunded": 0, "reason": "scratched"});
        self.post(201, refunds, paid, &part);
        self.post(409, refunds, paid, &part);
        self.get(refunds, paid);
        self.get("/admin/purchases/{purchase_id}", paid);
        self.post(409, "/admin/purchases/{purchase_id}/void", paid, &json!({}));
        self.get("/admin/reviews", "");
        let note = json!({"note": "looked at"});
        self.post(200, "/admin/reviews/{purchase_id}/approve", reviewed, &note);
        self.get("/admin/users/{user_id}", "ana");
        let pause = "/admin/users/{user_id}/pause";
        let until = json!({"until": "2999-01-01T00:00:00Z", "reason": "looked at"});
        self.post(200, pause, "eve", &until);
        self.post(403, "/limited/buy", "", &watches("eve", 1, "tok_ok"));
        self.ask(200, "DELETE", pause, "eve", &Value::Null);
        self.get("/admin/users/{user_id}/rating", "eve");
        for path in [
            "/admin/payments",
            "/admin/disputes",
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
            self.get(path, "");
        }
        self.post(200, "/admin/snapshot", "", &Value::Null);
        self.post(202, "/admin/reconcile", "", &Value::Null);
        self.get("/admin/reconcile", "");
    }
}

fn watches(user: &str, quantity: u32, card: &str) -> Value {
    json!({
        "user_id": user, "product_id": "watch", "quantity": quantity, "currency": "USD",
        "card_token": card,
    })
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
