//! A stopped data directory with nearly every kind of event, and ways to change its bytes at
//! random so that every checksum agrees again.

use super::{ADMIN, Request, SHOP, Setup, product_terms, promotion_terms, signing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A stopped directory with nearly every kind of event, some in its snapshot and some behind it.
pub fn write_history(data_dir: &Path) {
    let config = "[storage]\nsegment_bytes = 1049088\n[review]\namount_over = { USD = 5000 }\n\
                  [limits.rate]\ncount = 1000";
    let server = Setup::demo()
        .config(config)
        .config(signing::SECRETS)
        .data_dir(data_dir)
        .start();
    let admin = |method: &str, path: &str, body: &Value| {
        let key = format!("key-of-{method}-{path}-{body}").replace(['"', ' '], "");
        let request = Request::new(method, path).key(ADMIN).json(body);
        let answer = server.ask(&request.once(&key[..key.len().min(200)]));
        assert!(matches!(answer.status, 200..=202), "{path}: {answer:?}");
        answer.json()
    };
    let product = json!({"name": "Jacket", "price": {"USD": 1999, "KRW": 25000}, "stock": 500, "reward_tokens": 30});
    admin("PUT", "/admin/products/jacket", &product_terms(&product));
    let promotion = json!({"percent_off": 10, "uses_max": 50, "uses_per_user_max": 5});
    admin("PUT", "/admin/promotions/TEN", &promotion_terms(&promotion));
    let mut snapshot_due = true;
    for round in 0..2 {
        let buy = |user: &str, quantity: u32, card: &str| {
            let key = format!("key-buy-{user}-{round}");
            let body = json!({
                "user_id": user, "product_id": "jacket", "quantity": quantity, "currency": "USD",
                "card_token": card, "promotion_code": "TEN", "ip": "192.0.2.7", "device_id": "phone-1",
            });
            let answer = server.ask(
                &Request::post("/limited/buy")
                    .key(SHOP)
                    .once(&key)
                    .json(&body),
            );
            answer.json()["purchase_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let bought = buy("ana", 1, "tok_ok");
        buy("bo", 1, "tok_declined");
        let refunds = format!("/admin/purchases/{bought}/refunds");
        admin(
            "POST",
            &refunds,
            &json!({"amount": 500, "previously_refunded": 0, "reason": "scratched"}),
        );
        let disputed = buy("cy", 2, "tok_ok");
        for (number, kind) in [(1, "dispute.opened"), (2, "dispute.lost")] {
            let id = format!("evt-{round}-{number}");
            let body = signing::event(&id, kind, &disputed, 3 - number);
            let told = server.ask(&signing::Own::new(&format!("nonce-{id}"), &body).request());
            assert_eq!(told.status, 200, "{told:?}");
        }
        for (user, verdict) in [("dee", "approve"), ("eve", "reject")] {
            let reviewed = buy(user, 3, "tok_ok");
            let path = format!("/admin/reviews/{reviewed}/{verdict}");
            admin("POST", &path, &json!({"note": "looked at"}));
        }
        for number in 0..3 {
            let key = format!("key-hold-{round}-{number}");
            let held = server.ask(&Request::hold("fay", "jacket", 2, &key)).json();
            if number == 0 {
                let path = format!("/limited/holds/{}", held["hold_id"].as_str().unwrap());
                assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
            }
        }
        let spend = Request::post("/limited/rewards/cy/spend").key(SHOP);
        server.ask(
            &spend
                .once(&format!("key-spend-{round}"))
                .json(&json!({"tokens": 3})),
        );
        let until = json!({"until": "2999-01-01T00:00:00Z", "reason": "looked at"});
        admin("POST", "/admin/users/gus/pause", &until);
        let rules = json!({"rule": [{"name": "many", "when": "count(attempt by ip last 1h) >= 900", "then": "observe"}]});
        admin("PUT", "/admin/risk/rules", &rules);
        let refused = server.ask(
            &Request::put("/admin/products/jacket")
                .key(SHOP)
                .json(&product),
        );
        assert_eq!(refused.status, 403);
        if std::mem::take(&mut snapshot_due) {
            admin("POST", "/admin/snapshot", &json!({}));
        }
    }
    assert!(server.stop().0.success());
    // Every change to the last frame would be against the mark of a clean stop.
    std::fs::remove_file(data_dir.join("log/closed")).unwrap();
}

/// Every file of the log and its snapshots, by its path below the directory.
pub fn files_of(data_dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["log", "snapshots"] {
        for entry in std::fs::read_dir(data_dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let kind = path.extension().unwrap_or(path.file_name().unwrap());
            if ["wal", "snapshot", "witness"].iter().any(|it| kind == *it) {
                files.insert(format!("{folder}/{name}"), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The first file whose name ends so.
pub fn named(files: &BTreeMap<String, Vec<u8>>, end: &str) -> String {
    let mut names = files.keys().filter(|name| name.ends_with(end));
    names.next().expect("there is one").clone()
}

/// Cuts, flips, or changes what a record or a section says; says which.
pub fn change(
    bytes: &mut Vec<u8>,
    draw: &mut Draws,
    places: &[std::ops::Range<usize>],
) -> &'static str {
    let used = places.last().expect("there are some").end;
    match draw.below(10) {
        0 => {
            bytes.truncate(draw.below(used));
            "a cut"
        }
        1 => {
            let at = draw.below(used);
            bytes[at] ^= 1 << draw.below(8);
            "a flip"
        }
        2 => {
            // Payloads begin with their instant: far in the future.
            let at = places[draw.below(places.len())].start + 5 + draw.below(3);
            bytes[at.min(used - 1)] = 0xff;
            patch::seal(bytes);
            "another instant"
        }
        _ => {
            let place = places[draw.below(places.len())].clone();
            for _ in 0..=draw.below(3) {
                let at = (place.start + draw.below(place.len())).min(place.end.saturating_sub(1));
                bytes[at] = match draw.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ (1 << draw.below(8)),
                    _ => u8::try_from(draw.below(256)).unwrap(),
                };
            }
            patch::seal(bytes);
            "another content"
        }
    }
}

/// Numbers that look random and are the same each time: splitmix64.
pub struct Draws(pub u64);

impl Draws {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from((z ^ (z >> 31)) % bound).unwrap()
    }
}
