//! Owns writing the JSON of frequent responses by hand into one buffer: numbers, ids, times and
//! money.
//!
//! Invariant: [`id`] only takes text that needs no escape (the alphabet of ids, words of this
//! program); free text goes through [`text`]. Deliberately absent: the shape of responses.

use crate::engine::event::Quote;
use crate::ids::{PurchaseId, RequestId};
use crate::money::Currency;
use crate::time::UnixMs;
use std::io::Write as _;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `req_` and 16 hexadecimal digits.
pub fn request_id(out: &mut Vec<u8>, request: RequestId) {
    out.extend_from_slice(b"req_");
    hex(out, request.0);
}

/// A purchase's hexadecimal digits.
pub fn digits(out: &mut Vec<u8>, purchase: PurchaseId) {
    out.extend_from_slice(&purchase.digits());
}

/// 16 hexadecimal digits.
pub fn hex(out: &mut Vec<u8>, number: u64) {
    for byte in number.to_be_bytes() {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// Literal JSON, such as `{"a":`.
pub fn raw(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

/// A text that needs no escape, in quotes.
pub fn id(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// A text that needs no escape, in quotes, or null.
pub fn id_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => id(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Any text, escaped and in quotes.
pub fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text written into memory cannot fail");
}

/// A displayed value that needs no escape, in quotes.
pub fn shown(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "\"{value}\"").expect("writing into memory cannot fail");
}

/// A whole number.
pub fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A time, in quotes, or null.
pub fn time_or_null(out: &mut Vec<u8>, at: Option<UnixMs>) {
    match at {
        Some(at) => shown(out, at),
        None => out.extend_from_slice(b"null"),
    }
}

/// `{"value":1999,"currency":"USD"}`.
pub fn money(out: &mut Vec<u8>, minor_units: i64, currency: Currency) {
    out.extend_from_slice(b"{\"value\":");
    number(out, minor_units);
    out.extend_from_slice(b",\"currency\":");
    id(out, currency.as_str());
    out.push(b'}');
}

/// `"unit_price":…,"discount":…,"amount":…`.
pub fn quote(out: &mut Vec<u8>, quote: &Quote) {
    out.extend_from_slice(b"\"unit_price\":");
    money(out, quote.unit_price.get(), quote.currency);
    out.extend_from_slice(b",\"discount\":");
    money(out, quote.discount.get(), quote.currency);
    out.extend_from_slice(b",\"amount\":");
    money(out, quote.amount.get(), quote.currency);
}
