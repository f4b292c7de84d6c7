//! A wire between the program and a server: it passes bytes on, slowly, not at all, or ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A wire to a port.
pub struct Wire {
    pub port: u16,
    state: Arc<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    /// What each piece waits before it is passed on.
    delay_us: AtomicU64,
    /// Nothing is passed on.
    silent: AtomicBool,
    /// New connections are closed at once.
    refuses: AtomicBool,
    ends: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// A wire to `port`, good at first.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let state = Arc::clone(&wire.state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if state.ends.load(Ordering::Relaxed) {
                    return;
                }
                if state.refuses.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(far) = TcpStream::connect(("127.0.0.1", port)) {
                    join(&state, near, far);
                }
            }
        });
        wire
    }

    /// Each piece waits so long.
    pub fn slow(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap();
        self.state.delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Whether bytes are swallowed, with nobody told.
    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn join(state: &Arc<ProxyState>, near: TcpStream, far: TcpStream) {
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let pairs = [
        (near.try_clone().unwrap(), far.try_clone().unwrap()),
        (far.try_clone().unwrap(), near.try_clone().unwrap()),
    ];
    state.open.lock().unwrap().extend([near, far]);
    for (from, to) in pairs {
        let state = Arc::clone(state);
        thread::spawn(move || pass(&state, from, to));
    }
}

fn pass(state: &ProxyState, mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let delay_us = state.delay_us.load(Ordering::Relaxed);
        if delay_us > 0 {
            thread::sleep(Duration::from_micros(delay_us));
        }
        if state.silent.load(Ordering::Relaxed) {
            continue;
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
