//! A small shop that fulfils the contract, or violates it in one chosen way, for tests of the drop
//! checker.
//!
//! One lock around all state, one thread per connection, nothing durable: it is correct because it
//! is simple. It knows only what `loadtest drop` and `loadtest run` need.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// It is always sold out.
    SellsNothing,
}

struct Hold {
    user: String,
    product: String,
    expires: Instant,
    closed: bool,
}

/// What `PUT /admin/products/{id}` said, and what was sold of it.
#[derive(Default, Clone, Copy)]
struct Product {
    total: i64,
    sold: i64,
    limit: usize,
    ttl: Duration,
}

#[derive(Default)]
struct State {
    products: HashMap<String, Product>,
    holds: HashMap<String, Hold>,
    purchases: HashMap<String, Value>,
    keys: HashMap<String, (String, u16, Value)>,
    users_by_card: HashMap<String, HashSet<String>>,
    ids: u64,
}

struct Shop {
    flaw: Flaw,
    state: Mutex<State>,
    /// At which request it goes away.
    ends_at: Option<u64>,
    /// For how long it stands still at the second request, the first after the product was put on sale.
    stall: Duration,
    served: AtomicU64,
    addr: SocketAddr,
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
    let shop = Shop::new(flaw, None, Duration::ZERO, addr);
    std::thread::spawn(move || shop.listen(&listener));
    addr
}

/// Starts a shop that stands still for `stall` once, at the first request of a buyer.
pub fn start_with_stall(stall: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let shop = Shop::new(Flaw::None, None, stall, addr);
    std::thread::spawn(move || shop.listen(&listener));
    addr
}

/// When a shop goes away, and for how long.
#[derive(Clone, Copy)]
pub struct Outage {
    /// After so many requests.
    pub after: u64,
    pub lasts: Duration,
}

/// Starts a shop that closes its port and every connection once, and comes back at the same address with what it knew.
pub fn start_with_outage(outage: Outage) -> SocketAddr {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = first.local_addr().unwrap();
    let shop = Shop::new(Flaw::None, Some(outage.after), Duration::ZERO, addr);
    std::thread::spawn(move || {
        let mut streams = Vec::new();
        for stream in first.incoming().flatten() {
            if shop.served.load(Ordering::SeqCst) >= outage.after {
                break;
            }
            streams.push(stream.try_clone().unwrap());
            let shop = Arc::clone(&shop);
            std::thread::spawn(move || shop.serve(stream));
        }
        drop(first);
        for stream in streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        std::thread::sleep(outage.lasts);
        shop.listen(&TcpListener::bind(addr).unwrap());
    });
    addr
}

impl Shop {
    fn new(flaw: Flaw, ends_at: Option<u64>, stall: Duration, addr: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            stall,
            flaw,
            state: Mutex::default(),
            ends_at,
            served: AtomicU64::new(0),
            addr,
        })
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let shop = Arc::clone(self);
            std::thread::spawn(move || shop.serve(stream));
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read(&mut input) {
            let number = self.served.fetch_add(1, Ordering::SeqCst) + 1;
            if number == 2 {
                std::thread::sleep(self.stall);
            }
            if Some(number) == self.ends_at {
                // Wakes the listener, which closes everything.
                let _ = TcpStream::connect(self.addr);
            }
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
            expires: Instant::now() + state.product(body).ttl,
            product: text(body, "product_id"),
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
        state
            .products
            .entry(text(body, "product_id"))
            .or_default()
            .sold += 1;
        let id = state.id("p");
        let purchase = json!({
            "purchase_id": id, "user_id": body["user_id"], "product_id": body["product_id"], "quantity": 1, "status": "captured", "amount": 1999,
            "receipt": {"receipt_id": format!("r{id}"), "purchase_id": id, "amount": 1999},
        });
        state.purchases.insert(id, purchase.clone());
        (201, false, purchase)
    }

    /// Why the buyer cannot have a unit, if so.
    fn claim(&self, state: &State, body: &Value) -> Option<Reply> {
        let (user, product) = (text(body, "user_id"), state.product(body));
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
        if holds + bought >= product.limit && self.flaw != Flaw::IgnoresUserLimit {
            return Some(refuse(409, "per_user_limit"));
        }
        let room = product.total + i64::from(self.flaw == Flaw::Oversells);
        let held = state.held(&text(body, "product_id"));
        (product.sold + held >= room || self.flaw == Flaw::SellsNothing)
            .then(|| refuse(409, "sold_out"))
    }

    fn read_or_close(&self, state: &mut State, request: &Request) -> Reply {
        let id = request.path.rsplit('/').next().unwrap_or("").to_owned();
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", _) => {
                let product = state.products.entry(id).or_default();
                product.total = request.body["stock"].as_i64().unwrap();
                product.limit =
                    usize::try_from(request.body["per_user_limit"].as_u64().unwrap()).unwrap();
                let ttl = request.body["hold_ttl_s"].as_u64();
                product.ttl = Duration::from_secs(ttl.unwrap_or(300));
                (200, false, json!({}))
            }
            ("DELETE", _) => {
                close(state, Some(&id));
                (200, false, json!({"hold_id": id, "status": "released"}))
            }
            (_, "/receipts/verify") => (200, false, json!({"valid": true})),
            (_, path) if path.starts_with("/limited/products") => {
                let Some(product) = state.products.get(&id) else {
                    return refuse(404, "product_not_found");
                };
                let (held, sold) = (state.held(&id), product.sold);
                let leak = i64::from(self.flaw == Flaw::LeaksUnits && held > 0);
                let available = product.total - held - sold - leak;
                let stock = json!({"total": product.total, "held": held, "sold": sold, "available": available});
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

    fn product(&self, order: &Value) -> Product {
        let id = text(order, "product_id");
        self.products.get(&id).copied().unwrap_or_default()
    }

    fn held(&self, product: &str) -> i64 {
        let holds = self.holds.values();
        let open = holds.filter(|h| !h.closed && h.product == product).count();
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
