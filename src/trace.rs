//! Owns the W3C trace context: whose trace the work of this thread belongs to right now, its text
//! (`traceparent`), and its bytes in the log.
//!
//! Invariants:
//! 1. A context is valid: ids are not zero. Text that is not exactly right is no context; it is never
//!    an error.
//! 2. The current context is set while a [`Scoped`] future is polled, and by nothing else. Work that
//!    is handed to another task carries it by [`carry`].
//! 3. Without a context everything here is one read of a thread-local value.
//!
//! Deliberately absent: spans, their export and who is sampled, which `telemetry` owns. No decision
//! about a purchase reads a trace.

use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes of a context in the log: trace id, span id, flags.
pub const TRACE_BYTES: usize = 25;
/// Bytes of `traceparent` in version 00.
const TEXT_BYTES: usize = 55;
/// Bytes of `tracestate` that are passed on. The standard asks for at least this many.
const STATE_BYTES_MAX: usize = 512;
/// Members of `tracestate` that the standard allows.
const STATE_MEMBERS_MAX: usize = 32;

/// The flags that the standard knows; others are dropped, as it asks for.
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A place in a trace.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Whether the spans of a trace are recorded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SampledFlag {
    Yes,
    No,
}

impl TraceContext {
    /// A context of these ids; `None` if one of them is zero.
    pub fn new(trace: [u8; 16], span: [u8; 8], sampled: SampledFlag) -> Option<Self> {
        let flags = match sampled {
            SampledFlag::Yes => SAMPLED,
            SampledFlag::No => 0,
        };
        Self { trace, span, flags }.valid()
    }

    /// The context in the text of a `traceparent` header.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(TEXT_BYTES)?;
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let version = hex::<1>(&known[..2])?[0];
        // Later versions may append fields behind a dash; 00 has none, and ff is no version.
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        if !dashes || !ends {
            return None;
        }
        let context = Self {
            trace: hex(&known[3..35])?,
            span: hex(&known[36..52])?,
            flags: hex::<1>(&known[53..])?[0] & (SAMPLED | RANDOM),
        };
        context.valid()
    }

    /// The context in the bytes of a record.
    pub fn from_bytes(bytes: &[u8; TRACE_BYTES]) -> Option<Self> {
        let (trace, rest) = bytes.split_first_chunk()?;
        let (span, rest) = rest.split_first_chunk()?;
        let &[flags] = rest else { return None };
        let context = Self {
            trace: *trace,
            span: *span,
            flags,
        };
        (flags & !(SAMPLED | RANDOM) == 0)
            .then_some(context)?
            .valid()
    }

    pub fn to_bytes(self) -> [u8; TRACE_BYTES] {
        let mut bytes = [0; TRACE_BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..24].copy_from_slice(&self.span);
        bytes[24] = self.flags;
        bytes
    }

    fn valid(self) -> Option<Self> {
        (self.trace != [0; 16] && self.span != [0; 8]).then_some(self)
    }

    pub fn trace(self) -> [u8; 16] {
        self.trace
    }

    pub fn span(self) -> [u8; 8] {
        self.span
    }

    pub fn sampled(self) -> SampledFlag {
        if self.flags & SAMPLED == 0 {
            SampledFlag::No
        } else {
            SampledFlag::Yes
        }
    }

    /// The trace's id as hexadecimal digits, as log lines and exemplars show it.
    pub fn trace_id(self) -> String {
        hex::encode(self.trace)
    }

    /// The same trace at another span.
    #[must_use]
    pub fn at(self, span: [u8; 8], sampled: SampledFlag) -> Self {
        let flags = match sampled {
            SampledFlag::Yes => self.flags | SAMPLED,
            SampledFlag::No => self.flags & !SAMPLED,
        };
        // A span id of zero is none; the caller's stays.
        let span = if span == [0; 8] { self.span } else { span };
        Self {
            span,
            flags,
            ..self
        }
    }
}

/// As a `traceparent` header has it, in version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (hex::encode(self.trace), hex::encode(self.span));
        write!(out, "00-{trace}-{span}-{:02x}", self.flags)
    }
}

/// Lower-case hexadecimal digits; the standard takes no others.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// What other vendors keep of a trace (`tracestate`): passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// The state in the values of the `tracestate` headers, in their order; `None` if there is none,
    /// or if it is malformed or longer than is passed on.
    pub fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut state = String::new();
        for value in values {
            let text = std::str::from_utf8(value).ok()?;
            for member in text.split(',').map(|it| it.trim_matches([' ', '\t'])) {
                // An empty member is allowed and says nothing.
                if member.is_empty() {
                    continue;
                }
                if !is_member(member) || state.len() + member.len() >= STATE_BYTES_MAX {
                    return None;
                }
                if !state.is_empty() {
                    state.push(',');
                }
                state.push_str(member);
            }
        }
        let members = state.split(',').count();
        (!state.is_empty() && members <= STATE_MEMBERS_MAX).then(|| Self(state.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let in_key =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins = key.bytes().next();
    let begins = begins.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let in_value = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    begins
        && key.len() <= 256
        && key.bytes().all(in_key)
        && (1..=256).contains(&value.len())
        && value.bytes().all(in_value)
}

/// Whether the span at which a context is is recorded by this process.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recording {
    Yes,
    /// It is the caller's span, passed on.
    No,
}

/// The trace that work belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestTrace {
    pub context: TraceContext,
    pub state: Option<TraceState>,
    pub recording: Recording,
}

impl From<TraceContext> for RequestTrace {
    fn from(context: TraceContext) -> Self {
        Self {
            context,
            state: None,
            recording: Recording::No,
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<RequestTrace>> = const { RefCell::new(None) };
}

/// The context that the work of this thread belongs to right now.
pub fn current() -> Option<TraceContext> {
    CURRENT.with_borrow(|current| current.as_ref().map(|it| it.context))
}

/// The same with its state.
pub fn current_trace() -> Option<RequestTrace> {
    CURRENT.with_borrow(Option::clone)
}

/// The current trace, if its span is recorded by this process.
pub fn recorded() -> Option<RequestTrace> {
    let is_recorded = |it: &&RequestTrace| it.recording == Recording::Yes;
    CURRENT.with_borrow(|current| current.as_ref().filter(is_recorded).cloned())
}

/// Does `work` that is nobody's request.
pub fn without<T>(work: impl FnOnce() -> T) -> T {
    let _entered = CurrentGuard::set(None);
    work()
}

/// Does `work` in `trace`, if there is one.
pub fn within<T>(trace: Option<&RequestTrace>, work: impl FnOnce() -> T) -> T {
    let _entered = trace.map(|it| CurrentGuard::set(Some(it.clone())));
    work()
}

/// The future in the trace of the caller, wherever it is polled.
pub fn carry<F: Future>(work: F) -> Scoped<F> {
    Scoped::new(current_trace(), work)
}

/// Work for another thread, in the trace of the caller.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let trace = current_trace();
    move || {
        let _entered = CurrentGuard::set(trace);
        work()
    }
}

pin_project! {
    /// A future that belongs to a trace.
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is polled"]
    pub struct Scoped<F> {
        trace: Option<RequestTrace>,
        #[pin]
        work: F,
    }
}

impl<F: Future> Scoped<F> {
    pub fn new(trace: Option<RequestTrace>, work: F) -> Self {
        Self { trace, work }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        within(this.trace.as_ref(), || this.work.poll(context))
    }
}

/// Puts back what was current before, also where the work panics.
struct CurrentGuard(Option<RequestTrace>);

impl CurrentGuard {
    fn set(trace: Option<RequestTrace>) -> Self {
        Self(CURRENT.replace(trace))
    }
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn parsed(text: &str) -> Option<String> {
        TraceContext::parse(text.as_bytes()).map(|it| it.to_string())
    }

    #[test]
    fn only_exact_text_is_a_context() {
        for (text, taken) in [
            (format!("00-{IDS}-01"), Some(format!("00-{IDS}-01"))),
            (format!("00-{IDS}-00"), Some(format!("00-{IDS}-00"))),
            // Level 2's flag for random ids stays; flags that nobody knows are dropped.
            (format!("00-{IDS}-03"), Some(format!("00-{IDS}-03"))),
            (format!("00-{IDS}-fe"), Some(format!("00-{IDS}-02"))),
            // A later version is read as far as it is known.
            (format!("01-{IDS}-01"), Some(format!("00-{IDS}-01"))),
            (format!("cc-{IDS}-01-more"), Some(format!("00-{IDS}-01"))),
            (format!("cc-{IDS}-01more"), None),
            (format!("00-{IDS}-01-more"), None),
            (format!("00-{IDS}-01-"), None),
            (format!("ff-{IDS}-01"), None),
            (format!("00-{IDS}-1"), None),
            (format!("00-{IDS}-0g"), None),
            (format!("00-{IDS}_01"), None),
            (format!(" 00-{IDS}-01"), None),
            (format!("00-{IDS}-01 "), None),
            (format!("0-{IDS}-01"), None),
            (format!("00-{}-01", IDS.to_uppercase()), None),
            (format!("00-{}-{}-01", "0".repeat(32), "1".repeat(16)), None),
            (format!("00-{}-{}-01", "1".repeat(32), "0".repeat(16)), None),
            (format!("00-{}-{}-01", "é".repeat(16), "1".repeat(16)), None),
            (String::new(), None),
            ("0".repeat(55), None),
            ("-".repeat(10_000), None),
        ] {
            assert_eq!(parsed(&text), taken, "{text}");
        }
    }

    #[test]
    fn a_state_is_passed_on_or_dropped_as_a_whole() {
        let state = |values: &[&str]| {
            let values = values.iter().map(|it| it.as_bytes());
            TraceState::parse(values).map(|it| it.as_str().to_owned())
        };
        let kept = Some("rojo=00f067,congo=t61".to_owned());
        assert_eq!(state(&["rojo=00f067,congo=t61"]), kept);
        assert_eq!(state(&["rojo=00f067 ,\t", "congo=t61"]), kept);
        assert_eq!(
            state(&["1a@b/c*d-e_f=x y"]),
            Some("1a@b/c*d-e_f=x y".into())
        );
        let long = format!("a={}", "b".repeat(256));
        assert_eq!(state(&[&long]), Some(long.clone()));
        let many: Vec<_> = (0..33).map(|it| format!("k{it}=v")).collect();
        let many = many.join(",");
        for wrong in [
            "",
            ",",
            "a",
            "a=",
            "=b",
            "A=b",
            "a=b=c",
            "a=\u{e9}",
            "_a=b",
            "a=b\r",
            &many,
            &format!("{long}b"),
            &format!("{long},{long}"),
        ] {
            assert_eq!(state(&[wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_of_a_record_are_the_same_context_again() {
        let context = TraceContext::parse(format!("00-{IDS}-03").as_bytes()).unwrap();
        let bytes = context.to_bytes();
        assert_eq!(TraceContext::from_bytes(&bytes), Some(context));
        let mut flags = bytes;
        flags[24] = 4;
        assert_eq!(TraceContext::from_bytes(&flags), None);
        assert_eq!(TraceContext::from_bytes(&[0; TRACE_BYTES]), None);
    }
}
