//! Owns the binary `COPY` format: tuples as PostgreSQL reads them.
//!
//! Invariant: a tuple has as many fields as the list of columns of its table; this is asserted at
//! its end. Written by hand, because a driver's generic writer costs more than the row.

use crate::ids::Lsn;
use crate::time::UnixMs;

/// The start of a stream: signature, flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The end of a stream.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// Milliseconds from 1970 to 2000, PostgreSQL's epoch.
const EPOCH_MS: i64 = 946_684_800_000;

/// A tuple that is being written.
pub(super) struct Tuple<'b> {
    into: &'b mut Vec<u8>,
    left: usize,
}

impl<'b> Tuple<'b> {
    /// Appends a tuple of `fields` fields to `into`.
    pub(super) fn new(into: &'b mut Vec<u8>, fields: usize) -> Self {
        let count = i16::try_from(fields).expect("a table has few columns");
        into.extend_from_slice(&count.to_be_bytes());
        Self { into, left: fields }
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.parts(&[], bytes)
    }

    fn parts(&mut self, before: &[u8], bytes: &[u8]) -> &mut Self {
        self.left -= 1;
        let length = i32::try_from(before.len() + bytes.len())
            .expect("a field comes from one record, which is smaller than 2 GiB");
        self.into.extend_from_slice(&length.to_be_bytes());
        self.into.extend_from_slice(before);
        self.into.extend_from_slice(bytes);
        self
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.left -= 1;
        self.into.extend_from_slice(&(-1_i32).to_be_bytes());
        self
    }

    pub(super) fn bigint(&mut self, value: i64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub(super) fn bigint_or_null(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.bigint(value),
            None => self.null(),
        }
    }

    pub(super) fn integer_or_null(&mut self, value: Option<i32>) -> &mut Self {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    pub(super) fn smallint(&mut self, value: i16) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.field(value.as_bytes())
    }

    pub(super) fn text_or_null(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.field(value)
    }

    pub(super) fn bytes_or_null(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.field(value),
            None => self.null(),
        }
    }

    pub(super) fn json(&mut self, value: &[u8]) -> &mut Self {
        self.parts(&[1], value)
    }

    pub(super) fn instant(&mut self, value: UnixMs) -> &mut Self {
        let ms = i64::try_from(value.get()).unwrap_or(i64::MAX);
        let us = ms.saturating_sub(EPOCH_MS).saturating_mul(1_000);
        self.bigint(us)
    }

    pub(super) fn instant_or_null(&mut self, value: Option<UnixMs>) -> &mut Self {
        match value {
            Some(value) => self.instant(value),
            None => self.null(),
        }
    }

    pub(super) fn lsn(&mut self, value: Lsn) -> &mut Self {
        self.bigint(bigint(value))
    }

    pub(super) fn lsn_or_null(&mut self, value: Option<Lsn>) -> &mut Self {
        self.bigint_or_null(value.map(bigint))
    }
}

impl Drop for Tuple<'_> {
    fn drop(&mut self) {
        debug_assert_eq!(self.left, 0, "a tuple has as many fields as its table");
    }
}

/// An LSN as `bigint`: no log reaches 2⁶³ bytes.
pub(super) fn bigint(lsn: Lsn) -> i64 {
    i64::try_from(lsn.0).unwrap_or(i64::MAX)
}
