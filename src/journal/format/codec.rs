//! Owns the format of events in the log: their bytes, under the numbers and versions of the table in
//! `engine::event`.
//!
//! Invariants: a payload is the time (8 bytes, little-endian, milliseconds; the highest bit says
//! that the clock had not settled since the start, the next one that a trace context follows), the
//! trace context if there is one, and the archived event (`rkyv`, little-endian, unaligned),
//! validated as a whole before use; numbers are never reused (`tests/golden/` has one
//! payload of each). Until the tag 0.1.0 each kind has one version, which may change in place; from
//! then on every version that was written stays readable.
//! Deliberately absent: the record around it, which belongs to the log.

use crate::engine::event::{self, Event, event_table};
use crate::engine::stamp::Settled;
use crate::time::UnixMs;
use crate::trace::{TRACE_BYTES, TraceContext};
use rkyv::rancor;

/// Bytes before the archived event: its time.
const AT_BYTES: usize = 8;

/// This bit of the time is set if the clock had not settled. No time is that late.
const UNSETTLED: u64 = 1 << 63;
/// This bit of the time is set if a trace context follows it. No time is that late.
const TRACED: u64 = 1 << 62;
const _: () = assert!(UnixMs::MAX.get() < TRACED);

/// Marks in `payload` that the clock had not settled.
pub(in crate::journal) fn mark_unsettled(payload: &mut [u8]) {
    // Little-endian: the highest byte of the time is its last one.
    payload[AT_BYTES - 1] |= 0x80;
}

/// Whether the clock had settled when `payload`, which decodes, was made.
pub(in crate::journal) fn settled_of(payload: &[u8]) -> Settled {
    match payload.get(AT_BYTES - 1) {
        Some(byte) if byte & 0x80 != 0 => Settled::No,
        Some(_) | None => Settled::Yes,
    }
}

/// The trace context of `payload`, which decodes.
pub fn trace_of(payload: &[u8]) -> Option<TraceContext> {
    split(payload).ok()?.trace
}

/// A payload in its parts.
struct PayloadParts<'a> {
    at: UnixMs,
    trace: Option<TraceContext>,
    archived: &'a [u8],
}

fn split(payload: &[u8]) -> Result<PayloadParts<'_>, PayloadProblem> {
    let (at, rest) = payload
        .split_first_chunk::<AT_BYTES>()
        .ok_or(PayloadProblem::Short)?;
    let at = u64::from_le_bytes(*at);
    let (trace, archived) = if at & TRACED == 0 {
        (None, rest)
    } else {
        let (trace, archived) = rest
            .split_first_chunk::<TRACE_BYTES>()
            .ok_or(PayloadProblem::Short)?;
        let trace = TraceContext::from_bytes(trace).ok_or(PayloadProblem::Trace)?;
        (Some(trace), archived)
    };
    Ok(PayloadParts {
        at: UnixMs::new(at & !(UNSETTLED | TRACED)),
        trace,
        archived,
    })
}

/// The kind of a payload, as the log stores it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The number of the event's kind.
    pub number: u16,
    /// The version of the kind's format.
    pub version: u16,
}

/// A payload that is not a valid event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later program, or damaged.
    #[error(
        "kind {number} in version {version} is unknown to this program; use the program that wrote it"
    )]
    UnknownKind {
        /// The kind's number.
        number: u16,
        /// The shape's version.
        version: u16,
    },
    /// The bytes are not a valid event of the kind.
    #[error("the payload is not a valid event of kind {number}: {problem}")]
    Malformed {
        /// The kind's number.
        number: u16,
        problem: PayloadProblem,
    },
}

/// What is wrong with the bytes of a payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadProblem {
    #[error("shorter than its instant and trace context")]
    Short,
    #[error("its trace context is none")]
    Trace,
    #[error(transparent)]
    Archive(#[from] rancor::Error),
}

macro_rules! codec {
    ($(
        $(#[$about_group:meta])*
        $group:ident($of_group:ident) {
            $(
                $(#[$about:meta])*
                $number:literal $version:literal $word:literal $kind:ident $user:ident $owner:ident $step:ident;
            )*
        }
    )*) => {
        /// The kind of `event`, in the current version.
        pub fn kind_of(event: &Event) -> Kind {
            match event {
                $($(Event::$kind(_) => Kind { number: $number, version: $version },)*)*
            }
        }

        /// Appends the payload of `event` at `at`, which belongs to `trace`, to `into`.
        pub fn encode(event: &Event, at: UnixMs, trace: Option<TraceContext>, into: &mut Vec<u8>) {
            match trace {
                None => into.extend_from_slice(&at.get().to_le_bytes()),
                Some(trace) => {
                    into.extend_from_slice(&(at.get() | TRACED).to_le_bytes());
                    into.extend_from_slice(&trace.to_bytes());
                }
            }
            match event {
                $($(Event::$kind(shape) => archive(shape, into),)*)*
            }
        }

        /// The event in `payload`.
        pub fn decode(kind: Kind, payload: &[u8]) -> Result<(UnixMs, Event), DecodeError> {
            let Kind { number, version } = kind;
            let malformed = |problem| DecodeError::Malformed { number, problem };
            let PayloadParts { at, archived, .. } = split(payload).map_err(malformed)?;
            let event = match (number, version) {
                $($(($number, $version) => {
                    let shape = rkyv::from_bytes::<event::$kind, rancor::Error>(archived);
                    Event::$kind(shape.map_err(|problem| malformed(problem.into()))?)
                })*)*
                _ => return Err(DecodeError::UnknownKind { number, version }),
            };
            Ok((at, event))
        }
    };
}

event_table!(codec);

fn archive<T>(shape: &T, into: &mut Vec<u8>)
where
    T: for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<
                Vec<u8>,
                rkyv::ser::allocator::ArenaHandle<'a>,
                rancor::Error,
            >,
        >,
{
    let buffer = std::mem::take(into);
    *into = rkyv::api::high::to_bytes_in(shape, buffer)
        .expect("events hold no shared pointers and memory grows or aborts, so archiving succeeds");
}
