//! Malformed requests through the real binary: each has its status and reason, nothing of it is
//! repeated, logged or kept, and afterwards the server is up and the stock as it was.

use serde_json::Value;
use std::time::Duration;
use support::{ADMIN, Client, Request, Response, SHOP, Server, Setup, shows_card_number};

/// A card number that passes Luhn's check.
const PAN: &str = "4111111111111111";

const BUY: &str = r#"{"user_id":"ana","product_id":"drop-1","quantity":1,"currency":"USD","card_token":"tok_ok"}"#;

/// No answer and no line of the log may hold a card number, and the stock must be whole.
fn unharmed(server: &Server) {
    assert_eq!(server.ask(&Request::get("/readyz")).status, 200);
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
    let audit = server.ask(&Request::get("/admin/audit?limit=1000").key(ADMIN));
    assert_eq!(audit.status, 200);
    assert!(!shows_card_number(&audit.text()), "{}", audit.text());
    assert!(!shows_card_number(&server.log.lines().join("\n")));
}

fn buy(body: &[u8]) -> Request {
    Request::post("/limited/buy")
        .key(SHOP)
        .once("key-bad-001")
        .body(body)
}

/// Status and reason, a problem's form, and no card number in it.
fn check(answer: &Response, status: u16, reason: &str, what: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (status, reason),
        "{what}: {answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{what}"
    );
    let body = answer.json();
    assert_eq!(body["status"], status, "{what}");
    assert_eq!(
        body["request_id"].as_str(),
        answer.header("x-request-id"),
        "{what}"
    );
    assert!(!shows_card_number(&answer.text()), "{what}: {answer:?}");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_malformed_body_is_refused_by_its_shape() {
    let server = Setup::demo().start();
    let with = |from: &str, to: &str| BUY.replacen(from, to, 1).into_bytes();
    let invalid = "invalid_request";
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), invalid),
        ("no JSON", b"quantity=1".to_vec(), invalid),
        (
            "an array by position",
            br#"["ana","drop-1",1,"USD","tok_ok"]"#.to_vec(),
            invalid,
        ),
        ("null", b"null".to_vec(), invalid),
        ("cut off", BUY.as_bytes()[..40].to_vec(), invalid),
        ("something after", [BUY.as_bytes(), b"{}"].concat(), invalid),
        ("a comma too many", with("}", ",}"), invalid),
        ("a comment", with("{", "{/**/"), invalid),
        (
            "bad UTF-8",
            with("ana", "an\u{1}")
                .iter()
                .map(|b| if *b == 1 { 0xff } else { *b })
                .collect(),
            invalid,
        ),
        ("a lone surrogate", with("ana", "\\ud800"), invalid),
        ("a zero byte", with("ana", "a\\u0000a"), invalid),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", BUY.as_bytes()].concat(),
            invalid,
        ),
        (
            "UTF-16",
            BUY.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            invalid,
        ),
        ("deep nesting", with("1,", &format!("{deep},")), invalid),
        (
            "deep nesting of objects",
            "{\"a\":".repeat(2_000).into_bytes(),
            invalid,
        ),
        ("a field twice", with("}", ",\"quantity\":1}"), invalid),
        ("an unknown field", with("}", ",\"price\":1}"), invalid),
        (
            "an amount from the client",
            with("}", ",\"amount\":{\"value\":1,\"currency\":\"USD\"}}"),
            invalid,
        ),
        (
            "a card number as a field",
            with("}", &format!(",\"{PAN}\":1}}")),
            invalid,
        ),
        (
            "a card number as a number",
            with("\"tok_ok\"", PAN),
            invalid,
        ),
        ("a card number", with("tok_ok", PAN), "invalid_card_token"),
        (
            "a card number with dashes",
            with("tok_ok", "4111-1111-1111-1111"),
            "invalid_card_token",
        ),
        (
            "a card number with spaces",
            with("tok_ok", "4111 1111 1111 1111"),
            "invalid_card_token",
        ),
        (
            "a card number in a token",
            with("tok_ok", &format!("tok_{PAN}")),
            "invalid_card_token",
        ),
        ("an empty card", with("tok_ok", ""), "invalid_card_token"),
        (
            "a long card",
            with("tok_ok", &"t".repeat(65)),
            "invalid_card_token",
        ),
        ("no card", with(",\"card_token\":\"tok_ok\"", ""), invalid),
        ("a card that is null", with("\"tok_ok\"", "null"), invalid),
        ("zero units", with(":1,", ":0,"), invalid),
        ("less than nothing", with(":1,", ":-1,"), invalid),
        ("a fraction", with(":1,", ":1.5,"), invalid),
        ("a whole float", with(":1,", ":1.0,"), invalid),
        ("an exponent", with(":1,", ":1e2,"), invalid),
        ("too many units", with(":1,", ":1001,"), invalid),
        ("2^32", with(":1,", ":4294967297,"), invalid),
        (
            "a huge number",
            with(":1,", &format!(":{},", "9".repeat(400))),
            invalid,
        ),
        ("a huge exponent", with(":1,", ":1e999999,"), invalid),
        ("not a number", with(":1,", ":NaN,"), invalid),
        ("units as text", with(":1,", ":\"1\","), invalid),
        ("units as truth", with(":1,", ":true,"), invalid),
        ("no units", with("\"quantity\":1,", ""), invalid),
        ("a number for a user", with("\"ana\"", "7"), invalid),
        ("an empty user", with("ana", ""), invalid),
        ("a long user", with("ana", &"u".repeat(65)), invalid),
        ("a user with a space", with("ana", "a na"), invalid),
        ("a user with a slash", with("ana", "../etc"), invalid),
        ("a user beyond ASCII", with("ana", "añа"), invalid),
        (
            "no such currency",
            with("USD", "ZZZ"),
            "currency_not_allowed",
        ),
        (
            "a currency in small letters",
            with("USD", "usd"),
            "currency_not_allowed",
        ),
        (
            "a currency that is not sold",
            with("USD", "JPY"),
            "currency_not_allowed",
        ),
        ("a currency as a number", with("\"USD\"", "840"), invalid),
        ("no address", with("}", ",\"ip\":\"localhost\"}"), invalid),
        (
            "an address with a port",
            with("}", ",\"ip\":\"10.0.0.1:80\"}"),
            invalid,
        ),
        (
            "a hold by another name",
            with("}", ",\"hold_id\":\"p_00000000000000015a17c0de5a17c0de\"}"),
            invalid,
        ),
        (
            "a hold in capitals",
            with("}", ",\"hold_id\":\"h_000000000000000A5a17c0de5a17c0de\"}"),
            invalid,
        ),
        (
            "a promotion as a list",
            with("}", ",\"promotion_code\":[\"DEMO10\"]}"),
            invalid,
        ),
    ];
    // One connection for all: none of them costs the client its connection.
    let mut client = server.connect();
    for (what, body, reason) in &cases {
        let answer = client.ask(&buy(body));
        check(&answer, 400, reason, what);
        if *reason == "invalid_request" {
            let errors = answer.json()["errors"].clone();
            let errors = errors
                .as_array()
                .unwrap_or_else(|| panic!("{what}: {answer:?}"));
            assert!(!errors.is_empty(), "{what}");
            for error in errors {
                assert!(
                    error["field"].is_string() && error["message"].is_string(),
                    "{what}"
                );
            }
        }
    }
    unharmed(&server);
    // By a known caller, so each is in the audit trail.
    let path = "/admin/audit?kind=attempt_refused&limit=1000";
    let audit = server.ask(&Request::get(path).key(ADMIN)).json();
    assert_eq!(audit["events"].as_array().unwrap().len(), cases.len());
}

#[test]
fn errors_name_each_wrong_field() {
    let server = Setup::demo().start();
    let body =
        br#"{"user_id":7,"quantity":0,"currency":"USD","card_token":"tok_ok","device_id":""}"#;
    let answer = server.ask(&buy(body)).json();
    let fields: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["field"].clone())
        .collect();
    assert_eq!(
        fields,
        ["user_id", "product_id", "quantity", "device_id"].map(Value::from)
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn headers_paths_and_methods_are_refused_in_order() {
    let server = Setup::demo().start();
    let hold = || Request::hold("ana", "drop-1", 1, "key-head-01");
    let without = |name: &str| {
        let mut request = hold();
        request.headers.retain(|(known, _)| known != name);
        request
    };
    let with = |name: &str, value: &str| without(name).header(name, value);
    let long = "k".repeat(256);
    let missing = "idempotency_key_missing";
    let media = "unsupported_media_type";
    let cases: Vec<(&str, Request, u16, &str)> = vec![
        ("no key", without("authorization"), 401, "unauthorized"),
        (
            "another key",
            with("authorization", "Bearer nobody-has-this"),
            401,
            "unauthorized",
        ),
        (
            "an empty key",
            with("authorization", "Bearer "),
            401,
            "unauthorized",
        ),
        (
            "another scheme",
            with("authorization", "Basic demo-shop-key"),
            401,
            "unauthorized",
        ),
        ("two keys", hold().key(SHOP), 401, "unauthorized"),
        (
            "a key in the path only",
            Request::post("/limited/holds?key=demo-shop-key"),
            401,
            "unauthorized",
        ),
        (
            "no key, and nothing there",
            Request::get("/admin/nothing"),
            401,
            "unauthorized",
        ),
        (
            "the wrong role",
            with("authorization", "Bearer demo-admin-key"),
            403,
            "forbidden",
        ),
        (
            "a shop that administers",
            Request::get("/admin/status").key(SHOP),
            403,
            "forbidden",
        ),
        (
            "no such path",
            Request::get("/limited/nothing").key(SHOP),
            404,
            "not_found",
        ),
        ("the root", Request::get("/"), 404, "not_found"),
        (
            "a long path",
            Request::get(&format!("/{}", "a".repeat(4_000))),
            404,
            "not_found",
        ),
        (
            "a path with a card number",
            Request::get(&format!("/limited/products/{PAN}")).key(SHOP),
            404,
            "product_not_found",
        ),
        (
            "no such hold",
            Request::delete("/limited/holds/h_00000000000000ff5a17c0de5a17c0de").key(SHOP),
            404,
            "hold_not_found",
        ),
        (
            "a hold of no form",
            Request::delete("/limited/holds/x").key(SHOP),
            404,
            "hold_not_found",
        ),
        (
            "no such purchase",
            Request::get("/limited/purchases/p_00000000000000ff5a17c0de5a17c0de").key(SHOP),
            404,
            "purchase_not_found",
        ),
        (
            "no such receipt",
            Request::get("/limited/receipts/r_00000000000000ff5a17c0de5a17c0de").key(SHOP),
            404,
            "receipt_not_found",
        ),
        (
            "no such promotion",
            Request::get("/admin/promotions/none").key(ADMIN),
            404,
            "promotion_not_found",
        ),
        (
            "GET for POST",
            Request::get("/limited/buy").key(SHOP),
            405,
            "method_not_allowed",
        ),
        (
            "PUT for POST",
            Request::put("/limited/holds").key(SHOP),
            405,
            "method_not_allowed",
        ),
        (
            "POST for GET",
            Request::post("/readyz"),
            405,
            "method_not_allowed",
        ),
        (
            "a method of one's own",
            Request::new("BREW", "/livez"),
            405,
            "method_not_allowed",
        ),
        ("no content type", without("content-type"), 415, media),
        (
            "a form",
            with("content-type", "application/x-www-form-urlencoded"),
            415,
            media,
        ),
        (
            "JSON in Latin-1",
            with("content-type", "application/json; charset=iso-8859-1"),
            415,
            media,
        ),
        (
            "two content types",
            hold().header("content-type", "application/json"),
            415,
            media,
        ),
        (
            "no idempotency key",
            without("idempotency-key"),
            400,
            missing,
        ),
        (
            "two idempotency keys",
            hold().once("key-head-02"),
            400,
            missing,
        ),
        (
            "a short idempotency key",
            with("idempotency-key", "abcdefg"),
            400,
            missing,
        ),
        (
            "a long idempotency key",
            with("idempotency-key", &long),
            400,
            missing,
        ),
        (
            "spaces in an idempotency key",
            with("idempotency-key", "abcd efgh"),
            400,
            missing,
        ),
        (
            "half a quote",
            with("idempotency-key", "\"abcdefgh"),
            400,
            missing,
        ),
        (
            "an idempotency key beyond ASCII",
            with("idempotency-key", "abcdefghé"),
            400,
            missing,
        ),
        (
            "an unknown query",
            Request::get("/admin/audit?form_lsn=0").key(ADMIN),
            400,
            "invalid_request",
        ),
        (
            "a bad query",
            Request::get("/admin/audit?limit=0").key(ADMIN),
            400,
            "invalid_request",
        ),
        (
            "a query twice",
            Request::get("/admin/audit?limit=1&limit=2").key(ADMIN),
            400,
            "invalid_request",
        ),
    ];
    let mut client = server.connect();
    for (what, request, status, reason) in &cases {
        let answer = client.ask(request);
        check(&answer, *status, reason, what);
        match status {
            401 => assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}"),
            405 => assert!(answer.header("allow").is_some(), "{what}"),
            _ => {}
        }
    }
    unharmed(&server);
}

#[test]
fn sizes_are_bounded() {
    let server = Setup::demo().start();
    let padded = |bytes: usize| {
        let padding = " ".repeat(bytes - BUY.len());
        buy(BUY
            .replacen("tok_ok", PAN, 1)
            .replacen('}', &format!("{padding}}}"), 1)
            .as_bytes())
    };
    check(
        &server.ask(&padded(16_000)),
        400,
        "invalid_card_token",
        "a body below the bound",
    );
    check(
        &server.ask(&padded(17_000)),
        413,
        "body_too_large",
        "a body above the bound",
    );
    let mut chunked = buy(b"").header("transfer-encoding", "chunked");
    chunked.body = format!("5000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x5000)).into_bytes();
    check(
        &server.ask(&chunked),
        413,
        "body_too_large",
        "chunks above the bound",
    );
    let mut unframed = buy(b"").header("transfer-encoding", "chunked");
    unframed.body = b"zz\r\n\r\n".to_vec();
    let cut_off = server.ask(&unframed);
    check(&cut_off, 400, "invalid_request", "chunks that are none");
    assert_eq!(cut_off.json()["errors"][0]["field"], "body");
    let declared = buy(b"").header("content-length", "18446744073709551615");
    let mut client = server.connect();
    client.send(&declared.bytes()).unwrap();
    let answer = client.receive().unwrap();
    assert!(matches!(answer.status, 400 | 413 | 431), "{answer:?}");
    // The head's bound is hyper's to tell.
    let wide = Request::get("/livez").header("x-wide", &"w".repeat(40_000));
    let mut client = server.connect();
    let _ = client.send(&wide.bytes());
    assert_eq!(client.receive().unwrap().status, 431);
    let mut many = Request::get("/livez");
    for number in 0..200 {
        many = many.header(&format!("x-{number}"), "v");
    }
    let mut client = server.connect();
    let _ = client.send(&many.bytes());
    assert_eq!(client.receive().unwrap().status, 431);
    unharmed(&server);
}

#[test]
fn what_is_no_http_is_refused_and_costs_nobody_else_anything() {
    let server = Setup::demo()
        .config("[server]\nheader_read_timeout_ms = 500")
        .start();
    let smuggled = format!(
        "POST /limited/holds HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {SHOP}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n123456"
    );
    let cases: [(&str, &[u8]); 8] = [
        (
            "noise",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ),
        ("a bare line", b"hello\r\n\r\n"),
        ("another version", b"GET /livez HTTP/9.9\r\n\r\n"),
        (
            "a zero byte in a header",
            b"GET /livez HTTP/1.1\r\nhost: a\0b\r\n\r\n",
        ),
        (
            "a space before the colon",
            b"GET /livez HTTP/1.1\r\nhost : h\r\n\r\n",
        ),
        ("two lengths", smuggled.as_bytes()),
        (
            "a negative length",
            b"POST /receipts/verify HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n",
        ),
        (
            "a bad HTTP/2 preface",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n0123456789",
        ),
    ];
    for (what, bytes) in cases {
        let mut client = server.connect();
        client.send(bytes).unwrap();
        if let Ok(answer) = client.receive() {
            assert!(matches!(answer.status, 400 | 408), "{what}: {answer:?}");
        }
        assert!(client.is_closed(), "{what}");
    }
    unharmed(&server);
}

#[test]
fn heads_that_two_readers_read_differently_are_refused_and_their_connection_ends() {
    let server = Setup::demo().start();
    let hold = |head: &str| {
        let body = r#"{"user_id":"ana","product_id":"drop-1","quantity":1}"#;
        let (line, rest) = head.split_once("\r\n").unwrap();
        format!(
            "POST /limited/holds {line}\r\nauthorization: Bearer {SHOP}\r\nidempotency-key: \
             key-framing\r\ncontent-type: application/json\r\n{rest}\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    for (what, head, field) in [
        (
            "no host",
            "HTTP/1.1\r\ntransfer-encoding: chunked\r\n",
            "Host",
        ),
        (
            "two hosts",
            "HTTP/1.1\r\nhost: a\r\nhost: a\r\ntransfer-encoding: chunked\r\n",
            "Host",
        ),
        (
            "a host with a path",
            "HTTP/1.1\r\nhost: a/b\r\ntransfer-encoding: chunked\r\n",
            "Host",
        ),
        (
            "a host with a user",
            "HTTP/1.1\r\nhost: u@a\r\ntransfer-encoding: chunked\r\n",
            "Host",
        ),
        (
            "chunked twice in one header",
            "HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n",
            "Transfer-Encoding",
        ),
        (
            "chunked in two headers",
            "HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "Transfer-Encoding",
        ),
        (
            "another coding",
            "HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n",
            "Transfer-Encoding",
        ),
    ] {
        let mut client = server.connect();
        client.send(hold(head).as_bytes()).unwrap();
        let answer = client.receive().unwrap();
        check(&answer, 400, "invalid_request", what);
        assert_eq!(answer.json()["errors"][0]["field"], field, "{what}");
        assert!(client.is_closed(), "{what}");
    }
    unharmed(&server);

    // A length beside it says nothing, but what follows could be read as another request.
    let both = "HTTP/1.1\r\nhost: a:80\r\ncontent-length: 3\r\ntransfer-encoding: Chunked\r\n";
    let mut client = server.connect();
    client.send(hold(both).as_bytes()).unwrap();
    assert_eq!(client.receive().unwrap().status, 201);
    assert!(client.is_closed());
    // HTTP/1.0 has no need of a host.
    let mut client = server.connect();
    client.send(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.receive().unwrap().status, 200);
}

#[test]
fn slow_clients_get_408_or_are_disconnected() {
    let server = Setup::demo()
        .config("[server]\nheader_read_timeout_ms = 300\nbody_read_timeout_ms = 200")
        .start();
    // Half a head, then silence.
    let mut client = server.connect();
    client
        .send(b"POST /limited/holds HTTP/1.1\r\nhost: h\r\n")
        .unwrap();
    check(
        &client.receive().unwrap(),
        408,
        "request_timeout",
        "half a head",
    );
    assert!(client.is_closed());
    // A head that trickles in never resets the clock.
    let mut client = server.connect();
    for byte in b"GET /livez HTTP/1.1\r\nx-trickle: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        if client.send(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(client.receive().map_or(true, |answer| answer.status == 408));
    // Nothing at all, the beginning of HTTP/2's preface, and an idle connection.
    assert!(server.connect().is_closed());
    let mut client = server.connect();
    client.send(b"PR").unwrap();
    assert!(client.is_closed());
    let mut client = server.connect();
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut settings = Vec::new();
    std::io::Read::read_to_end(&mut client.into_stream(), &mut settings).unwrap();
    let mut client = server.connect();
    assert_eq!(client.ask(&Request::get("/livez")).status, 200);
    assert!(client.is_closed());
    // A body that does not come.
    let mut client = server.connect();
    let request = buy(b"").header("content-length", "100");
    client.send(&request.bytes()).unwrap();
    check(
        &client.receive().unwrap(),
        408,
        "request_timeout",
        "a body that does not come",
    );
    // A body that is cut off.
    let mut client = server.connect();
    client.send(&request.bytes()).unwrap();
    client.send(b"{\"user_id\"").unwrap();
    drop(client);
    unharmed(&server);
}

#[test]
fn connections_and_requests_under_way_are_bounded() {
    let server = Setup::demo()
        .config("[server]\nmax_connections = 4\nconnections_per_peer_max = 4\nin_flight_max = 2\nworkers = 1")
        .start();
    let mut open: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    // Under a key, so that none of them makes room for another one.
    let product = Request::get("/limited/products/drop-1").key(SHOP);
    for client in &mut open {
        assert_eq!(client.ask(&product).status, 200);
    }
    let mut fifth = server.connect();
    check(
        &fifth.ask(&product),
        503,
        "overloaded",
        "a connection too many",
    );
    assert!(fifth.is_closed());
    // Two payments that take their time, then a third request.
    for (number, client) in open.iter_mut().take(2).enumerate() {
        let user = format!("user-{number}");
        let slow = Request::buy(
            &user,
            "drop-1",
            "tok_slow_1000",
            &format!("key-slow-{number}"),
        );
        client.send(&slow.bytes()).unwrap();
    }
    let refused = support::until("the third is refused", || {
        let answer = open[2].ask(&product);
        (answer.status == 503).then_some(answer)
    });
    check(&refused, 503, "overloaded", "a request too many");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let probed = open[3].ask(&Request::get("/livez"));
    assert_eq!(probed.status, 200, "a probe is answered under any load");
    for client in open.iter_mut().take(2) {
        assert_eq!(client.receive().unwrap().status, 201);
    }
    assert_eq!(open[3].ask(&Request::get("/livez")).status, 200);
}

#[test]
fn bad_products_and_promotions_are_refused() {
    let server = Setup::demo().start();
    let product = r#"{"name":"n","price":{"USD":1},"stock":1,"per_user_limit":null,"starts_at":null,"ends_at":null,"active":true}"#;
    let promotion = r#"{"percent_off":10,"uses_max":1,"uses_per_user_max":null,"starts_at":null,"ends_at":null,"active":true}"#;
    let no_sums = promotion.replace("\"percent_off\":10", "\"amount_off\":{}");
    let invalid = "invalid_request";
    let cases = [
        ("/admin/promotions/P", no_sums, invalid),
        ("/admin/products/p", product.replace("1}", "1.5}"), invalid),
        (
            "/admin/products/p",
            product.replace("\"n\"", "\"\""),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("{\"USD\":1}", "{}"),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("{\"USD\":1}", "{\"USD\":1,\"USD\":2}"),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("\"USD\":1", "\"USD\":0"),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("\"USD\":1", "\"USD\":9999999999999"),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("USD", "JPY"),
            "currency_not_allowed",
        ),
        (
            "/admin/products/p",
            product.replace("\"stock\":1", "\"stock\":2097152"),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("\"starts_at\":null", "\"starts_at\":\"tomorrow\""),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace(
                "\"starts_at\":null,\"ends_at\":null",
                "\"starts_at\":\"2026-01-02T00:00:00Z\",\"ends_at\":\"2026-01-01T00:00:00Z\"",
            ),
            invalid,
        ),
        (
            "/admin/products/p",
            product.replace("\"active\":true", "\"active\":1"),
            invalid,
        ),
        ("/admin/products/a%20b", product.to_owned(), invalid),
        (
            "/admin/promotions/c",
            promotion.replace("10", "101"),
            invalid,
        ),
        (
            "/admin/promotions/c",
            promotion.replace("10", "10,\"amount_off\":{\"USD\":1}"),
            invalid,
        ),
        (
            "/admin/promotions/c",
            promotion.replace("\"percent_off\":10,", ""),
            invalid,
        ),
        (
            "/admin/promotions/c",
            promotion.replace("true}", "true,\"product_ids\":[7]}"),
            invalid,
        ),
    ];
    for (path, body, reason) in cases {
        let answer = server.ask(&Request::put(path).key(ADMIN).body(body.as_bytes()));
        check(&answer, 400, reason, &body);
    }
    unharmed(&server);
}
