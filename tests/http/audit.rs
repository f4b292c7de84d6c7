//! The trail of administrative acts, through the real binary: who did what to what, with how it was
//! before and after; what was refused to a known key; what an auditor may; what stays out.

use holdfast::http::route::Route;
use serde_json::{Value, json};
use support::money::{NOBODY, assert_checks_clean, buy, id_of, part, refunds_of};
use support::{
    ADMIN, Client, KEYS_OF_EACH_ROLE, READER, Request, Response, SCRAPER, SHOP, Server, Setup,
    binary, product_terms, promotion_terms, rating_terms, until,
};

const STRANGER: &str = "a-key-of-nobody-at-all";
const SECRET: &str = "a-secret-for-webhooks-of-32-bytes";

fn start(settings: &str) -> Server {
    Setup::demo()
        .config(settings)
        .config(KEYS_OF_EACH_ROLE)
        .start()
}

/// Every event from `from` on, and where the log ends.
fn events(server: &Server, from: u64) -> (Vec<Value>, u64) {
    let path = format!("/admin/audit?limit=1000&from_lsn={from}");
    let page = server.ask(&Request::get(&path).key(READER)).json();
    assert_eq!(page["more"], false, "{page}");
    let next = page["next_lsn"].as_u64().unwrap();
    (page["events"].as_array().unwrap().clone(), next)
}

/// The events of acts among those, in their order.
fn acts(events: &[Value]) -> Vec<&Value> {
    let of_acts = |it: &&Value| it["kind"].as_str().unwrap().starts_with("admin_");
    events.iter().filter(of_acts).collect()
}

/// The one event that the trail has of what `request` asks for, and its answer.
fn the_one(server: &Server, request: &Request) -> (Value, Response) {
    let (_, from) = events(server, 0);
    let answer = server.ask(request);
    // What is told is durable: nothing is to be waited for.
    let (events, _) = events(server, from);
    let acts = acts(&events);
    assert_eq!(acts.len(), 1, "{request:?}: {events:?}");
    let act = acts[0].clone();
    assert_eq!(act["request_id"], *answer.header("x-request-id").unwrap());
    (act, answer)
}

/// How an act is done, and how it is refused to an administrator; `None`: it never is.
struct Case {
    act: &'static str,
    target: Value,
    done: Request,
    refused: Option<Request>,
}

fn product(name: &str, stock: i64) -> Value {
    product_terms(&json!({"name": name, "price": {"USD": 1999}, "stock": stock}))
}

/// A purchase that waits for a person.
fn under_review(server: &Server, user: &str) -> String {
    let body = json!({
        "user_id": user, "product_id": "drop-1", "quantity": 2, "currency": "USD",
        "card_token": "tok_ok",
    });
    let buy = Request::post("/limited/buy").key(SHOP);
    let bought = server.ask(&buy.once(&format!("key-review-{user}")).json(&body));
    assert_eq!(
        (bought.status, &bought.json()["status"]),
        (202, &json!("under_review"))
    );
    id_of(&bought.json())
}

/// The case of a `route` that writes; a new one must be added here.
#[allow(clippy::too_many_lines, reason = "a table")]
fn case(server: &Server, route: Route) -> Case {
    let case = |act, target: &str, done: Request, refused| Case {
        act,
        target: if target.is_empty() {
            Value::Null
        } else {
            target.into()
        },
        done,
        refused,
    };
    match route {
        Route::PutProduct => {
            let put = |body: &Value| Request::put("/admin/products/one").json(body);
            let (good, bad) = (put(&product("one", 1)), put(&product("one", -1)));
            case("product_set", "one", good, Some(bad))
        }
        Route::PatchProduct => {
            let stock = |stock: i64| {
                Request::new("PATCH", "/admin/products/one").json(&json!({ "stock": stock }))
            };
            case("product_set", "one", stock(2), Some(stock(-1)))
        }
        Route::AddStock => {
            server.put_product("counted", 3);
            let add = |add: i64| {
                Request::post("/admin/products/counted/stock").json(&json!({ "add": add }))
            };
            case("stock_changed", "counted", add(2), Some(add(-9)))
        }
        Route::PutPromotion => {
            let put = |body: &Value| Request::put("/admin/promotions/TEN").json(body);
            let good = put(&promotion_terms(&json!({"percent_off": 10, "uses_max": 5})));
            case("promotion_set", "TEN", good, Some(put(&json!({}))))
        }
        Route::PatchPromotion => {
            let uses = |most: i64| {
                Request::new("PATCH", "/admin/promotions/TEN").json(&json!({ "uses_max": most }))
            };
            case("promotion_set", "TEN", uses(6), Some(uses(-1)))
        }
        Route::Snapshot => case("snapshot", "", Request::post("/admin/snapshot"), None),
        Route::Reconcile => case("reconcile", "", Request::post("/admin/reconcile"), None),
        Route::RefreshSegments => case(
            "segments_refreshed",
            "",
            Request::post("/admin/segments"),
            None,
        ),
        Route::StartRefund => {
            let id = id_of(&buy(server, "ana", "drop-1", "key-audit-1"));
            let refund = |key, before| {
                let request = Request::post(&refunds_of(&id)).once(key);
                request.json(&part(500, before))
            };
            let refused = refund("key-audit-3", 0);
            case("refund", &id, refund("key-audit-2", 0), Some(refused))
        }
        Route::Void => {
            let slow = Request::buy("bo", "drop-1", "tok_capture_busy_99", "key-audit-4");
            let answer = server.ask(&slow);
            assert_eq!(answer.status, 202, "{answer:?}");
            let id = id_of(&answer.json());
            let void = |id: &str| Request::post(&format!("/admin/purchases/{id}/void"));
            case("void", &id, void(&id), Some(void(NOBODY)))
        }
        Route::Settle => {
            let half = Request::buy("cy", "drop-1", "tok_capture_half", "key-audit-5");
            let answer = server.ask(&half);
            assert_eq!(answer.status, 202, "{answer:?}");
            let id = id_of(&answer.json());
            let settle = || {
                let body = json!({"as": "captured", "note": "as agreed"});
                Request::post(&format!("/admin/purchases/{id}/settle")).json(&body)
            };
            case("settle", &id, settle(), Some(settle()))
        }
        Route::AddWebhookSecret => {
            let add = |id: &str| {
                let body = json!({"id": id, "key": SECRET});
                Request::post("/admin/webhooks/secrets").json(&body)
            };
            let refused = add("not an id");
            case("webhook_secret_added", "added", add("added"), Some(refused))
        }
        Route::RetireWebhookSecret => {
            let retire = |id: &str| Request::delete(&format!("/admin/webhooks/secrets/{id}"));
            let refused = retire("none");
            case(
                "webhook_secret_retired",
                "added",
                retire("added"),
                Some(refused),
            )
        }
        Route::ApproveReview | Route::RejectReview => {
            let (act, word) = if route == Route::ApproveReview {
                ("review_approved", "approve")
            } else {
                ("review_rejected", "reject")
            };
            let id = under_review(server, word);
            let decide = |note: &Value| {
                Request::post(&format!("/admin/reviews/{id}/{word}")).json(&json!({ "note": note }))
            };
            let (done, refused) = (decide(&"called back".into()), decide(&"again".into()));
            case(act, &id, done, Some(refused))
        }
        Route::PauseSink | Route::ResumeSink => {
            let (act, word) = if route == Route::PauseSink {
                ("sink_paused", "pause")
            } else {
                ("sink_resumed", "resume")
            };
            let path = |sink: &str| Request::post(&format!("/admin/sinks/{sink}/{word}"));
            case(act, "jsonl", path("jsonl"), Some(path("none")))
        }
        Route::TestSink => {
            let test = |sink: &str| Request::post(&format!("/admin/sinks/{sink}/test"));
            let done = test("webhooks_shop");
            case("webhook_tested", "webhooks_shop", done, Some(test("jsonl")))
        }
        Route::Redrive => {
            let redrive = |sink: &str| {
                Request::post("/admin/dead-letters/redrive").json(&json!({ "sink": sink }))
            };
            let refused = Some(redrive("none"));
            case("dead_letters_redriven", "jsonl", redrive("jsonl"), refused)
        }
        Route::SetRiskRules => {
            let put = |when: &str| {
                let rule = json!({"name": "large", "when": when, "then": "observe"});
                Request::put("/admin/risk/rules").json(&json!({ "rule": [rule] }))
            };
            let (done, refused) = (put("quantity > 9"), put("quantity >"));
            case("risk_rules_set", "", done, Some(refused))
        }
        Route::PauseUser => {
            let pause = |until: &str| {
                let body = json!({"until": until, "reason": "asked to"});
                Request::post("/admin/users/ana/pause").json(&body)
            };
            let refused = pause("2001-01-01T00:00:00Z");
            let done = pause("2099-01-01T00:00:00Z");
            case("buyer_paused", "ana", done, Some(refused))
        }
        Route::UnpauseUser => {
            let lift = |user: &str| Request::delete(&format!("/admin/users/{user}/pause"));
            case("buyer_unpaused", "ana", lift("ana"), Some(lift("a%20b")))
        }
        Route::RateUser => {
            let rate = |score: u32| {
                let body = rating_terms(&json!({ "risk_score": score }));
                Request::put("/admin/users/ana/rating").json(&body)
            };
            case("buyer_rated", "ana", rate(7), Some(rate(1_001)))
        }
        other => panic!("{other:?} writes under /admin and has no case here"),
    }
}

fn writes(route: Route) -> bool {
    route.template().starts_with("/admin/") && route.method() != "GET"
}

/// Refuses the case to whoever may not act, does it, and has it refused to an administrator.
fn check_case(server: &Server, case: &Case) {
    // Not allowed: refused before anything is looked at, and before what follows is done.
    for (key, role, owner) in [
        (READER, "auditor", "reader"),
        (SHOP, "shop", "shop"),
        (SCRAPER, "metrics", "scraper"),
    ] {
        let (event, answer) = the_one(server, &case.done.clone().key(key));
        assert_eq!((answer.status, &answer.reason()[..]), (403, "forbidden"));
        assert_eq!(event["kind"], "admin_refused");
        assert_eq!(event["reason"], "forbidden");
        assert_eq!(event["act"], case.act);
        assert_eq!(
            (&event["role"], &event["key_owner"]),
            (&role.into(), &owner.into())
        );
    }
    let (event, answer) = the_one(server, &case.done.clone().key(ADMIN));
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert_eq!(event["kind"], "admin_acted", "{event}");
    assert_eq!(
        (&event["act"], &event["target"]),
        (&case.act.into(), &case.target)
    );
    assert_eq!(
        (&event["role"], &event["key_owner"]),
        (&"admin".into(), &"boss".into())
    );
    if let Some(refused) = &case.refused {
        let (event, answer) = the_one(server, &refused.clone().key(ADMIN));
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_eq!(event["kind"], "admin_refused", "{event}");
        assert_eq!(event["act"], case.act);
        assert_eq!(event["reason"], answer.reason());
        assert_eq!(
            (&event["role"], &event["left_out"]),
            (&"admin".into(), &0.into())
        );
    }
}

#[test]
fn every_writing_route_leaves_one_event_when_it_succeeds_and_one_when_it_is_refused() {
    let kept = tempfile::tempdir().unwrap();
    let lines = kept.path().join("events.jsonl");
    let server = start(&format!(
        "[payments]\nanswer_within_ms = 50\nretries_max = 1\n[audit]\nrefusals_per_s = 1000\n\
         [review]\namount_over = {{ USD = 3000 }}\n[report.jsonl]\npath = \"{}\"\n\
         [report.postgres]\nurl = \"postgres://nobody@127.0.0.1:1/none?sslmode=disable\"\n\
         [[report.webhooks]]\nurl = \"http://127.0.0.1:1/\"\nallow_private = true\n\
         secret = \"whsec_{}\"\n",
        lines.display(),
        "c2hvcHMgc2hvcHMgc2hvcHMgc2hvcHMgc2hvcHM="
    ));
    let mut done = 0;
    // To accept a history there has to be a copy of another one: `report::copies`.
    let here = |it: &Route| writes(*it) && *it != Route::AcceptHistory;
    for route in Route::ALL.iter().copied().filter(here) {
        check_case(&server, &case(&server, route));
        done += 1;
    }
    assert_eq!(done, 23);
    // Told again under its key, a refund is the same act.
    let (_, from) = events(&server, 0);
    let trail = events(&server, 0).0;
    let refund = acts(&trail)
        .into_iter()
        .find(|it| it["act"] == "refund" && it["kind"] == "admin_acted");
    let id = refund.unwrap()["target"].as_str().unwrap().to_owned();
    let again = Request::post(&refunds_of(&id)).once("key-audit-2");
    let again = server.ask(&again.json(&part(500, 0)).key(ADMIN));
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (201, Some("true"))
    );
    assert_eq!(acts(&events(&server, from).0), Vec::<&Value>::new());
    let everything = format!(
        "{:?}{}",
        events(&server, 0).0,
        server.log.lines().join("\n")
    );
    assert!(!everything.contains(SECRET) && !everything.contains(READER));
}

#[test]
fn an_act_stands_beside_its_change_with_how_it_was_before_and_after() {
    let server = start("");
    let shown = |path: &str| server.ask(&Request::get(path).key(ADMIN)).json();
    let adjacent = |from: u64, kinds: [&str; 2]| {
        let (events, _) = events(&server, from);
        let place = events.iter().position(|it| it["kind"] == kinds[0]).unwrap();
        let both = &events[place..place + 2];
        assert_eq!(both[1]["kind"], kinds[1], "{events:?}");
        assert_eq!(both[0]["at"], both[1]["at"], "one append has one instant");
        both.iter()
            .find(|it| it["kind"] == "admin_acted")
            .unwrap()
            .clone()
    };
    let catalogue = [
        (
            "/admin/products/one",
            "product_set",
            product("first", 0),
            product("second", 7),
        ),
        (
            "/admin/promotions/TEN",
            "promotion_set",
            promotion_terms(&json!({"percent_off": 10, "uses_max": 5})),
            promotion_terms(&json!({"amount_off": {"USD": 100}, "uses_max": 3})),
        ),
    ];
    for (path, kind, first, second) in catalogue {
        let mut before = Value::Null;
        // The same once more is an act like any other.
        for body in [&first, &second, &second] {
            let (_, from) = events(&server, 0);
            let put = server.ask(&Request::put(path).json(body).key(ADMIN));
            assert!(matches!(put.status, 200 | 201), "{put:?}");
            let act = adjacent(from, [kind, "admin_acted"]);
            let after = shown(path);
            assert_eq!((&act["before"], &act["after"]), (&before, &after), "{path}");
            assert_eq!(put.json(), after);
            before = after;
        }
    }
    let rules = |when: &str| {
        let text = format!("[[rule]]\nname = \"large\"\nwhen = \"{when}\"\nthen = \"observe\"\n");
        let mut put = Request::put("/admin/risk/rules").header("content-type", "application/toml");
        put.body = text.clone().into_bytes();
        let trailed = json!({ "source": "administration", "text": text });
        (put, "risk_rules_set", trailed)
    };
    let paused = |until: &str| {
        let body = json!({ "until": until, "reason": "asked to" });
        let put = Request::post("/admin/users/cy/pause").json(&body);
        (put, "buyer_paused", body)
    };
    let rated = |score: u32| {
        let put = rating_terms(&json!({ "risk_score": score }));
        let put = Request::put("/admin/users/cy/rating").json(&put);
        let after = json!({ "segment": null, "risk_score": score, "account_since": null });
        (put, "buyer_rated", after)
    };
    let unpaused = (
        Request::delete("/admin/users/cy/pause"),
        "buyer_paused",
        Value::Null,
    );
    let changes = [
        vec![rules("quantity > 9"), rules("quantity > 8")],
        vec![
            paused("2099-01-01T00:00:00.000Z"),
            paused("2098-01-01T00:00:00.000Z"),
            unpaused,
        ],
        vec![rated(7), rated(8)],
    ];
    for changes in changes {
        let mut before = Value::Null;
        for (request, kind, after) in changes {
            let (_, from) = events(&server, 0);
            let answer = server.ask(&request.key(ADMIN));
            assert_eq!(answer.status, 200, "{answer:?}");
            let act = adjacent(from, [kind, "admin_acted"]);
            assert_eq!((&act["before"], &act["after"]), (&before, &after), "{kind}");
            before = after;
        }
    }
    let id = id_of(&buy(&server, "ana", "drop-1", "key-before-1"));
    for (number, refunded, status) in [(1, 0, "captured"), (2, 500, "partially_refunded")] {
        let (_, from) = events(&server, 0);
        let refund = Request::post(&refunds_of(&id)).once(&format!("key-before-r{number}"));
        let answer = server.ask(&refund.json(&part(500, refunded)).key(ADMIN));
        assert_eq!(answer.status, 201, "{answer:?}");
        let act = adjacent(from, ["admin_acted", "refund_started"]);
        let before = json!({
            "status": status, "amount": 1999, "currency": "USD", "refunded_amount": refunded,
        });
        assert_eq!(act["before"], before);
        assert_eq!(act["after"]["refund"], number);
        assert_eq!(act["after"]["refund_amount"], 500);
    }
}

/// Whoever asks may be gone before the act is durable; what the trail says was done is done.
#[test]
fn an_act_that_has_begun_does_not_end_with_its_connection() {
    for _ in 0..3 {
        let kept = tempfile::tempdir().unwrap();
        let lines = kept.path().join("events.jsonl");
        let server = start(&format!("[report.jsonl]\npath = \"{}\"", lines.display()));
        // One that the server hears of only after the connection ended never begins.
        until("one has begun", || {
            let mut client = Client::connect(server.address);
            let request = Request::post("/admin/sinks/jsonl/pause").key(ADMIN);
            client.send(&request.bytes()).unwrap();
            drop(client);
            let trail = events(&server, 0).0;
            (!acts(&trail).is_empty()).then_some(())
        });
        until("the sink is as the trail says", || {
            let sinks = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
            (sinks["sinks"][0]["mode"] == "paused").then_some(())
        });
    }
}

#[test]
fn what_looks_like_a_card_number_is_not_shown_and_no_target_is_one() {
    let server = start("");
    let named = product("4111 1111 1111 1111", 1);
    let (act, answer) = the_one(
        &server,
        &Request::put("/admin/products/one").json(&named).key(ADMIN),
    );
    assert_eq!(
        (answer.status, &act["reason"], &act["target"]),
        (400, &"invalid_request".into(), &"one".into())
    );
    let path = "/admin/products/4111111111111111";
    let (act, answer) = the_one(&server, &Request::put(path).json(&named).key(READER));
    assert_eq!((answer.status, &act["target"]), (403, &Value::Null));
    let long = format!("/admin/products/{}", "a".repeat(129));
    let (act, _) = the_one(&server, &Request::put(&long).json(&named).key(ADMIN));
    assert_eq!(
        (&act["reason"], &act["target"]),
        (&"invalid_request".into(), &Value::Null)
    );
}

/// Whether a key of this role may ask so.
fn may(role: &str, method: &str, template: &str) -> bool {
    let reads = matches!(method, "GET" | "HEAD");
    match template {
        "/metrics" => matches!(role, "admin" | "auditor" | "metrics"),
        path if path.starts_with("/limited/") || path == "/events" => {
            role == "shop" || role == "admin" && reads
        }
        path if path.starts_with("/admin/") => role == "admin" || role == "auditor" && reads,
        _ => true,
    }
}

#[test]
fn each_role_on_each_route_and_only_what_known_keys_want_under_admin_is_in_the_trail() {
    let server = start("[audit]\nrefusals_per_s = 1000");
    let roles = [
        ("shop", SHOP),
        ("admin", ADMIN),
        ("auditor", READER),
        ("metrics", SCRAPER),
    ];
    let (_, mut from) = events(&server, 0);
    for route in Route::ALL.iter().copied() {
        let template = route.template();
        let parts = template.split('/');
        let parts = parts.map(|part| if part.starts_with('{') { "none" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let head = (route.method() == "GET").then_some("HEAD");
        for method in head.into_iter().chain([route.method()]) {
            let request = Request::new(method, &path);
            let open = matches!(
                template.split('/').nth(1),
                Some("livez" | "readyz" | ".well-known" | "receipts" | "webhooks" | "console")
            );
            for (role, key) in roles {
                let answer = server.ask(&request.clone().key(key));
                let context = format!("{role} {method} {template}: {answer:?}");
                let allowed = may(role, method, template);
                assert_eq!(answer.status == 403, !allowed, "{context}");
                let (trail, next) = events(&server, from);
                from = next;
                let refused: Vec<_> = acts(&trail)
                    .into_iter()
                    .filter(|it| it["reason"] == "forbidden")
                    .collect();
                let reads = matches!(method, "GET" | "HEAD");
                let kept =
                    template.starts_with("/admin/") || template.starts_with("/limited/") && !reads;
                let wanted = usize::from(!allowed && kept);
                assert_eq!(refused.len(), wanted, "{context}");
                for event in refused {
                    assert_eq!(event["act"] == "read", reads, "{context}");
                    assert_eq!(event["role"], role);
                }
            }
            let strange = server.ask(&request.clone().key(STRANGER));
            let keyless = server.ask(&request);
            if !open {
                assert_eq!((strange.status, keyless.status), (401, 401), "{path}");
            }
            assert_eq!(
                acts(&events(&server, from).0),
                Vec::<&Value>::new(),
                "{path}"
            );
        }
    }
    // Paths and methods that there are not: refused to a role all the same, and no act of an
    // administrator.
    for (request, key, wanted) in [
        (Request::post("/admin/none"), READER, vec!["unknown"]),
        (Request::put("/admin/snapshot"), READER, vec!["unknown"]),
        (Request::get("/admin/none"), SHOP, vec!["read"]),
        (Request::post("/admin/none"), ADMIN, vec![]),
        (Request::put("/admin/snapshot"), ADMIN, vec![]),
    ] {
        let (_, from) = events(&server, 0);
        server.ask(&request.clone().key(key));
        let trail = events(&server, from).0;
        let words: Vec<_> = acts(&trail)
            .iter()
            .map(|it| it["act"].as_str().unwrap())
            .collect();
        assert_eq!(words, wanted, "{request:?}");
    }
}

#[test]
fn refused_acts_of_one_key_are_limited_and_counted_and_do_not_hide_others() {
    let server = start("[audit]\nrefusals_per_s = 2");
    let mut mad = server.connect();
    let asked = Request::post("/admin/snapshot").key(SHOP);
    let of_shop = |server: &Server| {
        let path = "/admin/audit?kind=admin_refused&by=shop&limit=1000";
        let page = server.ask(&Request::get(path).key(ADMIN)).json();
        page["events"].as_array().unwrap().clone()
    };
    let mut sent = 0;
    // Until one was written down after others were not: at the latest in the next second.
    let kept = until("a second has gone by", || {
        for _ in 0..20 {
            assert_eq!(mad.ask(&asked).status, 403);
            sent += 1;
        }
        let kept = of_shop(&server);
        kept.iter().any(|it| it["left_out"] != 0).then_some(kept)
    });
    assert_eq!(kept[0]["left_out"], 0);
    assert!(kept.len() < sent / 2, "{} of {sent}", kept.len());
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let name = "holdfast_audit_refusals_left_out_total ";
    let left_out = metrics.lines().find_map(|line| line.strip_prefix(name));
    assert_eq!(
        left_out.unwrap().parse::<usize>().unwrap() + kept.len(),
        sent
    );
    let (event, _) = the_one(&server, &Request::post("/admin/snapshot").key(READER));
    assert_eq!(event["left_out"], 0);
}

#[test]
fn refused_attempts_are_counted_and_do_not_fill_the_log_while_outcomes_of_keys_all_do() {
    let server = start("[audit]\nrefused_attempts_per_s = 2");
    server.put_product("none-left", 1);
    assert_eq!(
        server
            .ask(&Request::hold("ana", "none-left", 1, "key-bounded-0"))
            .status,
        201
    );
    let mut mad = server.connect();
    let refused = |server: &Server| {
        let path = "/admin/audit?kind=attempt_refused&limit=1000";
        let page = server.ask(&Request::get(path).key(ADMIN)).json();
        page["events"].as_array().unwrap().clone()
    };
    let mut sent = 0;
    // Each of these leaves nothing behind: no body, a hold that is not there, a key that is reused.
    let kinds = [
        (
            Request::post("/limited/buy").key(SHOP).json(&json!({})),
            400,
        ),
        (
            Request::delete("/limited/holds/h_00000000000000000123456789abcdef").key(SHOP),
            404,
        ),
        (Request::hold("ana", "none-left", 2, "key-bounded-0"), 422),
    ];
    let kept = until("a second has gone by", || {
        for (request, status) in &kinds {
            for _ in 0..8 {
                assert_eq!(mad.ask(request).status, *status, "{request:?}");
                sent += 1;
            }
        }
        let kept = refused(&server);
        kept.iter().any(|it| it["left_out"] != 0).then_some(kept)
    });
    assert_eq!(kept[0]["left_out"], 0);
    assert!(kept.len() < sent / 2, "{} of {sent}", kept.len());
    let name = "holdfast_attempt_refusals_left_out_total ";
    // The trail shows what is durable, a moment after the refusal that is counted at once.
    until("each refusal is kept or counted", || {
        let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
        let left_out = metrics.lines().find_map(|line| line.strip_prefix(name));
        let left_out: usize = left_out.unwrap().parse().unwrap();
        (left_out + refused(&server).len() == sent).then_some(())
    });
    // What a key stands for from now on is written down whatever came before it.
    for number in 0..20 {
        let user = format!("late-{number}");
        let key = format!("key-sold-out-{number}");
        let answer = mad.ask(&Request::hold(&user, "none-left", 1, &key));
        assert_eq!(answer.json()["reason"], "sold_out");
    }
    let sold_out = refused(&server);
    let sold_out = sold_out.iter().filter(|it| it["reason"] == "sold_out");
    assert_eq!(sold_out.count(), 20);
}

#[test]
fn the_trail_is_asked_by_act_and_by_key_also_when_it_has_stopped() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let setup = || Setup::demo().config(KEYS_OF_EACH_ROLE).data_dir(&data_dir);
    let server = setup().start();
    server.put_product("one", 5);
    server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    server.ask(&Request::post("/admin/snapshot").key(READER));
    server.ask(&Request::hold("ana", "one", 1, "key-filter-1"));
    let asked = |query: &str| {
        let path = format!("/admin/audit?{query}");
        let page = server.ask(&Request::get(&path).key(READER)).json();
        let events = page["events"].as_array().unwrap().iter();
        let word = |it: &Value| format!("{} {}", it["kind"], it["key_owner"]).replace('"', "");
        events.map(word).collect::<Vec<_>>()
    };
    for (query, wanted) in [
        (
            "act=snapshot",
            &["admin_acted boss", "admin_refused reader"][..],
        ),
        ("act=snapshot&by=reader", &["admin_refused reader"]),
        ("act=snapshot&kind=admin_acted", &["admin_acted boss"]),
        ("act=product_set", &["admin_acted boss"]),
        (
            "by=boss",
            &["product_set boss", "admin_acted boss", "admin_acted boss"],
        ),
        ("by=shop", &["hold_placed shop"]),
        ("act=none", &[]),
    ] {
        assert_eq!(asked(query), wanted, "{query}");
    }
    let bad = server.ask(&Request::get("/admin/audit?by=no%20name").key(READER));
    assert_eq!((bad.status, &bad.reason()[..]), (400, "invalid_request"));
    assert!(server.stop().0.success());
    let log = binary()
        .arg("log")
        .arg(&data_dir)
        .args(["--kind", "admin_acted"])
        .output()
        .unwrap();
    let lines = String::from_utf8(log.stdout).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let words: Vec<_> = lines.iter().map(|it| (&it["act"], &it["role"])).collect();
    assert_eq!(
        words,
        [
            (&"product_set".into(), &"admin".into()),
            (&"snapshot".into(), &json!("admin"))
        ]
    );
    assert_eq!(lines[0]["after"]["stock"]["total"], 5);

    // What the trail has changes nothing of the state that recovery reaches.
    let digest = || {
        let checked = binary().arg("check").arg(&data_dir).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let figures: Value = serde_json::from_slice(&checked.stdout).unwrap();
        figures["digest"].as_str().unwrap().to_owned()
    };
    let before = digest();
    let server = setup().start();
    assert_eq!(server.log.wait_for("recovered").unwrap()["digest"], before);
    for key in [ADMIN, READER, SHOP] {
        server.ask(&Request::post("/admin/reconcile").key(key));
        server.ask(
            &Request::put("/admin/products/one")
                .key(key)
                .json(&json!({})),
        );
    }
    assert_eq!(acts(&events(&server, 0).0).len(), 9);
    assert!(server.stop().0.success());
    assert_eq!(digest(), before);
    assert_checks_clean(&data_dir);
}

#[test]
fn what_a_signal_does_is_an_act_of_the_process() {
    let server = start("");
    let (_, from) = events(&server, 0);
    let good = std::fs::read_to_string(&server.config).unwrap();
    let act = |number: usize| {
        until("it is in the trail", || {
            let trail = events(&server, from).0;
            acts(&trail).get(number).map(|it| (*it).clone())
        })
    };
    server.hang_up();
    let same = act(0);
    assert_eq!(
        (&same["kind"], &same["act"]),
        (&"admin_acted".into(), &json!("configuration_reloaded"))
    );
    assert_eq!(
        (&same["role"], &same["key_owner"]),
        (&"process".into(), &json!("sighup"))
    );
    let nothing = json!({
        "changed": [], "restart_needed": [],
        "webhook_secrets_added": [], "webhook_secrets_removed": [],
    });
    assert_eq!(same["after"], nothing);
    std::fs::write(&server.config, "[webhooks").unwrap();
    server.hang_up();
    let broken = act(1);
    assert_eq!(
        (&broken["kind"], &broken["reason"]),
        (&"admin_refused".into(), &json!("invalid_configuration"))
    );
    let secret = format!(
        "[[webhooks.secrets]]\nid = \"new\"\nkey = \"{SECRET}\"\n[audit]\nrefusals_per_s = 1\n"
    );
    std::fs::write(&server.config, secret + &good).unwrap();
    server.hang_up();
    let changed = act(2);
    assert_eq!(changed["after"]["webhook_secrets_added"], json!(["new"]));
    assert_eq!(
        changed["after"]["restart_needed"],
        json!(["audit.refusals_per_s"])
    );
}
