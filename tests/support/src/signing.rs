//! Webhooks as a gateway would sign and send them, in each of the three forms, and what they are
//! answered.

use super::{Request, Response, SHOP, Server, Setup};
use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

/// Secrets, each good for one form.
pub const NEW: &str = "a-secret-of-webhooks-that-is-new";
pub const OLD: &str = "a-secret-of-webhooks-that-is-old";
pub const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const STRIPE: &str = "whsec_a-secret-of-stripe-0123456789";

/// A configuration with all of them.
pub const SECRETS: &str = r#"
    [[webhooks.secrets]]
    id = "new"
    key = "a-secret-of-webhooks-that-is-new"
    [[webhooks.secrets]]
    id = "old"
    key = "a-secret-of-webhooks-that-is-old"
    [[webhooks.secrets]]
    id = "standard"
    format = "standard"
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    [[webhooks.secrets]]
    id = "stripe"
    format = "stripe"
    key = "whsec_a-secret-of-stripe-0123456789"
"#;

/// Unix seconds.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub fn mac(secret: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The body of an event of ours, `age_s` seconds old.
pub fn event(event_id: &str, kind: &str, purchase: &str, age_s: u64) -> String {
    let at = jiff::Timestamp::from_second(i64::try_from(now_s() - age_s).unwrap()).unwrap();
    json!({
        "event_id": event_id, "type": kind, "created_at": at.to_string(),
        "data": {"purchase_id": purchase},
    })
    .to_string()
}

/// holdfast's own form, as it is to be signed.
#[derive(Clone, Debug)]
pub struct Own {
    pub secret: String,
    pub timestamp: String,
    pub nonce: String,
    pub body: String,
}

impl Own {
    /// Of now, with the newest secret.
    pub fn new(nonce: &str, body: &str) -> Self {
        Self {
            secret: NEW.to_owned(),
            timestamp: now_s().to_string(),
            nonce: nonce.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn signed_with(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self
    }

    pub fn at(mut self, timestamp: &impl ToString) -> Self {
        self.timestamp = timestamp.to_string();
        self
    }

    pub fn signature(&self) -> String {
        let text = format!("{}.{}.{}", self.timestamp, self.nonce, self.body);
        let signature = hex::encode(mac(self.secret.as_bytes(), &text));
        format!("sha256={signature}")
    }

    pub fn request(&self) -> Request {
        Request::post("/webhooks/payment")
            .header("x-timestamp", &self.timestamp)
            .header("x-nonce", &self.nonce)
            .header("x-signature", &self.signature())
            .body(self.body.as_bytes())
    }
}

/// Standard Webhooks.
pub fn standard(id: &str, timestamp: u64, body: &str) -> Request {
    let secret = Base64::decode_vec(STANDARD_SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let signature = Base64::encode_string(&mac(&secret, &format!("{id}.{timestamp}.{body}")));
    Request::post("/webhooks/payment")
        .header("webhook-id", id)
        .header("webhook-timestamp", &timestamp.to_string())
        .header(
            "webhook-signature",
            &format!("v1a,bm90IG91cnM= v1,{signature}"),
        )
        .body(body.as_bytes())
}

/// Stripe's form.
pub fn stripe(timestamp: u64, body: &Value) -> Request {
    let body = body.to_string();
    let signature = hex::encode(mac(STRIPE.as_bytes(), &format!("{timestamp}.{body}")));
    let zero = "0".repeat(64);
    Request::post("/webhooks/stripe")
        .header(
            "stripe-signature",
            &format!("t={timestamp},v1={signature},v0={zero}"),
        )
        .body(body.as_bytes())
}

/// The demo with all of the secrets.
pub fn start() -> Server {
    Setup::demo().config(SECRETS).start()
}

/// A captured purchase of 19.99 USD.
pub fn bought(server: &Server, user: &str) -> Value {
    let key = format!("key-of-{user}");
    let answer = server.ask(&Request::buy(user, "drop-1", "tok_ok", &key));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

pub fn id_of(purchase: &Value) -> &str {
    purchase["purchase_id"].as_str().unwrap()
}

pub fn status_of(server: &Server, purchase: &str) -> String {
    let path = format!("/limited/purchases/{purchase}");
    let body = server.ask(&Request::get(&path).key(SHOP)).json();
    body["status"].as_str().unwrap().to_owned()
}

/// What a webhook is answered, in a word: the status of a good one, the reason of another.
pub fn word(answer: &Response) -> String {
    match answer.status {
        200 => {
            let body = answer.json();
            let status = body["status"].as_str().unwrap();
            let whole = format!("{{\"status\":\"{status}\"}}");
            assert_eq!(answer.text(), whole);
            status.to_owned()
        }
        status => format!("{status} {}", answer.reason()),
    }
}

pub fn tell(server: &Server, request: &Request) -> String {
    word(&server.ask(request))
}

pub fn without(mut request: Request, header: &str) -> Request {
    request.headers.retain(|(name, _)| name != header);
    request
}

pub fn with(request: Request, header: &str, value: &str) -> Request {
    without(request, header).header(header, value)
}

/// A capture of this purchase, told now.
pub fn event_of(purchase: &Value, id: &str) -> String {
    event(id, "payment.captured", id_of(purchase), 0)
}
