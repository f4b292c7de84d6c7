//! A shop catches up by reading the events behind a place in the log, and waits for the next one.

use serde_json::{Value, json};
use support::{ADMIN, Client, Request, SHOP, Server, Setup, until};

fn read(server: &Server, query: &str) -> Value {
    let answer = server.ask(&Request::get(&format!("/events?{query}")).key(SHOP));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn kinds(events: &Value) -> Vec<&str> {
    let events = events.as_array().expect("a list").iter();
    events.map(|it| it["kind"].as_str().unwrap()).collect()
}

/// Every event from the first one on, in pages of this size, and where to go on.
fn all(server: &Server, limit: usize) -> (Vec<Value>, String) {
    let mut events = Vec::new();
    let mut after = String::new();
    loop {
        let page = read(server, &format!("wait_s=0&limit={limit}{after}"));
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        let next = page["next"].as_str().unwrap();
        after = format!("&after={next}");
        if page["more"] == false {
            return (events, next.to_owned());
        }
    }
}

#[test]
fn pages_have_every_event_once_and_nothing_of_the_operator() {
    let server = Setup::demo().start();
    for user in ["ana", "bo"] {
        let buy = Request::buy(user, "drop-1", "tok_ok", &format!("key-{user}-1"));
        assert_eq!(server.ask(&buy).status, 201);
    }
    let (one_by_one, _) = all(&server, 1);
    let (together, next) = all(&server, 1_000);
    assert_eq!(one_by_one, together);
    let audit = server.ask(&Request::get("/admin/audit?limit=1000").key(ADMIN));
    let of_shops = |it: &&Value| {
        let kind = it["kind"].as_str().unwrap();
        ![
            "admin_acted",
            "limits_set",
            "risk_rules_set",
            "risk_scoring_set",
        ]
        .contains(&kind)
    };
    let audit = audit.json();
    let expected: Vec<_> = audit["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_shops)
        .collect();
    assert_eq!(together.iter().collect::<Vec<_>>(), expected);
    assert!(kinds(&json!(together)).contains(&"payment_captured"));

    // Where the next event will stand is no place yet: it would never be shown.
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    let end = format!("/events?wait_s=0&after={}", status["durable_lsn"]);
    assert_eq!(server.ask(&Request::get(&end).key(SHOP)).status, 400);

    // Behind the end there is nothing, and an event's own LSN is a place, too.
    let end = read(&server, &format!("wait_s=0&after={next}"));
    assert_eq!((&end["events"], &end["next"]), (&json!([]), &json!(next)));
    let last = &together[together.len() - 2];
    let rest = read(&server, &format!("wait_s=0&after={}", last["lsn"]));
    assert_eq!(rest["events"], json!(together[together.len() - 1..]));
    let captured = read(
        &server,
        "wait_s=0&kinds=payment_captured,hold_placed&limit=3",
    );
    let expected = ["hold_placed", "payment_captured", "hold_placed"];
    assert_eq!(kinds(&captured["events"]), expected);
}

#[test]
fn a_reader_waits_for_the_next_event_that_it_asks_for() {
    let server = Setup::demo().start();
    let next = all(&server, 100).1;
    let mut waiting = Client::connect(server.address);
    let path = format!("/events?wait_s=30&kinds=hold_placed&after={next}");
    let request = Request::get(&path).key(SHOP);
    waiting.send(&request.bytes()).unwrap();
    // The refusal goes by unseen: it is of another kind.
    let none = server.ask(&Request::hold("ana", "none", 1, "key-none-1"));
    assert_eq!(none.status, 404);
    assert!(!waiting.has_answer());
    let held = server
        .ask(&Request::hold("ana", "drop-1", 1, "key-hold-1"))
        .json();
    let page = waiting.receive().unwrap().json();
    assert_eq!(kinds(&page["events"]), ["hold_placed"]);
    let id = held["hold_id"].as_str().unwrap().replacen("h_", "p_", 1);
    assert_eq!(page["events"][0]["purchase_id"], id.as_str());
}

#[test]
fn waiting_readers_do_not_hold_up_the_end_of_the_process() {
    let server = Setup::demo().start();
    let next = all(&server, 100).1;
    let mut waiting = Client::connect(server.address);
    let request = Request::get(&format!("/events?wait_s=30&after={next}")).key(SHOP);
    waiting.send(&request.bytes()).unwrap();
    // Answered by the same worker or another: the first one waits by then.
    assert_eq!(server.ask(&Request::get("/readyz")).status, 200);
    let reader = std::thread::spawn(move || waiting.receive().map(|it| it.status));
    assert_eq!(server.stop().0.code(), Some(0));
    // It is answered, or its connection was closed before it was read.
    assert!(matches!(reader.join().unwrap(), Ok(200) | Err(_)));
}

#[test]
fn a_place_that_is_no_place_is_refused() {
    let server = Setup::demo().start();
    let ask = |query: &str, key: &str| {
        let answer = server.ask(&Request::get(&format!("/events?{query}")).key(key));
        let reason = answer.reason();
        (answer, reason)
    };
    for query in [
        "after=999999999",
        "after=0.9-00000000000000ff",
        "after=-1",
        "after=x",
        "kinds=hold_placed,nothing",
        "limit=0",
        "wait_s=31",
        "from=1",
    ] {
        let (answer, reason) = ask(query, SHOP);
        assert_eq!(
            (answer.status, reason.as_str()),
            (400, "invalid_request"),
            "{query}"
        );
    }
    assert_eq!(ask("wait_s=0", ADMIN).0.status, 200);
    let unknown = server.ask(&Request::get("/events"));
    assert_eq!(unknown.status, 401);
}

/// What snapshots have made obsolete is never left out in silence.
#[test]
fn events_that_the_log_no_longer_has_are_refused_with_its_beginning() {
    let server = Setup::demo()
        .config("[storage]\nsegment_bytes = 1_049_088\n[limits.rate]\ncount = 1000\nper_s = 1\n")
        .start();
    server.put_product("plenty", 10_000);
    let metadata: serde_json::Map<_, _> = (0..10)
        .map(|pair| (format!("note-{pair}"), json!("x".repeat(200))))
        .collect();
    let mut client = Client::connect(server.address);
    for number in 0..1_300 {
        let hold = Request::post("/limited/holds")
            .key(SHOP)
            .once(&format!("key-forgotten-{number}"))
            .json(&json!({
                "user_id": format!("buyer-{number}"), "product_id": "plenty", "quantity": 1,
                "metadata": metadata,
            }));
        assert_eq!(client.ask(&hold).status, 201);
    }
    for _ in 0..2 {
        let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
        assert_eq!(taken.status, 200, "{taken:?}");
    }
    let gone = server.ask(&Request::get("/events?after=0&wait_s=0").key(SHOP));
    assert_eq!(
        (gone.status, gone.reason().as_str()),
        (410, "events_forgotten")
    );
    let first = gone.json()["first_lsn"].as_u64().unwrap();
    assert!(first > 0);
    let page = read(&server, "wait_s=0&limit=1");
    assert!(page["events"][0]["lsn"].as_u64().unwrap() >= first);
    let next = page["next"].as_str().unwrap();
    let rest = read(&server, &format!("wait_s=0&after={next}"));
    assert_ne!(rest["events"], json!([]));
}

/// Readers take a part of the shop's places at most: a sale goes on beside any number of them.
#[test]
fn readers_beyond_their_number_are_refused_and_a_sale_goes_on() {
    let server = Setup::demo()
        .config("[server]\nworkers = 1\nin_flight_max = 16\n")
        .start();
    let next = all(&server, 100).1;
    let path = format!("/events?wait_s=30&kinds=dispute_opened&after={next}");
    let request = Request::get(&path).key(SHOP);
    let mut waiting = Vec::new();
    let refused = until("the places of readers are taken", || {
        let mut reader = Client::connect(server.address);
        reader.send(&request.bytes()).unwrap();
        waiting.push(reader);
        // One that waits is in its place before this is answered: there is one worker.
        let now = server.ask(
            &Request::get(&format!("{path}&limit=1").replace("wait_s=30", "wait_s=0")).key(SHOP),
        );
        (now.status != 200).then_some(now)
    });
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (503, "overloaded")
    );
    assert!(waiting.len() <= 16, "{} wait", waiting.len());
    let buy = Request::buy("ana", "drop-1", "tok_ok", "key-beside-1");
    assert_eq!(server.ask(&buy).status, 201);
}
