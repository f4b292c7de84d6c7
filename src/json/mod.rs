//! Owns writing JSON by hand into a buffer: single values, and an [`Object`] field by field.
//!
//! Responses, receipts and events are written this way, because building a tree of values first
//! costs more than everything else that is done with them.
//!
//! Invariants: (1) a value whose function says "needs no escape" is written as it is; free text
//! goes through [`text`] or [`Object::text`]; (2) fields are written in the order of the calls.
//! Deliberately absent: reading JSON, which is serde's, and the shape of any document.

mod object;
mod value;

pub use object::Object;
pub use value::{
    digits, hex, id, id_or_null, instant, money, number, raw, request_id, shown, text,
};
