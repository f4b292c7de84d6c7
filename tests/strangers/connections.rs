//! Strangers who hold connections: those with a key get in all the same, probes too, and no peer
//! takes the others' room.

use crate::http2::Http2;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use support::signing::{Own, event, id_of};
use support::{ADMIN, Client, Request, SHOP, Server, Setup, until};

/// No connection ends by itself while a test runs.
const PATIENT: &str = "header_read_timeout_ms = 600000\nbody_read_timeout_ms = 600000\ndrain_s = 0";

/// A server with so many connections, of so many of one peer without a key.
fn start(max: usize, per_peer_max: usize) -> Server {
    let server = Setup::demo()
        .config(&format!(
            "[server]\nworkers = 2\nmax_connections = {max}\nconnections_per_peer_max = {per_peer_max}\n{PATIENT}"
        ))
        .start();
    // On a connection that is gone afterwards.
    server.put_product("plenty", 1_000);
    until("nobody is connected", || {
        (figure(&server, "holdfast_connections") == 1).then_some(())
    });
    server
}

/// A metric, asked for on a connection of its own.
fn figure(server: &Server, name: &str) -> u64 {
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn live() -> Request {
    Request::get("/livez")
}

fn product() -> Request {
    Request::get("/limited/products/plenty").key(SHOP)
}

/// A connection that has shown the shop's key.
fn of_shop(server: &Server) -> Client {
    let mut client = server.connect();
    assert_eq!(client.ask(&product()).status, 200);
    client
}

/// One that has been answered, and so has its place.
fn of_stranger(server: &Server) -> Client {
    let mut client = server.connect();
    assert_eq!(client.ask(&live()).status, 200);
    client
}

/// A connection from another address of the loopback network.
fn from(source: [u8; 4], server: &Server) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source = (IpAddr::from(Ipv4Addr::from(source)), 0);
    socket
        .bind(&std::net::SocketAddr::from(source).into())
        .unwrap();
    socket.connect(&server.address.into()).unwrap();
    Client::over(TcpStream::from(socket)).unwrap()
}

#[test]
fn a_client_with_a_key_connects_at_once_while_strangers_hold_all_connections() {
    let server = start(8, 100);
    let mut idle: Vec<Client> = (0..4).map(|_| of_stranger(&server)).collect();
    let mut withheld: Vec<Http2> = (0..4)
        .map(|_| Http2::withholding(&server, "/receipts/verify", 50))
        .collect();
    let mut shop = server.connect();
    let bought = shop.ask(&Request::buy("ana", "plenty", "tok_ok", "key-crowd-1"));
    assert_eq!(bought.status, 201, "{bought:?}");
    assert!(idle[0].is_closed(), "the idlest has gone");
    // As many again: whatever comes, those with a key stay.
    let more: Vec<Client> = (0..8).map(|_| of_stranger(&server)).collect();
    assert!(idle.iter_mut().skip(1).all(Client::is_closed));
    assert!(withheld.iter_mut().all(Http2::is_closed));
    let paid = Request::buy("bo", "plenty", "tok_ok", "key-crowd-2");
    assert_eq!(shop.ask(&paid).status, 201);
    drop(more);
    let said = server.log.wait_for("connections_evicted").expect("a line");
    assert_eq!(
        (&said["cause"], &said["peer"]),
        (&"full".into(), &"127.0.0.1".into())
    );
    assert!(
        figure(
            &server,
            "holdfast_connections_evicted_total{cause=\"full\"}"
        ) >= 9
    );
    assert_eq!(figure(&server, "holdfast_connections_turned_away_total"), 0);
    until("what was withheld has given its room back", || {
        let bytes = "holdfast_pool_body_bytes{pool=\"keyless\"}";
        (figure(&server, bytes) == 0).then_some(())
    });
}

#[test]
fn the_one_longest_without_a_good_answer_goes_first() {
    let server = start(3, 100);
    let mut strangers: Vec<Client> = (0..3).map(|_| of_stranger(&server)).collect();
    // The first one is not the idlest any more; the second only seems to do something.
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(strangers[0].ask(&live()).status, 200);
    assert_eq!(strangers[1].ask(&Request::get("/admin/status")).status, 401);
    let mut shop = of_shop(&server);
    assert!(strangers[1].is_closed());
    let _another = of_shop(&server);
    assert!(strangers[2].is_closed());
    assert_eq!(strangers[0].ask(&live()).status, 200);
    assert_eq!(shop.ask(&product()).status, 200);
}

#[test]
fn a_peer_at_its_bound_makes_room_for_itself_and_keys_do_not_count() {
    let server = start(100, 2);
    let mut shop: Vec<Client> = (0..6).map(|_| of_shop(&server)).collect();
    let mut elsewhere = from([127, 0, 0, 2], &server);
    assert_eq!(elsewhere.ask(&live()).status, 200);
    let mut strangers: Vec<Client> = (0..4).map(|_| of_stranger(&server)).collect();
    assert!(strangers.iter_mut().take(2).all(Client::is_closed));
    // Behind the same address as the strangers, the shop gets in, and stays.
    shop.push(of_shop(&server));
    for client in &mut shop {
        assert_eq!(client.ask(&product()).status, 200);
    }
    assert_eq!(
        elsewhere.ask(&live()).status,
        200,
        "another peer notices nothing"
    );
    assert!(
        figure(
            &server,
            "holdfast_connections_evicted_total{cause=\"peer\"}"
        ) >= 2
    );
    assert_eq!(
        figure(
            &server,
            "holdfast_connections_evicted_total{cause=\"full\"}"
        ),
        0
    );
}

#[test]
fn the_connection_of_a_genuine_webhook_stays_as_one_with_a_key_does() {
    let server = start(2, 100);
    let purchase = server
        .ask(&Request::buy("ana", "plenty", "tok_ok", "key-hook-1"))
        .json();
    let body = event("evt-1", "payment.captured", id_of(&purchase), 0);
    let webhook =
        Own::new("nonce-1", &body).signed_with("demo-webhook-secret-that-everybody-knows");
    let mut gateway = server.connect();
    let answer = gateway.ask(&webhook.request());
    assert_eq!(answer.status, 200, "{answer:?}");
    let strangers: Vec<Client> = (0..4).map(|_| of_stranger(&server)).collect();
    assert_eq!(gateway.ask(&live()).status, 200);
    drop(strangers);
}

#[test]
fn beyond_the_shops_connections_there_are_some_for_probes_metrics_and_administration() {
    let server = start(4, 100);
    let mut shop: Vec<Client> = (0..4).map(|_| of_shop(&server)).collect();
    // Strangers in the reserve make room for each other.
    let strangers: Vec<Client> = (0..40).map(|_| of_stranger(&server)).collect();
    assert_eq!(server.ask(&Request::get("/readyz")).status, 200);
    let scraped = server.ask(&Request::get("/metrics").key(ADMIN));
    assert_eq!(scraped.status, 200);
    let mut operator = server.connect();
    let status = Request::get("/admin/status").key(ADMIN);
    assert_eq!(operator.ask(&status).status, 200);
    // The shop has no place there, with HTTP/1.1 or HTTP/2, and its key keeps none.
    for number in 0..20 {
        let mut fifth = server.connect();
        let key = format!("key-reserve-{number}");
        let told = fifth.ask(&Request::hold("ana", "plenty", 1, &key));
        assert_eq!((told.status, told.reason()), (503, "overloaded".to_owned()));
        assert_eq!(told.header("connection"), Some("close"));
        assert!(fifth.is_closed());
    }
    let mut fifth = Http2::connect(&server);
    fifth.ask("/limited/holds", SHOP);
    assert!(fifth.is_closed());
    assert_eq!(operator.ask(&status).status, 200);
    for client in &mut shop {
        assert_eq!(client.ask(&product()).status, 200);
    }
    // A place that is free again is for the next one, also one that waits in the reserve.
    drop(strangers);
    let mut waiting = of_stranger(&server);
    drop(shop.pop());
    until(
        "three of the shop, the operator and one that waits are left",
        || {
            let metrics = operator.ask(&Request::get("/metrics").key(ADMIN)).text();
            let mut lines = metrics.lines();
            lines
                .any(|line| line == "holdfast_connections 5")
                .then_some(())
        },
    );
    assert_eq!(waiting.ask(&product()).status, 200);
    assert_eq!(server.ask(&product()).status, 503);
}
