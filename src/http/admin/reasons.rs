//! Owns the form of an operator's text: reasons of refunds and pauses, notes of decisions.

/// Maximum length of a reason.
const REASON_CHARS_MAX: usize = 500;

/// The form of a reason.
pub const REASON_FORM: &str = "must be a string of 1 to 500 characters without control characters";

/// A reason without control characters; `None` if it has another form.
pub fn plain_reason(text: &str) -> Option<String> {
    let fits = (1..=REASON_CHARS_MAX).contains(&text.chars().count());
    let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
    (fits && plain).then(|| text.to_owned())
}
