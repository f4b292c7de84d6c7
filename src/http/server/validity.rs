//! Owns reading when an X.509 certificate expires.
//!
//! Invariants: whatever the bytes, reading ends and never panics; what is not understood is `None`.
//! Deliberately absent: every other field, and verifying; `rustls` has accepted the certificate.

use crate::time::UnixMs;

const SEQUENCE: u8 = 0x30;
/// The version, which old certificates lack.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last instant at which the certificate is valid.
pub(super) fn expires_at(certificate: &[u8]) -> Option<UnixMs> {
    let (_, certificate, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    instant(tag, std::str::from_utf8(text).ok()?)
}

/// The first element: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=3).contains(&count) {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        let length = digits
            .iter()
            .fold(0, |sum, it| (sum << 8) | usize::from(*it));
        (length, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// `YYMMDDHHMMSSZ`, where 50 is 1950 (RFC 5280), or `YYYYMMDDHHMMSSZ`.
fn instant(tag: u8, text: &str) -> Option<UnixMs> {
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let full = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "50" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let at = |from: usize, to: usize| full.get(from..to)?.parse::<i8>().ok();
    let year = full.get(..4)?.parse::<i16>().ok()?;
    let time = jiff::civil::DateTime::new(
        year,
        at(4, 6)?,
        at(6, 8)?,
        at(8, 10)?,
        at(10, 12)?,
        at(12, 14)?,
        0,
    );
    let zoned = time.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let ms = u64::try_from(zoned.timestamp().as_millisecond()).ok()?;
    Some(UnixMs::new(ms))
}

#[cfg(test)]
mod tests {
    use super::{GENERALIZED_TIME, UTC_TIME, expires_at, instant};

    #[test]
    fn both_forms_of_time_are_read_and_others_are_not() {
        let read = |tag, text| instant(tag, text).map(|it| it.get() / 1_000);
        assert_eq!(read(UTC_TIME, "300102030405Z"), Some(1_893_553_445));
        assert_eq!(read(UTC_TIME, "991231235959Z"), Some(946_684_799));
        assert_eq!(
            read(GENERALIZED_TIME, "20300102030405Z"),
            Some(1_893_553_445)
        );
        for text in [
            "",
            "Z",
            "3001020304Z",
            "300102030405",
            "301302030405Z",
            "3001020304é5Z",
        ] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(read(GENERALIZED_TIME, "300102030405Z"), None);
    }

    #[test]
    fn cut_certificates_have_no_expiry() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let whole = params.self_signed(&key).unwrap().der().to_vec();
        assert_eq!(
            expires_at(&whole).map(|it| it.get() / 1_000),
            Some(1_927_843_200)
        );
        for length in 0..whole.len() {
            assert_eq!(expires_at(&whole[..length]), None, "{length} bytes");
        }
    }
}
