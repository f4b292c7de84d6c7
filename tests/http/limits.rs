//! Limits in amount over HTTP: by buyer, by card and by device, in a day and ever, and after
//! `kill -9`.

use serde_json::{Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, promotion_terms, until};

const PRICE: u64 = 1_999;

/// A zone in which no day ends while a test runs.
fn zone() -> &'static str {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    match now.as_secs() / 3_600 % 24 {
        14 | 15 => "UTC",
        _ => "Asia/Seoul",
    }
}

fn start(data_dir: &Path, limits: &str) -> Server {
    let rate = "rate = { count = 1000, per_s = 10 }";
    let config = format!("[limits]\n{rate}\nzone = \"{}\"\n{limits}\n", zone());
    let server = Setup::demo().data_dir(data_dir).config(&config).start();
    server.put_product("watch", 100);
    server
}

fn buy(server: &Server, user: &str, card: &str, key: &str) -> Response {
    server.ask(&Request::buy(user, "watch", card, key))
}

fn told(answer: &Response) -> (u16, String) {
    let reason = if answer.status < 400 {
        String::new()
    } else {
        answer.reason()
    };
    (answer.status, reason)
}

fn refused(reason: &str) -> (u16, String) {
    (409, reason.to_owned())
}

const PAID: (u16, String) = (201, String::new());

fn spending(server: &Server, user: &str) -> Value {
    let path = format!("/admin/users/{user}");
    server.ask(&Request::get(&path).key(ADMIN)).json()["spending"].clone()
}

fn used(today: u64, daily: impl Into<Value>, lifetime: u64, most: impl Into<Value>) -> Value {
    json!([{
        "currency": "USD",
        "today": today,
        "daily_limit": daily.into(),
        "lifetime": lifetime,
        "lifetime_limit": most.into(),
    }])
}

#[test]
fn a_buyer_is_limited_by_standing_and_open_payments_also_after_kill_9() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let limits = "daily = { USD = 5000 }\nlifetime = { USD = 6000 }";
    let mut server = start(&data_dir, limits);
    assert_eq!(told(&buy(&server, "ana", "tok_ok", "key-limit-1")), PAID);
    let declined = buy(&server, "ana", "tok_declined", "key-limit-2");
    assert_eq!(declined.status, 402, "it gives its amount back");
    // A hold counts nothing; the buy that pays for it does.
    let hold = server
        .ask(&Request::hold("ana", "watch", 2, "key-limit-h"))
        .json();
    assert_eq!(spending(&server, "ana"), used(PRICE, 5_000, PRICE, 6_000));
    let pays = json!({
        "user_id": "ana", "product_id": "watch", "quantity": 2, "currency": "USD",
        "card_token": "tok_ok", "hold_id": hold["hold_id"],
    });
    let pays = Request::post("/limited/buy")
        .key(SHOP)
        .once("key-limit-3")
        .json(&pays);
    assert_eq!(told(&server.ask(&pays)), refused("daily_limit"));
    let second = buy(&server, "ana", "tok_ok", "key-limit-4");
    assert_eq!(told(&second), PAID);
    assert_eq!(
        told(&buy(&server, "ana", "tok_ok", "key-limit-5")),
        refused("daily_limit")
    );
    assert_eq!(told(&buy(&server, "bo", "tok_ok", "key-limit-6")), PAID);

    server.kill();
    let server = start(&data_dir, limits);
    assert_eq!(
        spending(&server, "ana"),
        used(2 * PRICE, 5_000, 2 * PRICE, 6_000)
    );
    assert_eq!(
        told(&buy(&server, "ana", "tok_ok", "key-limit-7")),
        refused("daily_limit")
    );
    // What was remembered under the key is told again.
    let again = buy(&server, "ana", "tok_ok", "key-limit-5");
    assert_eq!(told(&again), refused("daily_limit"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    // A refund lowers what was used, of the day and ever.
    let id = second.json()["purchase_id"].as_str().unwrap().to_owned();
    let body = json!({"amount": 1_000, "previously_refunded": 0, "reason": "scratched"});
    let path = format!("/admin/purchases/{id}/refunds");
    let refund = Request::post(&path)
        .key(ADMIN)
        .once("key-refund-1")
        .json(&body);
    assert_eq!(server.ask(&refund).status, 201);
    let left = 2 * PRICE - 1_000;
    assert_eq!(spending(&server, "ana"), used(left, 5_000, left, 6_000));
    assert_eq!(told(&buy(&server, "ana", "tok_ok", "key-limit-8")), PAID);
    server.stop();

    // Limits are read at each start.
    let server = start(&data_dir, "lifetime = { USD = 5000 }");
    let ever = left + PRICE;
    assert_eq!(
        spending(&server, "ana"),
        used(ever, Value::Null, ever, 5_000)
    );
    assert_eq!(
        told(&buy(&server, "ana", "tok_ok", "key-limit-9")),
        refused("lifetime_limit")
    );
}

#[test]
fn refusals_come_in_the_contract_order_and_what_is_to_be_paid_counts() {
    let kept = tempfile::tempdir().unwrap();
    let server = start(&kept.path().join("data"), "daily = { USD = 1500 }");
    let promotion = |code: &str, percent: u64| {
        let body = promotion_terms(&json!({"percent_off": percent, "uses_max": 10}));
        let path = format!("/admin/promotions/{code}");
        let put = server.ask(&Request::put(&path).key(ADMIN).json(&body));
        assert_eq!(put.status, 201, "{put:?}");
    };
    promotion("HALF", 50);
    let order = |product: &str, promotion: &str, key: &str| {
        let body = json!({
            "user_id": "ana", "product_id": product, "quantity": 1, "currency": "USD",
            "card_token": "tok_ok", "promotion_code": promotion,
        });
        let request = Request::post("/limited/buy")
            .key(SHOP)
            .once(key)
            .json(&body);
        told(&server.ask(&request))
    };
    server.put_product("none", 0);
    // Before promotion and stock; and by the amount without the promotion that is refused.
    assert_eq!(order("none", "NONE", "key-order-1"), refused("daily_limit"));
    assert_eq!(order("none", "HALF", "key-order-2"), refused("sold_out"));
    assert_eq!(order("watch", "HALF", "key-order-3"), PAID);
    assert_eq!(
        order("watch", "HALF", "key-order-4"),
        refused("daily_limit")
    );
    assert_eq!(
        order("unheard", "HALF", "key-order-5").1,
        "product_not_found"
    );
    assert_eq!(server.stock("watch"), [100, 0, 1, 99]);
}

#[test]
fn one_card_in_many_hands_is_limited_as_one_and_so_is_a_device() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    // Room for ten units.
    let limits = "daily = { USD = 20000 }\nby = [\"user\", \"card_token\", \"device\"]";
    let mut server = start(&data_dir, limits);
    let paid = |server: &Server, round: usize| -> usize {
        let buyer = |thread: usize| {
            let mut client = server.connect();
            let mut paid = 0;
            for turn in 0..3 {
                let (user, key) = (
                    format!("u-{thread}"),
                    format!("key-{round}-{thread}-{turn}"),
                );
                let answer = client.ask(&Request::buy(&user, "watch", "tok_ok", &key));
                match told(&answer) {
                    told if told == PAID => paid += 1,
                    told => assert_eq!(told, refused("daily_limit")),
                }
            }
            paid
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20).map(|it| scope.spawn(move || buyer(it))).collect();
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        })
    };
    assert_eq!(paid(&server, 1), 10);
    assert_eq!(server.stock("watch"), [100, 0, 10, 90]);
    server.kill();
    let mut server = start(&data_dir, limits);
    assert_eq!(paid(&server, 2), 0);
    // A snapshot leads to the same.
    assert_eq!(
        server
            .ask(&Request::post("/admin/snapshot").key(ADMIN))
            .status,
        200
    );
    server.kill();
    let server = start(&data_dir, limits);
    assert_eq!(paid(&server, 3), 0);

    let order = |card: &str, user: &str, quantity: u64, key: &str| {
        let body = json!({
            "user_id": user, "product_id": "watch", "quantity": quantity, "currency": "USD",
            "card_token": card, "device_id": "phone-1",
        });
        let request = Request::post("/limited/buy")
            .key(SHOP)
            .once(key)
            .json(&body);
        told(&server.ask(&request))
    };
    // Another card of the same device: what the first could not pay is given back.
    assert_eq!(order("tok_slow_1", "dee", 6, "key-device-1"), PAID);
    assert_eq!(order("tok_declined", "eve", 4, "key-device-2").0, 402);
    assert_eq!(
        order("tok_slow_2", "eve", 5, "key-device-3"),
        refused("daily_limit")
    );
    assert_eq!(order("tok_slow_2", "eve", 4, "key-device-4"), PAID);
    assert_eq!(
        order("tok_slow_3", "fay", 1, "key-device-5"),
        refused("daily_limit")
    );
    server.stop();

    // What is counted is read at each start, too.
    let server = start(&data_dir, "daily = { USD = 20000 }");
    until("it is up", || {
        (buy(&server, "gil", "tok_ok", "key-last-1").status == 201).then_some(())
    });
}
