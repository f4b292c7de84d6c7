//! `Type=notify`: a socket of the test plays systemd and hears when the process is ready, reloads,
//! stops, and that it works.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use support::{PATIENCE, Server, Setup};

/// The socket, and what was heard from it so far.
struct Systemd {
    socket: UnixDatagram,
}

impl Systemd {
    fn at(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    fn next(&self) -> String {
        let mut message = [0; 4_096];
        let length = self.socket.recv(&mut message).expect("a message comes");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The next message with a line that begins with `word`, and what came before it.
    fn hear(&self, word: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message.lines().any(|line| line.starts_with(word)) {
                return (message, before);
            }
            before.push(message);
        }
    }
}

fn value_of<'m>(message: &'m str, name: &str) -> &'m str {
    let line = message.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {message}"))
}

/// A server below a supervisor of its own.
fn supervised(setup: Setup) -> (Systemd, Server, tempfile::TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("notify");
    let systemd = Systemd::at(&SocketAddr::from_pathname(&path).unwrap());
    let server = setup.env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    (systemd, server, scratch)
}

fn monotonic_microseconds() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn the_supervisor_hears_of_the_start_of_reloads_and_of_the_stop() {
    let (systemd, server, _scratch) = supervised(Setup::demo());
    let (ready, _) = systemd.hear("READY=");
    assert_eq!(value_of(&ready, "READY"), "1");
    let (status, _) = systemd.hear("STATUS=");
    assert_eq!(value_of(&status, "STATUS"), "taking requests");

    // A refused reload ends, too.
    for config in ["", "[no_such_section]\n"] {
        std::fs::write(&server.config, config).unwrap();
        let from = monotonic_microseconds();
        server.hang_up();
        let (reloading, _) = systemd.hear("RELOADING=");
        assert_eq!(value_of(&reloading, "RELOADING"), "1");
        let at: i64 = value_of(&reloading, "MONOTONIC_USEC").parse().unwrap();
        let to = monotonic_microseconds();
        assert!((from..=to).contains(&at), "{from} {at} {to}");
        systemd.hear("READY=1");
    }

    let (ended, log) = server.stop();
    assert!(ended.success(), "{log:?}");
    let (stopping, before) = systemd.hear("STOPPING=");
    assert_eq!(value_of(&stopping, "STOPPING"), "1");
    // Without WATCHDOG_USEC nobody waits for it.
    assert!(
        !before.iter().any(|it| it.contains("WATCHDOG")),
        "{before:?}"
    );
}

#[test]
fn ready_is_said_once_requests_are_accepted() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("notify");
    let systemd = Systemd::at(&SocketAddr::from_pathname(&path).unwrap());
    let launched = Setup::demo()
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .launch();
    systemd.hear("READY=1");
    let server = launched.listening().expect("it listens");
    let ready = support::Request::get("/readyz");
    assert_eq!(server.ask(&ready).status, 200);
}

#[test]
fn the_watchdog_hears_regularly_from_a_process_that_works() {
    let setup = Setup::demo().env("WATCHDOG_USEC", "400000");
    let (systemd, server, _scratch) = supervised(setup);
    systemd.hear("READY=1");
    for _ in 0..3 {
        let (sign, _) = systemd.hear("WATCHDOG=");
        assert_eq!(value_of(&sign, "WATCHDOG"), "1");
    }
    drop(server);
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_hears_nothing() {
    let setup = Setup::demo().env("WATCHDOG_USEC", "1000");
    let (systemd, server, _scratch) = supervised(setup.env("WATCHDOG_PID", "1"));
    systemd.hear("READY=1");
    server.stop();
    let (_, before) = systemd.hear("STOPPING=1");
    assert!(
        !before.iter().any(|it| it.contains("WATCHDOG")),
        "{before:?}"
    );
}

#[test]
fn a_socket_in_the_abstract_namespace_is_found() {
    let name = format!("holdfast-test-{}", std::process::id());
    let systemd = Systemd::at(&SocketAddr::from_abstract_name(&name).unwrap());
    let server = Setup::demo()
        .env("NOTIFY_SOCKET", &format!("@{name}"))
        .start();
    systemd.hear("READY=1");
    drop(server);
}

#[test]
fn a_supervisor_that_is_not_there_is_logged_and_stops_nothing() {
    let server = Setup::demo()
        .env("NOTIFY_SOCKET", "/nowhere/notify")
        .start();
    assert!(server.log.wait_for("supervisor_unreachable").is_some());
    let ready = support::Request::get("/readyz");
    assert_eq!(server.ask(&ready).status, 200);
}
