//! Card numbers are refused wherever text is kept, however they are written, and what only looks
//! like one is not: one table of examples for the search and for every entrance, and rates over
//! numbers drawn at random.

mod examples;

use examples::{REFUSED, TAKEN};
use holdfast::ids::holds_card_number;
use serde_json::{Value, json};
use support::{ADMIN, Request, SHOP, Setup, signing};

/// Digits of a sequence that is the same in every run (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap()))
            .collect()
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let all = format!(
            "{:016x}{:016x}",
            high & !0xf000 | 0x4000,
            low & !(3 << 62) | 1 << 63
        );
        let cut = |from, to| &all[from..to];
        [cut(0, 8), cut(8, 12), cut(12, 16), cut(16, 20), cut(20, 32)].join("-")
    }

    /// A number of `length` digits that begins with `prefix` and passes Luhn's check.
    fn card(&mut self, prefix: &str, length: usize) -> String {
        let body = format!("{prefix}{}", self.digits(length - prefix.len() - 1));
        let sum: u32 = body
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, byte)| {
                let digit = u32::from(byte - b'0') * if place % 2 == 0 { 2 } else { 1 };
                digit / 10 + digit % 10
            })
            .sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    }
}

/// How many of `count` texts are refused.
fn refused(count: u32, mut draw: impl FnMut() -> String) -> u32 {
    (0..count)
        .map(|_| u32::from(holds_card_number(&draw())))
        .sum()
}

#[test]
fn the_table_of_examples_holds() {
    for text in REFUSED {
        assert!(holds_card_number(text), "{text:?} is to be refused");
    }
    for text in TAKEN {
        assert!(!holds_card_number(text), "{text:?} is to be taken");
    }
}

#[test]
fn false_positives_are_as_rare_as_documented() {
    const COUNT: u32 = 40_000;
    let mut draw = Draw(1);
    let uuids = refused(COUNT, || draw.uuid());
    let tokens_of_uuids = refused(COUNT, || format!("tok_{}", draw.uuid().replace('-', "")));
    assert_eq!((uuids, tokens_of_uuids), (0, 0));
    for (unit, digits) in [
        ("s", 1_u64),
        ("ms", 1_000),
        ("us", 1_000_000),
        ("ns", 1_000_000_000),
    ] {
        let of_clocks = refused(COUNT, || {
            let second = 1_600_000_000 + draw.below(400_000_000);
            let at = u128::from(second) * u128::from(digits) + u128::from(draw.below(digits));
            format!("tok_{at}")
        });
        assert_eq!(of_clocks, 0, "time stamps in {unit}");
    }
    let of_calendars = refused(COUNT, || {
        let [month, day] = [12, 28].map(|bound| 1 + draw.below(bound));
        let [hour, minute, second] = [24, 60, 60].map(|bound| draw.below(bound));
        let (year, rest) = (2020 + draw.below(30), draw.below(7));
        let fraction = draw.digits(usize::try_from(rest).unwrap());
        match draw.below(2) {
            0 => format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}{fraction}"),
            _ => format!(
                "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{fraction}0+05:30"
            ),
        }
    });
    assert_eq!(of_calendars, 0);
    for (length, per_mille) in [
        (12, 1),
        (13, 15),
        (14, 6),
        (15, 15),
        (16, 50),
        (17, 85),
        (18, 25),
        (19, 65),
        (20, 5),
        (22, 1),
        (24, 1),
        (32, 1),
    ] {
        let found = refused(COUNT, || format!("tok_{}", draw.digits(length)));
        assert!(
            found * 1_000 <= per_mille * COUNT,
            "{length} digits: {found} of {COUNT}"
        );
    }
}

/// How people and programs write the digits of a number, and what may stand around it.
fn spellings(number: &str) -> Vec<String> {
    let grouped = |separator: &str| {
        let cuts: &[usize] = match number.len() {
            14 | 15 => &[4, 10],
            _ => &[4, 8, 12, 16],
        };
        let mut text = String::new();
        for (place, digit) in number.chars().enumerate() {
            if cuts.contains(&place) {
                text.push_str(separator);
            }
            text.push(digit);
        }
        text
    };
    let apart = |separator: &str| {
        let digits: Vec<String> = number.chars().map(String::from).collect();
        digits.join(separator)
    };
    let in_script = |zero: u32| -> String {
        let digit = |c: char| char::from_u32(zero + c.to_digit(10).unwrap()).unwrap();
        number.chars().map(digit).collect()
    };
    let mut all = vec![
        number.to_owned(),
        format!("tok_{number}"),
        format!("{number} 12/28"),
    ];
    all.extend([" ", "-", "\u{2013}", "\u{a0}", ".", "_", "/", "\u{200b}"].map(grouped));
    all.extend([" ", "-", "\u{200d}"].map(apart));
    all.extend([0x660, 0x966, 0xff10, 0x1d7ce, 0x1d7f6].map(in_script));
    all.push(format!("ref 20261130 {} 4 units", grouped(" ")));
    all.push(format!("99-{}-99", grouped("-")));
    all
}

#[test]
fn every_schemes_numbers_are_found_in_every_spelling() {
    let mut draw = Draw(2);
    let schemes: [(&str, &[usize]); 20] = [
        ("4", &[13, 16, 19]),
        ("51", &[16]),
        ("55", &[16]),
        ("2221", &[16]),
        ("2720", &[16]),
        ("34", &[15]),
        ("37", &[15]),
        ("6011", &[16, 17, 18, 19]),
        ("644", &[16, 19]),
        ("65", &[16, 19]),
        ("300", &[14, 16, 19]),
        ("305", &[14, 16]),
        ("36", &[14, 16]),
        ("39", &[14, 16]),
        ("3528", &[16, 19]),
        ("3589", &[16, 19]),
        ("62", &[16, 17, 18, 19]),
        ("2204", &[16, 19]),
        ("6759", &[12, 13, 16, 18, 19]),
        ("82", &[16]),
    ];
    for (prefix, lengths) in schemes {
        for length in lengths {
            for _ in 0..40 {
                let number = draw.card(prefix, *length);
                for text in spellings(&number) {
                    assert!(holds_card_number(&text), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn a_card_number_is_found_next_to_expiry_dates_and_security_codes() {
    let mut draw = Draw(3);
    for (prefix, length) in [("4", 16), ("53", 16), ("37", 15), ("36", 14), ("6011", 16)] {
        for _ in 0..200 {
            let number = draw.card(prefix, length);
            let code = draw.digits(if length == 15 { 4 } else { 3 });
            for text in [
                format!("{number}1228"),
                format!("{number}2812"),
                format!("{number}122028"),
                format!("{number}1228{code}"),
                format!("{number}{code}"),
                format!("0000{number}"),
                format!("{number}000"),
                format!("99{number}99"),
                format!("{number}=2812101{code}00000"),
            ] {
                assert!(holds_card_number(&text), "{text}");
            }
        }
    }
}

/// A call that keeps a text, made with that text in its place.
struct Entrance {
    name: &'static str,
    /// Whether only the characters of ids may stand there.
    takes_ids_only: bool,
    ask: fn(&str) -> Request,
}

fn admin(request: Request, body: &Value) -> Request {
    request.key(ADMIN).json(body)
}

fn product(name: &str) -> Value {
    json!({
        "name": name, "price": {"USD": 1999}, "stock": 5, "per_user_limit": null,
        "starts_at": null, "ends_at": null, "active": true,
    })
}

fn promotion(segment: &str) -> Value {
    json!({
        "percent_off": 10, "uses_max": 5, "uses_per_user_max": null, "segments": [segment],
        "starts_at": null, "ends_at": null, "active": true,
    })
}

fn hold_with(metadata: &Value) -> Request {
    let body = json!({
        "user_id": "ana", "product_id": "no-such-product", "quantity": 1, "metadata": metadata,
    });
    let post = Request::post("/limited/holds").key(SHOP);
    post.once("a-key-of-ana-3").json(&body)
}

const NOBODYS: &str = "/admin/reviews/p_0000000000012c07/approve";

/// Everything that takes words which are kept. What is wrong beside the words is answered
/// otherwise than with 400, or not at all.
const ENTRANCES: [Entrance; 16] = [
    Entrance {
        name: "card token",
        takes_ids_only: true,
        ask: |text| Request::buy("ana", "no-such-product", text, "a-key-of-ana-1"),
    },
    Entrance {
        name: "promotion code of a hold",
        takes_ids_only: true,
        ask: |text| {
            let body = json!({"user_id": "ana", "product_id": "no-such-product", "quantity": 1, "promotion_code": text});
            Request::post("/limited/holds")
                .key(SHOP)
                .once("a-key-of-ana-2")
                .json(&body)
        },
    },
    Entrance {
        name: "segment of a buyer",
        takes_ids_only: true,
        ask: |text| {
            admin(
                Request::put("/admin/users/bo/rating"),
                &json!({"segment": text, "risk_score": null, "account_since": null}),
            )
        },
    },
    Entrance {
        name: "name of a webhook secret",
        takes_ids_only: true,
        ask: |text| {
            // A key that is too short is named as well, and nothing is added.
            let body = json!({"id": text, "format": "holdfast", "key": format!("a-long-key-for-{text}-0000")});
            admin(Request::post("/admin/webhooks/secrets"), &body)
        },
    },
    Entrance {
        name: "reason of a refund",
        takes_ids_only: false,
        ask: |text| {
            let path = "/admin/purchases/p_0000000000012c07/refunds";
            let body = json!({"previously_refunded": 0, "reason": format!("for {text} .")});
            admin(Request::post(path).once("a-key-of-refunds"), &body)
        },
    },
    Entrance {
        name: "note of a review",
        takes_ids_only: false,
        ask: |text| {
            admin(
                Request::post(NOBODYS),
                &json!({"note": format!("for {text} .")}),
            )
        },
    },
    Entrance {
        name: "reason of a pause",
        takes_ids_only: false,
        ask: |text| {
            let body = json!({"until": "2999-01-01T00:00:00Z", "reason": format!("for {text} .")});
            admin(Request::post("/admin/users/bo/pause"), &body)
        },
    },
    Entrance {
        name: "comment in rules",
        takes_ids_only: false,
        ask: |text| {
            let line = text.replace(['\n', '\r', '\t'], " ");
            let body = format!(
                "# for {line} .\n[[rule]]\nname = \"all\"\nwhen = \"amount > 1\"\nthen = \"observe\"\n"
            );
            let mut put = Request::put("/admin/risk/rules").key(ADMIN);
            put = put.header("content-type", "application/toml");
            put.body = body.into_bytes();
            put
        },
    },
    Entrance {
        name: "name of a rule",
        takes_ids_only: true,
        ask: |text| {
            admin(
                Request::put("/admin/risk/rules"),
                &json!({"rule": [{"name": text, "when": "amount > 1", "then": "observe"}]}),
            )
        },
    },
    Entrance {
        name: "segment in a rule",
        takes_ids_only: true,
        ask: |text| {
            let when = format!("segment == '{text}'");
            admin(
                Request::put("/admin/risk/rules"),
                &json!({"rule": [{"name": "one", "when": when, "then": "observe"}]}),
            )
        },
    },
    Entrance {
        name: "name of a product",
        takes_ids_only: false,
        ask: |text| {
            let name = format!("for {} .", text.replace(['\n', '\r', '\t'], " "));
            admin(Request::put("/admin/products/named"), &product(&name))
        },
    },
    Entrance {
        name: "name of a product that is changed",
        takes_ids_only: false,
        ask: |text| {
            let name = format!("for {} .", text.replace(['\n', '\r', '\t'], " "));
            admin(
                Request::new("PATCH", "/admin/products/drop-1"),
                &json!({"name": name}),
            )
        },
    },
    Entrance {
        name: "code of a promotion",
        takes_ids_only: true,
        ask: |text| {
            let path = format!("/admin/promotions/{text}");
            admin(Request::put(&path), &promotion("gold"))
        },
    },
    Entrance {
        name: "segment of a promotion",
        takes_ids_only: true,
        ask: |text| admin(Request::put("/admin/promotions/FOR-SOME"), &promotion(text)),
    },
    Entrance {
        name: "metadata's value",
        takes_ids_only: false,
        ask: |text| hold_with(&json!({"note": text})),
    },
    Entrance {
        name: "metadata's key",
        takes_ids_only: true,
        ask: |text| hold_with(&json!({"m": "x", text.get(..40).unwrap_or(text): "x"})),
    },
];

fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[test]
fn every_input_refuses_card_numbers_of_the_table_and_accepts_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let server = Setup::demo().data_dir(directory.path()).start();
    let mut connection = server.connect();
    for entrance in ENTRANCES {
        let fits = |text: &&&str| !entrance.takes_ids_only || is_id(text);
        for text in REFUSED.iter().filter(fits) {
            let answer = connection.ask(&(entrance.ask)(text));
            assert_eq!(
                answer.status, 400,
                "{}: {text:?}: {answer:?}",
                entrance.name
            );
            assert!(
                !support::shows_card_number(&answer.text()),
                "{}: {answer:?}",
                entrance.name
            );
        }
        let taken = TAKEN
            .iter()
            .filter(fits)
            .filter(|text| entrance.takes_ids_only || !text.is_empty());
        // No more secrets than this may be added.
        let most = if entrance.name == "name of a webhook secret" {
            10
        } else {
            TAKEN.len()
        };
        for text in taken.take(most) {
            let answer = connection.ask(&(entrance.ask)(text));
            assert_ne!(
                answer.status, 400,
                "{}: {text:?}: {answer:?}",
                entrance.name
            );
        }
    }
    let (_, lines) = server.stop();
    let log = support::binary()
        .arg("log")
        .arg(directory.path())
        .output()
        .unwrap();
    let kept = lines.join("\n") + &String::from_utf8_lossy(&log.stdout);
    assert!(kept.contains("buyer_paused"), "what was taken is there");
    for text in REFUSED {
        assert!(!kept.contains(text), "{text:?} was kept");
    }
}

#[test]
fn a_webhooks_words_that_hold_one_are_dropped_and_the_webhook_is_taken() {
    let server = signing::start();
    let words: Vec<&str> = REFUSED.into_iter().filter(|text| is_id(text)).collect();
    for (number, word) in words.iter().enumerate() {
        let purchase = signing::bought(&server, &format!("user-{number}"));
        let event = signing::event(
            &format!("evt-{number}"),
            "dispute.opened",
            signing::id_of(&purchase),
            0,
        );
        let mut event: Value = serde_json::from_str(&event).unwrap();
        event["data"]["reason"] = json!(word);
        let own = signing::Own::new(&format!("nonce-{number}"), &event.to_string());
        assert_eq!(
            signing::tell(&server, &own.request()),
            "processed",
            "{word}"
        );
    }
    let audit = Request::get("/admin/audit?kind=dispute_opened&limit=1000").key(ADMIN);
    let audit = server.ask(&audit).json();
    let events = audit["events"].as_array().unwrap();
    assert_eq!(events.len(), words.len());
    for event in events {
        assert_eq!(event["code"], Value::Null, "{event}");
    }
}
