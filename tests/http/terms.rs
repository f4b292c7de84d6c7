//! The terms of products and promotions: what PUT has to say, what PATCH changes, entity tags and
//! preconditions, totals changed by a number, lists by page.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Barrier;
use support::{
    ADMIN, Client, Request, Response, SHOP, Server, Setup, product_terms, promotion_terms,
};

const PRODUCT: &str = "/admin/products/lamp";
const PROMOTION: &str = "/admin/promotions/TEN";

fn admin(server: &Server, request: Request) -> Response {
    server.ask(&request.key(ADMIN))
}

fn lamp() -> Value {
    product_terms(&json!({
        "name": "Lamp", "price": {"USD": 1999, "EUR": 1899}, "stock": 10, "per_user_limit": 2,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2999-01-01T00:00:00Z", "active": false,
    }))
}

fn ten() -> Value {
    promotion_terms(&json!({
        "percent_off": 10, "uses_max": 5, "uses_per_user_max": 1, "product_ids": ["lamp"],
        "segments": ["vip"],
    }))
}

fn patch(path: &str, body: &Value) -> Request {
    patched(path, &body.to_string(), "application/merge-patch+json")
}

fn patched(path: &str, body: &str, kind: &str) -> Request {
    let mut request = Request::new("PATCH", path).header("content-type", kind);
    request.body = body.as_bytes().to_vec();
    request
}

fn tag(answer: &Response) -> String {
    let tag = answer.header("etag").expect("every answer has its tag");
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    tag.to_owned()
}

/// The fields that a refusal names.
fn fields(answer: &Response) -> BTreeSet<String> {
    let errors = answer.json()["errors"].clone();
    let errors = errors.as_array().expect("it says which").iter();
    errors
        .map(|it| it["field"].as_str().unwrap().to_owned())
        .collect()
}

fn put_both(server: &Server) {
    for (path, body) in [(PRODUCT, lamp()), (PROMOTION, ten())] {
        let put = admin(server, Request::put(path).json(&body));
        assert_eq!(put.status, 201, "{put:?}");
    }
}

#[test]
fn fields_missing_in_put_are_refused_and_have_no_default() {
    let server = Setup::demo().start();
    put_both(&server);
    let optional = ["hold_ttl_s", "reward_tokens", "product_ids", "segments"];
    for (path, whole) in [(PRODUCT, lamp()), (PROMOTION, ten())] {
        let before = admin(&server, Request::get(path));
        for name in whole.as_object().unwrap().keys() {
            let mut body = whole.clone();
            body.as_object_mut().unwrap().remove(name);
            let put = admin(&server, Request::put(path).json(&body));
            if optional.contains(&name.as_str()) {
                assert_eq!(put.status, 200, "{name}: {put:?}");
                continue;
            }
            assert_eq!(put.status, 400, "{name}: {put:?}");
            assert_eq!(put.reason(), "invalid_request");
            assert_eq!(fields(&put), [name.clone()].into(), "{put:?}");
        }
        let put = admin(&server, Request::put(path).json(&json!({})));
        assert!(fields(&put).len() >= 5, "all of them are named: {put:?}");
        // The optional ones were put away and back; nothing else has changed.
        assert_eq!(admin(&server, Request::put(path).json(&whole)).status, 200);
        assert_eq!(admin(&server, Request::get(path)).body, before.body);
    }
}

#[test]
fn an_empty_list_or_null_opens_nothing() {
    let server = Setup::demo().start();
    put_both(&server);
    for (path, whole, name, value) in [
        (PROMOTION, ten(), "product_ids", json!([])),
        (PROMOTION, ten(), "segments", json!([])),
        (PRODUCT, lamp(), "price", json!({})),
        (PRODUCT, lamp(), "price", Value::Null),
        (PRODUCT, lamp(), "name", Value::Null),
        (PRODUCT, lamp(), "stock", Value::Null),
        (PRODUCT, lamp(), "active", Value::Null),
        (PROMOTION, ten(), "active", Value::Null),
        (PROMOTION, ten(), "uses_max", Value::Null),
        (PROMOTION, ten(), "percent_off", Value::Null),
    ] {
        let before = admin(&server, Request::get(path));
        let mut body = whole.clone();
        body[name] = value.clone();
        for request in [
            Request::put(path).json(&body),
            patch(path, &json!({ name: value })),
        ] {
            let answer = admin(&server, request);
            // An empty price merged in changes nothing, by the standard.
            let merges_nothing = answer.status == 200 && value == json!({});
            assert!(answer.status == 400 || merges_nothing, "{name}: {answer:?}");
            if !merges_nothing {
                assert_eq!(fields(&answer), [name.to_owned()].into(), "{answer:?}");
            }
        }
        assert_eq!(
            admin(&server, Request::get(path)).body,
            before.body,
            "{name}"
        );
    }
    // Null where it means none.
    for (path, whole, name) in [
        (PRODUCT, lamp(), "per_user_limit"),
        (PRODUCT, lamp(), "starts_at"),
        (PRODUCT, lamp(), "ends_at"),
        (PROMOTION, ten(), "uses_per_user_max"),
    ] {
        let mut body = whole;
        body[name] = Value::Null;
        let put = admin(&server, Request::put(path).json(&body));
        assert_eq!((put.status, &put.json()[name]), (200, &Value::Null));
    }
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let server = Setup::demo().start();
    put_both(&server);
    let cases = [
        (PRODUCT, json!({"active": true}), "active", json!(true)),
        (
            PRODUCT,
            json!({"price": {"EUR": null, "KRW": 25_000}}),
            "price",
            json!({"USD": 1999, "KRW": 25_000}),
        ),
        (
            PRODUCT,
            json!({"per_user_limit": null}),
            "per_user_limit",
            Value::Null,
        ),
        (PRODUCT, json!({"hold_ttl_s": 60}), "hold_ttl_s", json!(60)),
        (
            PRODUCT,
            json!({"hold_ttl_s": null}),
            "hold_ttl_s",
            Value::Null,
        ),
        (
            PRODUCT,
            json!({"reward_tokens": 3}),
            "reward_tokens",
            json!(3),
        ),
        (
            PRODUCT,
            json!({"reward_tokens": null}),
            "reward_tokens",
            json!(0),
        ),
        (
            PRODUCT,
            json!({"starts_at": null}),
            "starts_at",
            Value::Null,
        ),
        (
            PRODUCT,
            json!({"ends_at": "2030-06-01T09:00:00+09:00"}),
            "ends_at",
            json!("2030-06-01T00:00:00.000Z"),
        ),
        (PRODUCT, json!({}), "name", json!("Lamp")),
        (
            PROMOTION,
            json!({"segments": null}),
            "segments",
            Value::Null,
        ),
        (
            PROMOTION,
            json!({"product_ids": ["lamp", "vase"]}),
            "product_ids",
            json!(["lamp", "vase"]),
        ),
        (
            PROMOTION,
            json!({"percent_off": null, "amount_off": {"USD": 100}}),
            "amount_off",
            json!({"USD": 100}),
        ),
    ];
    for (path, change, name, expected) in cases {
        let mut before = admin(&server, Request::get(path)).json();
        let answer = admin(&server, patch(path, &change));
        assert_eq!(answer.status, 200, "{change}: {answer:?}");
        let mut after = answer.json();
        assert_eq!(after[name], expected, "{change}");
        assert_eq!(after, admin(&server, Request::get(path)).json());
        for shown in [&mut before, &mut after] {
            for changed in change
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .chain(["status"])
            {
                shown.as_object_mut().unwrap().remove(changed);
            }
        }
        assert_eq!(before, after, "{change}");
    }
    let total = admin(&server, patch(PRODUCT, &json!({"stock": 7})));
    assert_eq!(total.json()["stock"]["total"], 7);
    // Plain JSON is taken for a patch as well.
    let plain = Request::new("PATCH", PRODUCT).json(&json!({"name": "Lamp 2"}));
    assert_eq!(admin(&server, plain).json()["name"], "Lamp 2");
}

#[test]
fn a_patch_that_does_not_fit_changes_nothing() {
    let server = Setup::demo().start();
    put_both(&server);
    let before = admin(&server, Request::get(PRODUCT));
    for (change, field) in [
        (json!({"price": {"USD": null, "EUR": null}}), "price"),
        (json!({"active": "yes"}), "active"),
        (json!({"color": "red"}), "color"),
        (json!({"ends_at": "2025-01-01T00:00:00Z"}), "ends_at"),
        (json!({"active": true, "stock": -1}), "stock"),
        (json!({"stock": {"total": 3}}), "stock"),
        (json!([]), "body"),
        (json!("x"), "body"),
    ] {
        let answer = admin(&server, patch(PRODUCT, &change));
        assert_eq!(answer.status, 400, "{change}: {answer:?}");
        assert_eq!(fields(&answer), [field.to_owned()].into(), "{change}");
    }
    let both = admin(
        &server,
        patch(PROMOTION, &json!({"amount_off": {"USD": 1}})),
    );
    assert_eq!(fields(&both), ["percent_off".to_owned()].into(), "{both:?}");
    let twice = r#"{"active":true,"active":false}"#;
    let twice = patched(PRODUCT, twice, "application/json");
    assert_eq!(admin(&server, twice).status, 400);
    let unknown = admin(
        &server,
        patch("/admin/products/none", &json!({"active": true})),
    );
    assert_eq!(
        (unknown.status, unknown.reason().as_str()),
        (404, "product_not_found")
    );
    let unknown = admin(
        &server,
        patch("/admin/promotions/NONE", &json!({"active": true})),
    );
    assert_eq!(
        (unknown.status, unknown.reason().as_str()),
        (404, "promotion_not_found")
    );
    let form = admin(&server, patched(PRODUCT, "{}", "text/plain"));
    assert_eq!(
        (form.status, form.reason().as_str()),
        (415, "unsupported_media_type")
    );
    assert!(
        form.header("accept-patch")
            .unwrap()
            .contains("application/merge-patch+json")
    );
    assert_eq!(admin(&server, Request::get(PRODUCT)).body, before.body);
}

#[test]
fn patches_of_many_at_once_are_all_there() {
    const HANDS: u32 = 16;
    let server = Setup::demo().start();
    put_both(&server);
    let start = Barrier::new(usize::try_from(HANDS).unwrap());
    std::thread::scope(|scope| {
        for hand in 0..HANDS {
            let (server, start) = (&server, &start);
            scope.spawn(move || {
                let mut client = Client::connect(server.address);
                start.wait();
                let body = match hand % 4 {
                    0 => json!({"price": {"USD": 1000 + hand}}),
                    1 => json!({"price": {"KRW": 1000 + hand}}),
                    2 => json!({"hold_ttl_s": 100 + hand}),
                    _ => json!({ "add": 1 }),
                };
                let request = if hand % 4 == 3 {
                    Request::post(&format!("{PRODUCT}/stock")).json(&body)
                } else {
                    patch(PRODUCT, &body)
                };
                let answer = client.ask(&request.key(ADMIN));
                assert_eq!(answer.status, 200, "{answer:?}");
            });
        }
    });
    let after = admin(&server, Request::get(PRODUCT)).json();
    assert_eq!(after["stock"]["total"], 10 + HANDS / 4);
    assert_eq!(after["price"]["EUR"], 1899);
    for (value, first) in [
        (&after["price"]["USD"], 1000),
        (&after["price"]["KRW"], 1001),
        (&after["hold_ttl_s"], 102),
    ] {
        let value = value.as_u64().unwrap();
        assert!(value >= first && (value - first) % 4 == 0, "{after}");
    }
}

#[test]
fn a_tag_is_of_the_terms_and_the_total_and_not_of_what_is_sold() {
    let kept = tempfile::tempdir().unwrap();
    let data = kept.path().join("data");
    let server = Setup::demo().data_dir(&data).start();
    put_both(&server);
    let first = tag(&admin(&server, Request::get(PRODUCT)));
    let opened = admin(&server, patch(PRODUCT, &json!({"active": true})));
    let open = tag(&opened);
    assert_ne!(first, open);
    assert_eq!(
        server
            .ask(&Request::hold("ana", "lamp", 1, "key-tag-01"))
            .status,
        201
    );
    let held = admin(&server, Request::get(PRODUCT));
    assert_eq!(
        (tag(&held), held.json()["stock"]["held"].as_u64()),
        (open.clone(), Some(1))
    );
    let more = admin(
        &server,
        Request::post(&format!("{PRODUCT}/stock")).json(&json!({"add": 1})),
    );
    let grown = tag(&more);
    assert_ne!(grown, open);
    assert_eq!(tag(&admin(&server, Request::new("HEAD", PRODUCT))), grown);
    let back = admin(&server, Request::put(PRODUCT).json(&lamp()));
    assert_eq!(tag(&back), first, "the same terms have the same tag");
    let promotion = tag(&admin(&server, Request::get(PROMOTION)));
    server.stop();
    let server = Setup::demo().data_dir(&data).start();
    assert_eq!(tag(&admin(&server, Request::get(PRODUCT))), first);
    assert_eq!(tag(&admin(&server, Request::get(PROMOTION))), promotion);
}

#[test]
fn preconditions_hold_or_nothing_is_done() {
    let server = Setup::demo().start();
    for (path, whole, other) in [
        (PRODUCT, lamp(), json!({"active": true})),
        (PROMOTION, ten(), json!({"active": false})),
    ] {
        let put = |name: &str, value: &str| {
            admin(&server, Request::put(path).json(&whole).header(name, value))
        };
        let failed = |answer: &Response| {
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (412, "precondition_failed"),
                "{answer:?}"
            );
        };
        // Nothing is there yet.
        failed(&put("if-match", "*"));
        failed(&put("if-match", "\"x\""));
        assert_eq!(admin(&server, Request::get(path)).status, 404);
        let made = put("if-none-match", "*");
        assert_eq!(made.status, 201);
        let first = tag(&made);
        // It is.
        let again = put("if-none-match", "*");
        failed(&again);
        assert_eq!(again.json()["etag"], first.as_str());
        assert_eq!(tag(&again), first);
        failed(&put("if-none-match", &first));
        failed(&put("if-match", "\"another\""));
        failed(&put("if-match", &format!("W/{first}")));
        assert_eq!(put("if-match", "*").status, 200);
        assert_eq!(
            put("if-match", &format!("\"another\", {first}")).status,
            200
        );
        let changed = admin(&server, patch(path, &other).header("if-match", &first));
        assert_eq!(changed.status, 200, "{changed:?}");
        let second = tag(&changed);
        // Who has seen the first state only changes nothing any more.
        failed(&admin(
            &server,
            patch(path, &other).header("if-match", &first),
        ));
        failed(&put("if-match", &first));
        let wrong = put("if-match", "unquoted");
        assert_eq!(
            (wrong.status, fields(&wrong)),
            (400, ["If-Match".to_owned()].into())
        );
        // Reads.
        let get = |name: &str, value: &str| admin(&server, Request::get(path).header(name, value));
        let known = get("if-none-match", &format!("\"x\", W/{second}"));
        assert_eq!((known.status, known.body.len()), (304, 0), "{known:?}");
        assert_eq!(tag(&known), second);
        assert_eq!(get("if-none-match", &first).status, 200);
        assert_eq!(get("if-match", &second).status, 200);
        failed(&get("if-match", &first));
    }
    let add = |tag: &str| {
        let add = Request::post(&format!("{PRODUCT}/stock")).json(&json!({"add": 5}));
        admin(&server, add.header("if-match", tag))
    };
    let seen = tag(&admin(&server, Request::get(PRODUCT)));
    assert_eq!(add(&seen).status, 200);
    // The same request once more, after an answer that was lost, adds nothing.
    assert_eq!(add(&seen).reason(), "precondition_failed");
    assert_eq!(server.stock("lamp")[0], 15);
}

#[test]
fn a_total_is_changed_by_a_number_down_to_what_is_committed() {
    let server = Setup::demo().start();
    server.put_product("few", 5);
    let add = |add: Value| {
        let request = Request::post("/admin/products/few/stock").json(&json!({ "add": add }));
        admin(&server, request)
    };
    assert_eq!(
        server
            .ask(&Request::hold("ana", "few", 2, "key-few-01"))
            .status,
        201
    );
    assert_eq!(
        server
            .ask(&Request::buy("bo", "few", "tok_ok", "key-few-02"))
            .status,
        201
    );
    assert_eq!(add(json!(3)).json()["stock"]["total"], 8);
    let least = add(json!(-5));
    assert_eq!(
        (least.status, &least.json()["stock"]["available"]),
        (200, &json!(0))
    );
    for step in [-1, -2_000_000] {
        let below = add(json!(step));
        assert_eq!(
            (below.status, below.reason().as_str()),
            (409, "stock_below_committed")
        );
        let told = below.json();
        assert_eq!(told["committed"], 3, "{told}");
        assert_eq!(
            told["stock"],
            json!({"total": 3, "held": 2, "sold": 1, "available": 0})
        );
    }
    // The same figures where the total is put or patched.
    let below = admin(&server, patch("/admin/products/few", &json!({"stock": 2})));
    assert_eq!((below.status, &below.json()["committed"]), (409, &json!(3)));
    for wrong in [
        json!(2_097_151),
        json!(2_097_152),
        json!("1"),
        json!(1.5),
        Value::Null,
    ] {
        let answer = add(wrong.clone());
        assert_eq!(
            (answer.status, fields(&answer)),
            (400, ["add".to_owned()].into()),
            "{wrong}"
        );
    }
    assert_eq!(server.stock("few"), [3, 2, 1, 0]);
    let none = Request::post("/admin/products/none/stock").json(&json!({"add": 1}));
    assert_eq!(admin(&server, none).reason(), "product_not_found");
    let shop = Request::post("/admin/products/few/stock").json(&json!({"add": 1}));
    assert_eq!(server.ask(&shop.key(SHOP)).status, 403);
}

#[test]
fn a_maximum_below_the_uses_is_refused_with_both() {
    let server = Setup::demo().start();
    let ten = promotion_terms(&json!({"percent_off": 10, "uses_max": 5}));
    assert_eq!(
        admin(&server, Request::put(PROMOTION).json(&ten)).status,
        201
    );
    for user in ["ana", "bo"] {
        let mut order = Request::buy(user, "drop-1", "tok_ok", &format!("key-use-{user}"));
        let mut body: Value = serde_json::from_slice(&order.body).unwrap();
        body["promotion_code"] = "TEN".into();
        order.body = body.to_string().into_bytes();
        assert_eq!(server.ask(&order).status, 201);
    }
    let lowered = admin(&server, patch(PROMOTION, &json!({"uses_max": 1})));
    assert_eq!(
        (lowered.status, lowered.reason().as_str()),
        (409, "promotion_below_used")
    );
    assert_eq!(
        (&lowered.json()["uses"], &lowered.json()["uses_max"]),
        (&json!(2), &json!(5))
    );
}

#[test]
fn lists_come_by_page_in_the_order_of_their_names() {
    let server = Setup::demo().start();
    for place in (1..=7).rev() {
        server.put_product(&format!("p-{place}"), 1);
        let code = format!("/admin/promotions/C-{place}");
        let put = promotion_terms(&json!({"percent_off": 1, "uses_max": 1}));
        assert_eq!(admin(&server, Request::put(&code).json(&put)).status, 201);
    }
    for (path, list, name, all) in [
        ("/admin/products", "products", "product_id", 8),
        ("/admin/promotions", "promotions", "code", 8),
    ] {
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = admin(&server, Request::get(&format!("{path}?limit=3{after}"))).json();
            let entries = page[list].as_array().unwrap();
            assert!(entries.len() <= 3);
            seen.extend(
                entries
                    .iter()
                    .map(|it| it[name].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else {
                assert!(page["next"].is_null());
                break;
            };
            assert_eq!(next, seen.last().unwrap());
            after = format!("&after={next}");
        }
        assert_eq!(seen.len(), all);
        assert!(seen.is_sorted(), "{seen:?}");
        let whole = admin(&server, Request::get(path)).json();
        assert_eq!(
            (whole[list].as_array().unwrap().len(), &whole["next"]),
            (all, &Value::Null)
        );
        for wrong in ["limit=0", "limit=1001", "limit=x", "page=2"] {
            assert_eq!(
                admin(&server, Request::get(&format!("{path}?{wrong}"))).status,
                400,
                "{wrong}"
            );
        }
    }
}

#[test]
fn names_show_something_and_turn_nothing() {
    let server = Setup::demo().start();
    let put = |name: &str| {
        let mut body = lamp();
        body["name"] = name.into();
        admin(&server, Request::put(PRODUCT).json(&body))
    };
    for bad in [
        "",
        " ",
        "\u{a0}\u{2003}",
        "\u{200b}",
        "\u{3164}\u{2800}",
        "a\nb",
        "a\u{0}",
        "a\u{85}b",
        "\u{202e}evil",
        "a\u{2066}b",
        "a\u{200f}",
        "a\u{61c}b",
        "a\u{2028}b",
        "a\u{206a}b",
        "a\u{206f}",
        "\u{feff}a",
        "a\u{e0062}\u{e007f}",
        "a\u{200b}b",
    ] {
        let answer = put(bad);
        assert_eq!(answer.status, 400, "{bad:?}");
        assert_eq!(fields(&answer), ["name".to_owned()].into(), "{bad:?}");
    }
    for good in [
        "Lamp",
        "한정판 램프",
        "مصباح",
        "👩‍👩‍👧 set",
        " x ",
        "a\u{ad}b",
        &"é".repeat(200),
    ] {
        assert!(matches!(put(good).status, 200 | 201), "{good:?}");
    }
}

#[test]
fn times_are_of_rfc_3339_up_to_the_end_of_9999() {
    let server = Setup::demo().start();
    let put = |ends_at: &str| {
        let mut body = lamp();
        body["ends_at"] = ends_at.into();
        admin(&server, Request::put(PRODUCT).json(&body))
    };
    for (good, shown) in [
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("2030-01-01t00:00:00.5z", "2030-01-01T00:00:00.500Z"),
        ("2030-01-01T00:00:00-00:00", "2030-01-01T00:00:00.000Z"),
        ("2030-01-01T09:00:00+09:00", "2030-01-01T00:00:00.000Z"),
        ("2030-06-30T23:59:60Z", "2030-07-01T00:00:00.000Z"),
        ("2030-07-01T08:59:60+09:00", "2030-07-01T00:00:00.000Z"),
    ] {
        let answer = put(good);
        assert!(matches!(answer.status, 200 | 201), "{good}: {answer:?}");
        assert_eq!(answer.json()["ends_at"], shown, "{good}");
    }
    for bad in [
        "2030-01-01 00:00:00Z",
        "2030-01-01T00:00Z",
        "2030-01-01",
        "20300101T000000Z",
        "2030-01-01T00:00:00",
        "2030-01-01T00:00:00+09",
        "2030-01-01T00:00:00Z[UTC]",
        "2030-01-01T00:00:00,5Z",
        "2030-02-29T00:00:00Z",
        "2030-01-01T24:00:00Z",
        "2030-06-29T23:59:60Z",
        "2030-06-30T22:59:60Z",
        "2030-06-30T23:59:60+09:00",
        "1969-12-31T23:59:59Z",
        "1893456000",
    ] {
        let answer = put(bad);
        assert_eq!(
            (answer.status, fields(&answer)),
            (400, ["ends_at".to_owned()].into()),
            "{bad}"
        );
    }
    let mut same = lamp();
    same["starts_at"] = same["ends_at"].clone();
    let same = admin(&server, Request::put(PRODUCT).json(&same));
    assert_eq!(
        (same.status, fields(&same)),
        (400, ["ends_at".to_owned()].into())
    );
}

#[test]
fn codes_match_in_every_case_and_are_shown_as_they_were_set() {
    let kept = tempfile::tempdir().unwrap();
    let server = Setup::demo().data_dir(kept.path()).start();
    let at = |code: &str| format!("/admin/promotions/{code}");
    let terms = |uses: u64| {
        promotion_terms(&json!({"percent_off": 10, "uses_max": uses, "uses_per_user_max": 1}))
    };
    let set = admin(&server, Request::put(&at("Early-Bird")).json(&terms(2)));
    assert_eq!(
        (set.status, &set.json()["code"]),
        (201, &json!("Early-Bird"))
    );
    // The same promotion, with the name that it has.
    let again = admin(&server, Request::put(&at("EARLY-BIRD")).json(&terms(5)));
    assert_eq!(
        (again.status, &again.json()["code"]),
        (200, &json!("Early-Bird"))
    );
    let made = Request::put(&at("early-bird")).json(&terms(5));
    assert_eq!(
        admin(&server, made.header("if-none-match", "*")).status,
        412
    );
    let order = |path: &str, user: &str, code: &str, key: &str, hold: Option<&str>| {
        let mut body = json!({
            "user_id": user, "product_id": "drop-1", "quantity": 1, "promotion_code": code,
        });
        if path.ends_with("buy") {
            body["currency"] = "USD".into();
            body["card_token"] = "tok_ok".into();
        }
        if let Some(hold) = hold {
            body["hold_id"] = hold.into();
        }
        server.ask(&Request::post(path).key(SHOP).once(key).json(&body))
    };
    let bought = order("/limited/buy", "ana", "EARLY-BIRD", "key-code-01", None);
    assert_eq!(bought.status, 201, "{bought:?}");
    assert_eq!(bought.json()["promotion_code"], "Early-Bird");
    assert_eq!(bought.json()["discount"]["value"], 199);
    // Under its key, another case is the same order.
    let replayed = order("/limited/buy", "ana", "early-bird", "key-code-01", None);
    assert_eq!((replayed.status, &replayed.body), (201, &bought.body));
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    // The buyer's one use is used, whatever the case.
    let second = order("/limited/buy", "ana", "Early-bird", "key-code-02", None);
    assert_eq!(second.reason(), "promotion_exhausted");
    let placed = order("/limited/holds", "bo", "eARLY-bIRD", "key-code-03", None);
    let hold = placed.json()["hold_id"].as_str().unwrap().to_owned();
    let paid = order(
        "/limited/buy",
        "bo",
        "EARLY-bird",
        "key-code-04",
        Some(&hold),
    );
    assert_eq!(
        (paid.status, &paid.json()["promotion_code"]),
        (201, &json!("Early-Bird"))
    );
    let events = admin(&server, Request::get("/admin/audit?limit=1000")).json();
    let events = events["events"].as_array().unwrap().clone();
    let of = |kind: &str, field: &str| -> BTreeSet<String> {
        let named = |it: &&Value| it["kind"] == kind && !it[field].is_null();
        let named = events.iter().filter(named);
        named
            .map(|it| it[field].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        of("hold_placed", "promotion_code"),
        ["Early-Bird".to_owned()].into()
    );
    assert_eq!(
        of("admin_acted", "target"),
        ["Early-Bird".to_owned()].into()
    );
    server.stop();
    let server = Setup::demo().data_dir(kept.path()).start();
    let shown = admin(&server, Request::get(&at("early-BIRD"))).json();
    assert_eq!(
        (&shown["code"], &shown["uses"]),
        (&json!("Early-Bird"), &json!(2))
    );
    let listed = admin(&server, Request::get("/admin/promotions")).json();
    assert_eq!(
        listed["promotions"].as_array().unwrap().len(),
        2,
        "DEMO10 and this one"
    );
}

/// A shop whose gateway is Stripe; none of these tests asks it for anything.
fn at_stripe() -> Server {
    Setup::demo()
        .config(
            "[drop]\ncurrencies = [\"USD\", \"EUR\", \"KRW\", \"KWD\", \"JPY\"]\n\
             [payments]\ngateway = \"stripe\"\n[payments.stripe]\n\
             secret_key = \"sk_test_of_nobody_at_all_0123456789\"\napi_base = \"http://127.0.0.1:1\"",
        )
        .start()
}

#[test]
fn prices_that_the_gateway_cannot_take_are_refused_with_the_nearest() {
    let server = at_stripe();
    put_both(&server);
    for (currency, price, nearest) in [
        ("KWD", 1_234_u64, "1230 and 1240"),
        ("KWD", 5, "the nearest: 10"),
        ("KWD", 99_999_995, "the nearest: 99999990"),
        ("USD", 49, "the nearest: 50"),
        ("USD", 100_000_000, "the nearest: 99999999"),
        ("JPY", 1, "the nearest: 50"),
        ("KRW", 1_000_000_000_000, "the nearest: 99999999"),
    ] {
        let mut body = lamp();
        body["price"][currency] = price.into();
        let change = json!({ "price": { currency: price } });
        for request in [Request::put(PRODUCT).json(&body), patch(PRODUCT, &change)] {
            let answer = admin(&server, request);
            assert_eq!(answer.status, 400, "{currency} {price}: {answer:?}");
            assert_eq!(fields(&answer), ["price".to_owned()].into());
            let message = answer.json()["errors"][0]["message"].to_string();
            assert!(
                message.contains(nearest) && message.contains(currency),
                "{message}"
            );
        }
    }
    let good = json!({"price": {"KWD": 1_230, "JPY": 50, "USD": 99_999_999}});
    assert_eq!(admin(&server, patch(PRODUCT, &good)).status, 200);
    // The sandbox takes all of them.
    let sandbox = Setup::demo().start();
    let mut body = lamp();
    body["price"] = json!({"USD": 1, "KRW": 1_000_000_000_000_u64});
    assert_eq!(
        admin(&sandbox, Request::put(PRODUCT).json(&body)).status,
        201
    );
}

#[test]
fn discounts_are_rounded_down_to_what_the_gateway_takes_or_refused() {
    let server = at_stripe();
    for (currency, price) in [("KWD", 1_230), ("USD", 60), ("EUR", 90_000_000)] {
        let price = json!({ currency: price });
        let open = product_terms(&json!({"name": "Open", "price": price, "stock": 1_000}));
        let put = Request::put(&format!("/admin/products/in-{currency}")).json(&open);
        assert_eq!(admin(&server, put).status, 201);
    }
    for (code, terms) in [
        ("TENTH", json!({"percent_off": 10, "uses_max": 100})),
        ("HALF", json!({"percent_off": 50, "uses_max": 100})),
        ("ALL", json!({"percent_off": 100, "uses_max": 100})),
        (
            "FEW",
            json!({"amount_off": {"KWD": 7, "USD": 5}, "uses_max": 100}),
        ),
    ] {
        let put = Request::put(&format!("/admin/promotions/{code}"));
        assert_eq!(
            admin(&server, put.json(&promotion_terms(&terms))).status,
            201
        );
    }
    let mut asked = 0;
    let mut ask = |quantity: u64, currency: &str, code: Option<&str>| {
        asked += 1;
        let body = json!({
            "user_id": format!("user-{asked}"), "product_id": format!("in-{currency}"),
            "quantity": quantity, "promotion_code": code,
        });
        let request = Request::post("/limited/holds").key(SHOP);
        server.ask(&request.once(&format!("key-hold-{asked:04}")).json(&body))
    };
    for (quantity, currency, code, discount, amount) in [
        (1, "KWD", None, 0, 1_230),
        // A tenth is 123.
        (1, "KWD", Some("TENTH"), 120, 1_110),
        (3, "KWD", Some("TENTH"), 360, 3_330),
        (1, "KWD", Some("ALL"), 1_230, 0),
        // Half is 30, and 50 the least charge.
        (1, "USD", Some("HALF"), 10, 50),
        (1, "USD", Some("FEW"), 5, 55),
        (2, "EUR", Some("HALF"), 90_000_000, 90_000_000),
        (2, "EUR", Some("ALL"), 180_000_000, 0),
    ] {
        let answer = ask(quantity, currency, code);
        assert_eq!(answer.status, 201, "{currency} {code:?}: {answer:?}");
        let held = answer.json();
        let told = (&held["discount"]["value"], &held["amount"]["value"]);
        assert_eq!(
            told,
            (&json!(discount), &json!(amount)),
            "{currency} {code:?}"
        );
    }
    for (quantity, currency, code, reason) in [
        (2, "EUR", None, "amount_not_payable"),
        (2, "EUR", Some("TENTH"), "amount_not_payable"),
        // Nothing would be left of the discount.
        (1, "KWD", Some("FEW"), "promotion_not_applicable"),
    ] {
        let refused = ask(quantity, currency, code);
        let told = (refused.status, refused.reason());
        assert_eq!(told, (409, reason.to_owned()), "{currency} {code:?}");
        let body = refused.json();
        if reason == "amount_not_payable" {
            let bounds = ["amount_min", "amount_max", "amount_step"].map(|it| body[it].clone());
            assert_eq!(json!(bounds), json!([50, 99_999_999, 1]), "{body}");
            let asked = if code.is_some() {
                162_000_000
            } else {
                180_000_000
            };
            assert_eq!(
                (&body["currency"], &body["amount"]),
                (&json!("EUR"), &json!(asked))
            );
        } else {
            assert_eq!(body["cause"], "currency", "{body}");
        }
    }
    let metrics = admin(&server, Request::get("/metrics")).text();
    let counted =
        "purchase_attempt_total{flow=\"hold\",result=\"refused\",reason=\"amount_not_payable\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    let events = admin(
        &server,
        Request::get("/admin/audit?kind=attempt_refused&limit=100"),
    );
    assert!(events.text().contains("\"reason\":\"amount_not_payable\""));
}
