//! HTTP/2 frames written by hand: requests whose bodies are withheld, and floods of what is no request.

use crate::support::{PATIENCE, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

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

    /// Kind and flags of the next frame.
    fn next_frame(&mut self) -> std::io::Result<(u8, u8)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload)?;
        Ok((head[3], head[4]))
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
