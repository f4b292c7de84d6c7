//! Owns the sockets of one address: bound before the program can answer, listened on by each thread
//! later.
//!
//! Invariants: 1. an address in use by another program is an error at once; 2. once bound, no other
//! program can take the address; 3. connections that arrive before the threads start wait in the
//! kernel.
//! Deliberately absent: accepting connections, which the server does.

use super::ServeError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// One address, bound for a number of threads.
#[derive(Debug)]
pub struct Listener {
    key: &'static str,
    address: SocketAddr,
    backlog: u32,
    /// One per thread. The first one already listens: two programs can bind one address as long as
    /// neither listens.
    sockets: Vec<Socket>,
}

impl Listener {
    /// Binds `address`, the value of the setting `key`, for `count` threads.
    pub fn bind(
        key: &'static str,
        address: SocketAddr,
        count: usize,
        backlog: u32,
    ) -> Result<Self, ServeError> {
        Self::try_bind(key, address, count, backlog).map_err(|source| ServeError::Listen {
            key,
            address,
            source,
        })
    }

    fn try_bind(
        key: &'static str,
        address: SocketAddr,
        count: usize,
        backlog: u32,
    ) -> io::Result<Self> {
        if address.port() != 0 {
            // Our sockets share a port, but another program must not have it already.
            let alone = bound(address, Sharing::Alone)?;
            listen(&alone, backlog)?;
        }
        let first = bound(address, Sharing::Shared)?;
        listen(&first, backlog)?;
        let address = first
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let others = (1..count).map(|_| bound(address, Sharing::Shared));
        let sockets = std::iter::once(Ok(first)).chain(others);
        Ok(Self {
            key,
            address,
            backlog,
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    /// The bound address, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listening socket, for one thread before the others start. Connections that wait in it
    /// afterwards belong to the next listener.
    pub(in crate::http) fn first(&self) -> Result<Self, ServeError> {
        let (key, address) = (self.key, self.address);
        let failed = |source| ServeError::Listen {
            key,
            address,
            source,
        };
        let first = self.sockets.iter().take(1).map(Socket::try_clone);
        Ok(Self {
            key,
            address,
            backlog: self.backlog,
            sockets: first.collect::<io::Result<_>>().map_err(failed)?,
        })
    }

    /// A listening socket for each thread.
    pub(in crate::http) fn listen(self) -> Result<Vec<TcpListener>, ServeError> {
        let (key, address) = (self.key, self.address);
        let failed = |source| ServeError::Listen {
            key,
            address,
            source,
        };
        for socket in self.sockets.iter().skip(1) {
            listen(socket, self.backlog).map_err(failed)?;
        }
        Ok(self.sockets.into_iter().map(TcpListener::from).collect())
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

fn bound(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}
