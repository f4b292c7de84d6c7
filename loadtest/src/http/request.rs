//! Requests rendered once and patched in place.
//!
//! 1. A template's length never changes: buyer and idempotency key have fixed widths, so
//!    `Content-Length` stays true.
//! 2. A request costs one copy and two short loops; nothing is allocated.
//! 3. No idempotency key is used twice: it carries run, thread and sequence number.

use super::Target;

const USER_DIGITS: usize = 11;
const USER_SLOT: &str = "u00000000000";
const DEVICE_SLOT: &str = "d00000000000";
const CARD_SLOT: &str = "c00000000000";
const IP_SLOT: &str = "fd00::0000:0000";
const KEY_SLOT: &str = "k00000000-00-000000000000";
const RUN_HEX: usize = 8;
const THREAD_HEX: usize = 2;
const SEQUENCE_HEX: usize = 12;

/// A request with a place for the buyer and one for the idempotency key.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    user_at: Option<usize>,
    ip_at: Option<usize>,
    device_at: Option<usize>,
    card_at: Option<usize>,
    key_at: Option<usize>,
}

/// Whether a buy says where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whence {
    Unsaid,
    /// From a device of the buyer's own, at one of `ADDRESSES` addresses, with a card of the buyer's own.
    Said,
}

/// Addresses that buyers come from.
const ADDRESSES: u64 = 65_536;

/// What makes an idempotency key unlike any other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyParts {
    /// Drawn once a run.
    pub(crate) run: u32,
    /// Number of the generating thread.
    pub(crate) thread: u8,
    /// Number of the request in its thread.
    pub(crate) sequence: u64,
}

impl Template {
    /// `POST /limited/holds`, one unit of `product`.
    pub(crate) fn hold(target: &Target, key: &str, product: &str) -> Self {
        let body = format!(r#"{{"user_id":"{USER_SLOT}","product_id":"{product}","quantity":1}}"#);
        Self::post(target, key, "/limited/holds", &body)
    }

    /// `POST /limited/buy`, one unit of `product` for `currency` with `card`.
    pub(crate) fn buy(
        target: &Target,
        key: &str,
        product: &str,
        currency: &str,
        card: &str,
        origin: Whence,
    ) -> Self {
        let whence = match origin {
            Whence::Unsaid => String::new(),
            Whence::Said => format!(r#","ip":"{IP_SLOT}","device_id":"{DEVICE_SLOT}""#),
        };
        // The sandbox has a card of each name.
        let own_card = match origin {
            Whence::Unsaid => String::new(),
            Whence::Said => format!("_{CARD_SLOT}"),
        };
        let body = format!(
            r#"{{"user_id":"{USER_SLOT}","product_id":"{product}","quantity":1,"currency":"{currency}","card_token":"{card}{own_card}"{whence}}}"#
        );
        Self::post(target, key, "/limited/buy", &body)
    }

    /// `GET /limited/products/{product}`.
    pub(crate) fn product(target: &Target, key: &str, product: &str) -> Self {
        let text = format!(
            "GET /limited/products/{product} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\r\n",
            target.host
        );
        Self::new(text)
    }

    /// Writes the request for buyer number `user` under the key of `parts` into `out`, whose content it replaces.
    pub(crate) fn render(&self, user: u64, parts: KeyParts, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.user_at {
            decimal(&mut out[at + 1..=at + USER_DIGITS], user);
        }
        for at in [self.device_at, self.card_at].into_iter().flatten() {
            decimal(&mut out[at + 1..=at + USER_DIGITS], user);
        }
        if let Some(at) = self.ip_at {
            let last = at + IP_SLOT.len();
            hex(&mut out[last - 4..last], user % ADDRESSES);
        }
        if let Some(at) = self.key_at {
            let run = at + 1;
            let thread = run + RUN_HEX + 1;
            let sequence = thread + THREAD_HEX + 1;
            hex(&mut out[run..run + RUN_HEX], u64::from(parts.run));
            hex(
                &mut out[thread..thread + THREAD_HEX],
                u64::from(parts.thread),
            );
            hex(&mut out[sequence..sequence + SEQUENCE_HEX], parts.sequence);
        }
    }

    fn post(target: &Target, key: &str, path: &str, body: &str) -> Self {
        Self::new(format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\nidempotency-key: {KEY_SLOT}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            target.host,
            body.len()
        ))
    }

    fn new(text: String) -> Self {
        Self {
            user_at: text.find(USER_SLOT),
            ip_at: text.find(IP_SLOT),
            device_at: text.find(DEVICE_SLOT),
            card_at: text.find(CARD_SLOT),
            key_at: text.find(KEY_SLOT),
            bytes: text.into_bytes(),
        }
    }
}

fn decimal(slot: &mut [u8], mut value: u64) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn hex(slot: &mut [u8], mut value: u64) {
    for digit in slot.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buyer_and_key_are_patched_and_the_length_stays_true() {
        let target = Target::parse("http://127.0.0.1:8080").unwrap();
        let template = Template::buy(&target, "secret", "drop-1", "USD", "tok_ok", Whence::Said);
        let mut out = Vec::new();
        let parts = KeyParts {
            run: 0xabcd,
            thread: 1,
            sequence: 255,
        };
        template.render(42, parts, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("idempotency-key: k0000abcd-01-0000000000ff\r\n"));
        assert!(head.contains(&format!("content-length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["user_id"], "u00000000042");
        assert_eq!(body["card_token"], "tok_ok_c00000000042");
        assert_eq!(body["device_id"], "d00000000042");
        assert_eq!(body["ip"], "fd00::0000:002a");
    }

    #[test]
    fn a_read_has_neither() {
        let target = Target::parse("http://127.0.0.1:8080").unwrap();
        let template = Template::product(&target, "secret", "drop-1");
        assert!(template.user_at.is_none() && template.key_at.is_none());
    }
}
