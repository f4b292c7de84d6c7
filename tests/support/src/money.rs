//! What tests of money after the purchase ask, and how they look at what came of it.
use super::{ADMIN, Request, Response, SHOP, Server, binary, until};
use serde_json::{Value, json};
use std::path::Path;

pub fn buy(server: &Server, user: &str, product: &str, key: &str) -> Value {
    let bought = server.ask(&Request::buy(user, product, "tok_ok", key));
    assert_eq!(bought.status, 201, "{bought:?}");
    bought.json()
}

pub fn id_of(purchase: &Value) -> String {
    purchase["purchase_id"].as_str().unwrap().to_owned()
}

pub fn refunds_of(purchase: &str) -> String {
    format!("/admin/purchases/{purchase}/refunds")
}

pub fn refund(purchase: &str, key: &str, body: &Value) -> Request {
    let request = Request::post(&refunds_of(purchase)).key(ADMIN);
    request.once(key).json(body)
}

pub fn part(amount: u64, before: u64) -> Value {
    json!({"amount": amount, "previously_refunded": before, "reason": "arrived scratched"})
}

pub fn spend(user: &str, tokens: u64, key: &str) -> Request {
    let path = format!("/limited/rewards/{user}/spend");
    let request = Request::post(&path).key(SHOP).once(key);
    request.json(&json!({ "tokens": tokens }))
}

pub fn rewards(server: &Server, user: &str) -> [u64; 2] {
    let path = format!("/limited/rewards/{user}");
    let body = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(body["user_id"], user);
    ["balance", "debt"].map(|name| body[name].as_u64().unwrap())
}

pub fn admin(server: &Server, path: &str) -> Response {
    server.ask(&Request::get(path).key(ADMIN))
}

/// The report of a comparison with the gateway's list that began after this was called; `query` is what its
/// request says beside, such as `?full=true`.
pub fn reconciled(server: &Server, query: &str) -> Value {
    let asked = server.ask(&Request::post(&format!("/admin/reconcile{query}")).key(ADMIN));
    assert_eq!(asked.status, 202, "{asked:?}");
    let run = asked.json()["run"].as_u64().unwrap();
    until("the comparison has ended", || {
        let mut status = admin(server, "/admin/reconcile").json();
        let has_run = status["report"]["run"].as_u64() >= Some(run);
        has_run.then(|| status["report"].take())
    })
}

/// A purchase as the operator sees it.
pub fn purchase_of(server: &Server, id: &str) -> Value {
    admin(server, &format!("/admin/purchases/{id}")).json()
}

/// Waits until the purchase has this status.
pub fn until_status(server: &Server, id: &str, status: &str) -> Value {
    until(&format!("the purchase is {status}"), || {
        let purchase = purchase_of(server, id);
        (purchase["status"] == status).then_some(purchase)
    })
}

/// The status, and the reason where it is a refusal.
pub fn told(answer: &Response) -> (u16, String) {
    match answer.status {
        status @ 400.. => (status, answer.reason()),
        status => (status, String::new()),
    }
}

/// State, captured and refunded of each charge.
pub fn charges(server: &Server) -> Vec<(String, u64, u64)> {
    let body = admin(server, "/admin/sandbox/charges").json();
    let of = |charge: &Value| {
        let sum = |name: &str| charge[name].as_u64().unwrap();
        let state = charge["state"].as_str().unwrap().to_owned();
        (state, sum("captured"), sum("refunded"))
    };
    body["charges"].as_array().unwrap().iter().map(of).collect()
}

pub fn events_of(purchase: &Value) -> Vec<&str> {
    let history = purchase["history"].as_array().unwrap();
    let word = |entry| <&Value>::clone(&entry)["event"].as_str().unwrap();
    history.iter().map(word).collect()
}

pub fn assert_checks_clean(data_dir: &Path) {
    let checked = binary().arg("check").arg(data_dir).output().unwrap();
    let out = String::from_utf8_lossy(&checked.stdout);
    let err = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{out}{err}");
}

/// A purchase that there is not.
pub const NOBODY: &str = "p_00000000000fff005a17c0de5a17c0de";

/// A purchase that is paid and one that was declined.
pub fn paid_and_declined(server: &Server) -> (String, String) {
    let paid = id_of(&buy(server, "ana", "drop-1", "key-no-buy"));
    let declined = server.ask(&Request::buy(
        "cy",
        "drop-1",
        "tok_declined",
        "key-no-declined",
    ));
    assert_eq!(declined.status, 402);
    let trail = admin(server, "/admin/audit?kind=payment_declined").json();
    (paid, id_of(&trail["events"][0]))
}

/// Puts the product `gift` on sale, of which each unit grants so many tokens.
pub fn put_rewarded(server: &Server, tokens: u64) {
    let body = super::product_terms(&json!({
        "name": "gift", "price": {"USD": 1999}, "stock": 100, "reward_tokens": tokens,
    }));
    let put = Request::put("/admin/products/gift").key(ADMIN).json(&body);
    assert_eq!(server.ask(&put).status, 201);
    let seen = admin(server, "/admin/products/gift").json();
    assert_eq!(seen["reward_tokens"], tokens);
}

pub fn bought_with(server: &Server, card: &str, key: &str) -> String {
    let bought = server.ask(&Request::buy("ana", "drop-1", card, key));
    assert_eq!(bought.status, 201, "{bought:?}");
    id_of(&bought.json())
}

/// A gateway that is asked so rarely, or so often, that nobody waits for long in a test.
pub fn asked(pace: &str) -> String {
    let circuit = "[payments.circuit]\nfailures = 0";
    format!("[payments]\nanswer_within_ms = 50\nsweep_every_ms = 20\n{pace}\n{circuit}")
}

pub const RARELY: &str = "backoff_first_ms = 60000\nbackoff_max_ms = 60000";
pub const OFTEN: &str = "backoff_first_ms = 1\nbackoff_max_ms = 1\nretries_max = 100";
