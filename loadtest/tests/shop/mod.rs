//! A small shop that fulfils the contract, or violates it in one chosen way, for tests of the drop
//! checker.
//!
//! One lock around all state, one thread per connection, nothing durable: it is correct because it
//! is simple. It knows only what `loadtest drop` needs.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// As the rules that holdfast ships: one card under so many buyers is a stolen one.
const USERS_A_CARD_MAX: usize = 15;

/// How the shop breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It does not.
    None,
    /// It sells a unit more than it has.
    Oversells,
    /// It runs a request again under its key.
    ForgetsKeys,
    /// It answers a replay without saying so.
    HidesReplays,
    /// It loses every tenth purchase.
    LosesPurchases,
    /// It never lets a hold expire.
    KeepsHolds,
    /// It does not count a buyer's units.
    IgnoresUserLimit,
    /// Its stock is a unit short whenever something is held.
    LeaksUnits,
}

struct Hold {
    user: String,
    expires: Instant,
    closed: bool,
}

#[derive(Default)]
struct State {
    total: i64,
    sold: i64,
    limit: usize,
    ttl: Duration,
    holds: HashMap<String, Hold>,
    purchases: HashMap<String, Value>,
    keys: HashMap<String, (String, u16, Value)>,
    users_by_card: HashMap<String, HashSet<String>>,
    ids: u64,
}

struct Shop {
    flaw: Flaw,
    state: Mutex<State>,
}

struct Request {
    method: String,
    path: String,
    key: Option<String>,
    body: Value,
}

type Reply = (u16, bool, Value);

/// Starts a shop with `flaw`; it lives as long as the test's process.
pub fn start(flaw: Flaw) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let shop = Arc::new(Shop {
        flaw,
        state: Mutex::default(),
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shop = Arc::clone(&shop);
            std::thread::spawn(move || shop.serve(stream));
        }
    });
    addr
}

impl Shop {
    fn serve(&self, mut stream: TcpStream) {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read(&mut input) {
            let (status, replayed, body) = self.answer(&request);
            let body = body.to_string();
            let mark = if replayed {
                "Idempotent-Replayed: true\r\n"
            } else {
                ""
            };
            let text = format!(
                "HTTP/1.1 {status} X\r\n{mark}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        if self.flaw != Flaw::KeepsHolds {
            let now = Instant::now();
            for hold in state.holds.values_mut().filter(|h| h.expires <= now) {
                hold.closed = true;
            }
        }
        let Some(key) = &request.key else {
            return self.read_or_close(&mut state, request);
        };
        let fingerprint = format!("{}{}", request.path, request.body);
        if let Some((known, status, body)) = state
            .keys
            .get(key)
            .filter(|_| self.flaw != Flaw::ForgetsKeys)
        {
            if *known != fingerprint {
                return refuse(422, "idempotency_key_reused");
            }
            return (*status, self.flaw != Flaw::HidesReplays, body.clone());
        }
        let (status, _, body) = match request.path.as_str() {
            "/limited/holds" => self.hold(&mut state, &request.body),
            _ => self.buy(&mut state, &request.body),
        };
        state
            .keys
            .insert(key.clone(), (fingerprint, status, body.clone()));
        (status, false, body)
    }

    fn hold(&self, state: &mut State, body: &Value) -> Reply {
        if let Some(refusal) = self.claim(state, body) {
            return refusal;
        }
        let id = state.id("h");
        let hold = Hold {
            user: text(body, "user_id"),
            expires: Instant::now() + state.ttl,
            closed: false,
        };
        state.holds.insert(id.clone(), hold);
        (
            201,
            false,
            json!({"hold_id": id, "status": "held", "quantity": 1}),
        )
    }

    fn buy(&self, state: &mut State, body: &Value) -> Reply {
        let card = text(body, "card_token");
        let users = state.users_by_card.entry(card.clone()).or_default();
        if users.len() >= USERS_A_CARD_MAX {
            return refuse(403, "risk_blocked");
        }
        users.insert(text(body, "user_id"));
        let hold = body["hold_id"].as_str();
        match hold.and_then(|id| state.holds.get(id)) {
            Some(hold) if hold.closed => return refuse(409, "hold_expired"),
            Some(_) => {}
            None => {
                if let Some(refusal) = self.claim(state, body) {
                    return refusal;
                }
            }
        }
        if !card.starts_with("tok_ok_") {
            close(state, hold);
            return refuse(402, "payment_declined");
        }
        close(state, hold);
        state.sold += 1;
        let id = state.id("p");
        let purchase = json!({
            "purchase_id": id, "user_id": body["user_id"], "quantity": 1, "status": "captured", "amount": 1999,
            "receipt": {"receipt_id": format!("r{id}"), "purchase_id": id, "amount": 1999},
        });
        state.purchases.insert(id, purchase.clone());
        (201, false, purchase)
    }

    /// Why the buyer cannot have a unit, if so.
    fn claim(&self, state: &State, body: &Value) -> Option<Reply> {
        let user = text(body, "user_id");
        let holds = state
            .holds
            .values()
            .filter(|h| !h.closed && h.user == user)
            .count();
        let bought = state
            .purchases
            .values()
            .filter(|p| p["user_id"] == user.as_str())
            .count();
        if holds + bought >= state.limit && self.flaw != Flaw::IgnoresUserLimit {
            return Some(refuse(409, "per_user_limit"));
        }
        let room = state.total + i64::from(self.flaw == Flaw::Oversells);
        (state.sold + state.held() >= room).then(|| refuse(409, "sold_out"))
    }

    fn read_or_close(&self, state: &mut State, request: &Request) -> Reply {
        let id = request.path.rsplit('/').next().unwrap_or("").to_owned();
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", _) => {
                state.total = request.body["stock"].as_i64().unwrap();
                state.limit =
                    usize::try_from(request.body["per_user_limit"].as_u64().unwrap()).unwrap();
                state.ttl = Duration::from_secs(request.body["hold_ttl_s"].as_u64().unwrap());
                (200, false, json!({}))
            }
            ("DELETE", _) => {
                close(state, Some(&id));
                (200, false, json!({"hold_id": id, "status": "released"}))
            }
            (_, "/receipts/verify") => (200, false, json!({"valid": true})),
            (_, path) if path.starts_with("/limited/products") => {
                let held = state.held();
                let leak = i64::from(self.flaw == Flaw::LeaksUnits && held > 0);
                let available = state.total - held - state.sold - leak;
                let stock = json!({"total": state.total, "held": held, "sold": state.sold, "available": available});
                (200, false, json!({"stock": stock}))
            }
            _ => match state.purchases.get(&id) {
                Some(p) if self.flaw != Flaw::LosesPurchases || !id.ends_with('0') => {
                    (200, false, p.clone())
                }
                _ => refuse(404, "purchase_not_found"),
            },
        }
    }
}

impl State {
    fn id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}{}", self.ids)
    }

    fn held(&self) -> i64 {
        let open = self.holds.values().filter(|h| !h.closed).count();
        i64::try_from(open).unwrap()
    }
}

fn close(state: &mut State, hold: Option<&str>) {
    if let Some(hold) = hold.and_then(|id| state.holds.get_mut(id)) {
        hold.closed = true;
    }
}

fn refuse(status: u16, reason: &str) -> Reply {
    (status, false, json!({"status": status, "reason": reason}))
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or("").to_owned()
}

fn read(input: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut key, mut length) = (None, 0);
    loop {
        let mut header = String::new();
        input.read_line(&mut header).ok().filter(|n| *n > 0)?;
        match header.trim().split_once(": ") {
            None => break,
            Some(("content-length", n)) => length = n.parse().ok()?,
            Some(("idempotency-key", k)) => key = Some(k.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        key,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}
