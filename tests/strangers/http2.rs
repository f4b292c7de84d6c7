//! HTTP/2 frames written by hand: requests whose bodies are withheld, and floods of what is no request.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use support::{PATIENCE, Request, Server, Setup};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0x60;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection in HTTP/2.
pub struct Http2(TcpStream);

impl Http2 {
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut begun = Self(stream);
        let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut wire, SETTINGS, 0, 0, &[]);
        begun.send(&wire).unwrap();
        begun
    }

    /// One that has begun so many requests with a body, and sends none of it.
    pub fn withholding(server: &Server, path: &str, streams: u32) -> Self {
        let mut begun = Self::connect(server);
        let head = post(path, None);
        let mut wire = Vec::new();
        for number in 0..streams {
            frame(&mut wire, HEADERS, END_HEADERS, 2 * number + 1, &head);
        }
        begun.send(&wire).unwrap();
        begun.ping();
        begun
    }

    /// Sends a request with `key`, and an empty body.
    pub fn ask(&mut self, path: &str, key: &str) {
        let head = post(path, Some(key));
        let mut wire = Vec::new();
        frame(&mut wire, HEADERS, END_HEADERS | END_STREAM, 1, &head);
        self.send(&wire).unwrap();
    }

    pub fn send(&mut self, wire: &[u8]) -> std::io::Result<()> {
        self.0.write_all(wire)
    }

    /// Returns once everything that was sent has been read.
    fn ping(&mut self) {
        let mut wire = Vec::new();
        frame(&mut wire, PING, 0, 0, &[7; 8]);
        self.send(&wire).unwrap();
        while self.next_frame().unwrap() != (PING, 1) {}
    }

    /// The status of the next answer.
    fn status(&mut self) -> u8 {
        loop {
            let (kind, _, payload) = self.next_payload().unwrap();
            if kind == HEADERS {
                // A first byte below 0x40 sizes the table, and says nothing.
                return *payload.iter().find(|it| **it >= 0x40).unwrap();
            }
        }
    }

    /// Kind and flags of the next frame.
    fn next_frame(&mut self) -> std::io::Result<(u8, u8)> {
        self.next_payload().map(|(kind, flags, _)| (kind, flags))
    }

    fn next_payload(&mut self) -> std::io::Result<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload)?;
        Ok((head[3], head[4], payload))
    }

    /// Whether the server closes it, after what it has still to say.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.next_frame() {
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// The fields of a POST, as literals (RFC 7541).
fn post(path: &str, key: Option<&str>) -> Vec<u8> {
    // POST and http, of the static table.
    let mut head = vec![0x83, 0x86];
    let key = key.map(|key| format!("Bearer {key}"));
    let fields = [
        (&[0x04_u8][..], Some(path)),
        (&[0x01][..], Some("holdfast")),
        (&[0x0f, 0x10][..], Some("application/json")),
        (&[0x0f, 0x08][..], key.as_deref()),
    ];
    for (name, value) in fields {
        let Some(value) = value else { continue };
        head.extend_from_slice(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend_from_slice(value.as_bytes());
    }
    head
}

fn frame(wire: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    wire.extend_from_slice(&length[1..]);
    wire.extend_from_slice(&[kind, flags]);
    wire.extend_from_slice(&stream.to_be_bytes());
    wire.extend_from_slice(payload);
}

/// The frames of each turn.
type Frames<'a> = Box<dyn FnMut(u32) -> Vec<u8> + 'a>;

/// Sends what `next` gives, again and again, until the server ends the connection: how many bytes
/// that took.
fn flood(server: &Server, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<usize> {
    const GIVE_UP: usize = 64 << 20;
    let mut connection = Http2::connect(server);
    let mut reader = connection.0.try_clone().unwrap();
    // Nobody may say that the server waits for its peer to read.
    let drained = std::thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    let (mut sent, mut turn) = (0, 0);
    let mut wire = Vec::new();
    let ended = loop {
        wire.clear();
        while wire.len() < 16_384 {
            wire.extend(next(turn));
            turn += 1;
        }
        if connection.send(&wire).is_err() {
            break Some(sent);
        }
        sent += wire.len();
        if sent > GIVE_UP {
            break None;
        }
    };
    let _ = connection.0.shutdown(std::net::Shutdown::Both);
    drained.join().unwrap();
    ended
}

fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}

#[test]
fn a_host_beside_another_authority_is_refused() {
    // As the static table of HPACK has them.
    const OK: u8 = 0x88;
    const BAD_REQUEST: u8 = 0x8c;
    let server = Setup::demo().start();
    let mut connection = Http2::connect(&server);
    for (turn, (host, status)) in [
        (None, OK),
        (Some("HOLDFAST"), OK),
        (Some("other"), BAD_REQUEST),
    ]
    .into_iter()
    .enumerate()
    {
        // GET and http, of the static table.
        let mut head = vec![0x82, 0x86];
        let fields = [
            (&[0x04_u8][..], Some("/livez")),
            (&[0x01][..], Some("holdfast")),
            (&[0x0f, 0x17][..], host),
        ];
        for (name, value) in fields {
            let Some(value) = value else { continue };
            head.extend_from_slice(name);
            head.push(u8::try_from(value.len()).unwrap());
            head.extend_from_slice(value.as_bytes());
        }
        let stream = 2 * u32::try_from(turn).unwrap() + 1;
        let mut wire = Vec::new();
        frame(&mut wire, HEADERS, END_HEADERS | END_STREAM, stream, &head);
        connection.send(&wire).unwrap();
        assert_eq!(connection.status(), status, "{host:?}");
    }
}

#[test]
fn floods_of_frames_that_are_no_requests_end_their_connection() {
    // Sent, read and on its way: sockets hold some megabytes of it.
    const MOST: usize = 24 << 20;
    const MEMORY_KIB: u64 = 32 << 10;
    let server = Setup::demo()
        .config("[server]\nworkers = 1\nhttp2_streams_max = 16")
        .start();
    let mut shop = server.connect();
    let one = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut wire = Vec::new();
        frame(&mut wire, kind, flags, stream, payload);
        wire
    };
    let head = post("/receipts/verify", None);
    let first_then = |first: Vec<u8>, then: Vec<u8>| {
        move |turn: u32| {
            if turn == 0 {
                first.clone()
            } else {
                then.clone()
            }
        }
    };
    let reset = |turn: u32| {
        let stream = 2 * turn + 1;
        let mut wire = one(HEADERS, END_HEADERS, stream, &head);
        wire.extend(one(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        wire
    };
    let before = memory_kib(&server);
    let mut floods: Vec<(&str, Frames<'_>)> = vec![
        ("pings", Box::new(|_| one(PING, 0, 0, &[1; 8]))),
        ("answers to no ping", Box::new(|_| one(PING, 1, 0, &[1; 8]))),
        ("settings", Box::new(|_| one(SETTINGS, 0, 0, &[]))),
        (
            "windows",
            Box::new(|_| one(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ),
        (
            "priorities",
            Box::new(|_| one(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ),
        (
            "unknown frames",
            Box::new(|_| one(UNKNOWN, 0, 0, &[0; 100])),
        ),
        (
            "a head without an end",
            Box::new(first_then(
                one(HEADERS, 0, 1, &head),
                one(CONTINUATION, 0, 1, &[0x40; 64]),
            )),
        ),
        (
            "a head of nothing without an end",
            Box::new(first_then(
                one(HEADERS, 0, 1, &head),
                one(CONTINUATION, 0, 1, &[]),
            )),
        ),
        (
            "a body of nothing without an end",
            Box::new(first_then(
                one(HEADERS, END_HEADERS, 1, &head),
                one(DATA, 0, 1, &[]),
            )),
        ),
        ("requests that are reset", Box::new(reset)),
    ];
    for (what, next) in &mut floods {
        let sent = flood(&server, next);
        let sent = sent.unwrap_or_else(|| panic!("{what}: it goes on"));
        assert!(sent < MOST, "{what}: {sent} bytes");
        assert_eq!(shop.ask(&Request::get("/livez")).status, 200, "{what}");
    }
    let after = memory_kib(&server);
    assert!(
        after < before + MEMORY_KIB,
        "{before} KiB, then {after} KiB"
    );
    assert_eq!(server.ask(&Request::get("/livez")).status, 200);
}
