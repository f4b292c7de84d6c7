//! Owns the identity of a peer, as far as its address shows it.
//!
//! Invariant: IPv4-mapped IPv6 is IPv4. Deliberately absent: headers in which a proxy names its
//! client, because any stranger can send them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The address at the other end of a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

/// What counts as one peer: an IPv4 address, or a /64 of IPv6, because one subscriber has all of
/// it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::http) struct Network(IpAddr);

impl Peer {
    /// The one at `address`.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    pub(in crate::http) fn network(self) -> Network {
        Network(match self.0 {
            IpAddr::V6(address) => {
                let bits = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_peer_and_a_mapped_address_is_ipv4() {
        let network = |text: &str| Peer::new(text.parse().unwrap()).network();
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
