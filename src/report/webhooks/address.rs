//! Owns which addresses deliveries may go to, and resolving names to no others.
//!
//! Invariants: a connection is made to an address that was judged, never to what the name resolves to
//! a second time; an address of IPv4 inside IPv6 is judged as both. Deliberately absent: literal
//! addresses in URLs, which the connector does not resolve; `settings` judges them.

use super::settings::AddressRule;
use hyper_util::client::legacy::connect::dns::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// The address of Azure's platform, which every machine there reaches and nobody else should.
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether anyone on the internet may have this address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    let is_reserved = matches!(
        (first, second, third),
        // This network, private, loopback, multicast and what is kept for later.
        (0 | 10 | 127 | 224..=255, _, _)
            // Carrier-grade NAT, link-local (metadata of clouds), private.
            | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
            // Protocols, documentation, 6to4 relays, benchmarks.
            | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113)
    );
    !is_reserved && ip != AZURE_PLATFORM
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_public_v4(ip);
    }
    match ip.segments() {
        // NAT64 and 6to4 lead to an address of IPv4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let bits = u32::from(high) << 16 | u32::from(low);
            is_public_v4(Ipv4Addr::from_bits(bits))
        }
        // Teredo, ORCHID, documentation, benchmarks.
        [0x2001, 0 | 0x10..=0x3f | 0xdb8, ..] | [0x2001, 0x2, 0, ..] | [0x3fff, 0..=0xfff, ..] => {
            false
        }
        // Of everything else only global unicast.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// Resolves names to addresses that the endpoint may have.
#[derive(Copy, Clone, Debug)]
pub(super) struct JudgingResolver {
    pub(super) addresses: AddressRule,
    /// Whether only private addresses will do, since requests go without TLS.
    pub(super) private_only: bool,
}

impl JudgingResolver {
    fn admits(self, ip: IpAddr) -> bool {
        let is_public = is_public(ip);
        match self.addresses {
            AddressRule::PublicOnly => is_public,
            AddressRule::PrivateToo => !(self.private_only && is_public),
        }
    }

    /// The admitted addresses; an error that says which were refused, where there is none.
    fn judged(
        self,
        name: &Name,
        found: impl Iterator<Item = SocketAddr>,
    ) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        let (admitted, refused): (Vec<_>, Vec<_>) = found.partition(|it| self.admits(it.ip()));
        if admitted.is_empty() {
            let ips: Vec<_> = refused.iter().map(|it| it.ip().to_string()).collect();
            let why = match self.addresses {
                AddressRule::PublicOnly => "not public; set allow_private = true if that is meant",
                AddressRule::PrivateToo => "public, and http is for private addresses only",
            };
            let ips = ips.join(", ");
            return Err(io::Error::other(format!(
                "{name} is at {ips}, which is {why}"
            )));
        }
        Ok(admitted.into_iter())
    }
}

impl Service<Name> for JudgingResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let judge = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            judge.judged(&name, found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_form() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a00:1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "169.253.0.1",
            "192.0.1.1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn of_several_addresses_only_those_that_may_be_are_tried() {
        let found = || ["127.0.0.1:0", "8.8.8.8:0", "[::1]:0"].map(|it| it.parse().unwrap());
        let name: Name = "shop.example".parse().unwrap();
        let admitted = |addresses, private_only| {
            let judge = JudgingResolver {
                addresses,
                private_only,
            };
            let judged = judge.judged(&name, found().into_iter()).unwrap();
            judged
                .map(|it: SocketAddr| it.ip().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(admitted(AddressRule::PublicOnly, false), ["8.8.8.8"]);
        assert_eq!(
            admitted(AddressRule::PrivateToo, true),
            ["127.0.0.1", "::1"]
        );
        assert_eq!(admitted(AddressRule::PrivateToo, false).len(), 3);
    }
}
