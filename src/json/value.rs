//! Owns writing single JSON values: numbers, ids, texts and money.
//!
//! Invariant: [`id`] and [`shown`] are only given text that needs no escape (the alphabet of ids,
//! words of this program, instants); free text goes through [`text`].

use crate::ids::{PurchaseId, RequestId};
use crate::money::Currency;
use crate::time::UnixMs;
use std::fmt::Display;
use std::io::Write as _;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `req_` and 16 hexadecimal digits, without quotes.
pub fn request_id(out: &mut Vec<u8>, request: RequestId) {
    out.extend_from_slice(b"req_");
    hex(out, &request.0.to_be_bytes());
}

/// A purchase's hexadecimal digits, without quotes: what follows `h_`, `p_` or `r_`.
pub fn digits(out: &mut Vec<u8>, purchase: PurchaseId) {
    out.extend_from_slice(&purchase.digits());
}

/// Two hexadecimal digits for each byte, without quotes.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
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
pub fn shown(out: &mut Vec<u8>, value: impl Display) {
    write!(out, "\"{value}\"").expect("writing into memory cannot fail");
}

/// An instant, in quotes: as [`shown`], without the formatter's cost.
pub fn instant(out: &mut Vec<u8>, at: UnixMs) {
    out.push(b'"');
    out.extend_from_slice(&at.text());
    out.push(b'"');
}

/// A purchase's id with its prefix (`h_`, `p_` or `r_`), in quotes.
pub fn purchase(out: &mut Vec<u8>, prefix: &str, purchase: PurchaseId) {
    out.push(b'"');
    out.extend_from_slice(prefix.as_bytes());
    digits(out, purchase);
    out.push(b'"');
}

/// A whole number.
pub fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `{"value":1999,"currency":"USD"}`.
pub fn money(out: &mut Vec<u8>, minor_units: i64, currency: Currency) {
    out.extend_from_slice(b"{\"value\":");
    number(out, minor_units);
    out.extend_from_slice(b",\"currency\":");
    id(out, currency.as_str());
    out.push(b'}');
}
