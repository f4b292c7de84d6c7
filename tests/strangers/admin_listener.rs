//! Administration, metrics and probes on an address of their own, which nothing on the other one
//! fills.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use support::{ADMIN, Client, Request, Response, SHOP, Server, Setup, binary, free_port};

const BOTH: &str =
    "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nworkers = 1";

fn admin_address(server: &Server) -> SocketAddr {
    let said = server.log.wait_for("listening").expect("it listens");
    said["admin_address"].as_str().unwrap().parse().unwrap()
}

fn ask_admin(server: &Server, request: &Request) -> Response {
    Client::connect(admin_address(server)).ask(request)
}

#[test]
fn each_address_serves_its_own_and_both_the_probes() {
    let server = Setup::demo().config(BOTH).start();
    let of_both = [Request::get("/livez"), Request::get("/readyz")];
    let of_admin = [
        Request::get("/admin/status").key(ADMIN),
        Request::get("/admin/products").key(ADMIN),
        Request::get("/metrics").key(ADMIN),
        Request::get("/console"),
        Request::get("/console/app.js"),
        Request::post("/admin/snapshot").key(ADMIN),
    ];
    let of_main = [
        Request::get("/limited/products").key(SHOP),
        Request::hold("ana", "drop-1", 1, "key-face-1"),
        Request::get("/.well-known/jwks.json"),
    ];
    for request in &of_both {
        assert_eq!(server.ask(request).status, 200, "{request:?}");
        assert_eq!(ask_admin(&server, request).status, 200, "{request:?}");
    }
    for request in &of_admin {
        assert_eq!(ask_admin(&server, request).status, 200, "{request:?}");
        let elsewhere = server.ask(request);
        assert_eq!(elsewhere.status, 404, "{request:?}");
        assert_eq!(elsewhere.reason(), "not_found");
    }
    for request in &of_main {
        assert!(matches!(server.ask(request).status, 200 | 201));
        let elsewhere = ask_admin(&server, request);
        assert_eq!(elsewhere.status, 404, "{request:?}");
    }
    let anything = Request::get("/admin/nothing");
    assert_eq!(server.ask(&anything).status, 404, "no key is asked for");
    assert_eq!(ask_admin(&server, &anything).status, 401);
    // A running core is asked there.
    let reconcile = |address: SocketAddr| {
        let url = format!("http://{address}");
        let mut command = binary();
        command.args(["reconcile", "--url", &url, "--key", ADMIN]);
        command.output().unwrap()
    };
    let elsewhere = reconcile(server.address);
    assert_eq!(elsewhere.status.code(), Some(2));
    let told = String::from_utf8_lossy(&elsewhere.stderr);
    assert!(told.contains("server.admin_listen"), "{told}");
    assert!(reconcile(admin_address(&server)).status.success());
    let (status, log) = server.stop();
    assert!(status.success(), "{log:?}");
}

#[test]
fn connections_of_one_listener_leave_the_other_its_own() {
    let server = Setup::demo()
        .config(BOTH)
        .config("max_connections = 2\nheader_read_timeout_ms = 600000\ndrain_s = 0")
        .start();
    let product = Request::get("/limited/products/drop-1").key(SHOP);
    let status = Request::get("/admin/status").key(ADMIN);
    let mut scraper = Client::connect(admin_address(&server));
    assert_eq!(scraper.ask(&status).status, 200);
    let of_shop = || {
        let mut client = server.connect();
        assert_eq!(client.ask(&product).status, 200);
        client
    };
    let mut shop = [of_shop(), of_shop()];
    let _on_main: Vec<Client> = (0..30).map(|_| server.connect()).collect();
    // Strangers, and a shop's key, take nothing from the operator's address either.
    let mut on_admin: Vec<Client> = (0..200)
        .map(|_| Client::connect(admin_address(&server)))
        .collect();
    for client in on_admin.iter_mut().skip(190) {
        assert_eq!(client.ask(&product).status, 404);
    }
    for _ in 0..20 {
        assert_eq!(ask_admin(&server, &status).status, 200);
    }
    assert_eq!(scraper.ask(&status).status, 200);
    for client in &mut shop {
        assert_eq!(client.ask(&product).status, 200);
    }
}

#[test]
fn it_has_tls_as_the_other_one_has() {
    let dir = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ cert = {cert:?}, key = {key:?} }}");
    let server = Setup::demo().config(BOTH).config(&tls).start();
    for address in [server.address, admin_address(&server)] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(first[0], 21, "an alert of TLS");
    }
}

#[test]
fn a_taken_address_ends_the_start_by_its_key() {
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"{address}\"");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (status, log) = Setup::demo().config(&config).data_dir(&data).refused();
    assert_eq!(status.code(), Some(1));
    let log = log.join("\n");
    assert!(
        log.contains(&format!("cannot listen on {address}")),
        "{log}"
    );
    assert!(log.contains("set server.admin_listen to another"), "{log}");
    assert!(!data.exists(), "before recovery");
}
