//! Owns the form of an operator's words for why: reasons of refunds and pauses, notes of decisions.

/// The longest.
const REASON_CHARS_MAX: usize = 500;

/// What an operator's words must be.
pub const REASON_FORM: &str = "must be a string of 1 to 500 characters without control characters";

/// An operator's words for why.
pub fn plain_reason(text: &str) -> Option<String> {
    let fits = (1..=REASON_CHARS_MAX).contains(&text.chars().count());
    let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
    (fits && plain).then(|| text.to_owned())
}
