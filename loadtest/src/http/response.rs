//! Reads the head of an HTTP/1.1 answer out of a buffer.
//!
//! 1. `parse` never reads past the buffer and never claims an answer that is not there whole.
//! 2. A length beyond the named limits is refused before anything waits for it.
//! 3. Only `Content-Length` framing is known (and the bodiless 204 and 304); anything else is an error, never a guess.
//!
//! It keeps only what the generator looks at: status, length, whether it is a replay, whether the server will close.

/// Longest head, bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 << 10;
/// Longest body, bytes: far above any answer of the contract.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;

/// What the head of a whole answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// HTTP status.
    pub(crate) status: u16,
    /// Bytes up to and with the empty line.
    pub(crate) body_at: usize,
    /// Bytes of the body.
    pub(crate) body_len: usize,
    /// `Idempotent-Replayed: true` was there.
    pub(crate) replayed: bool,
    /// `Connection: close` was there.
    pub(crate) close: bool,
}

impl Head {
    /// Bytes of the whole answer.
    pub(crate) fn len(&self) -> usize {
        self.body_at + self.body_len
    }
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadResponse {
    /// The first line is no status line.
    #[error("it does not begin with an HTTP/1.1 status line")]
    NotHttp,
    /// No empty line within `HEAD_BYTES_MAX`.
    #[error("its head is longer than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// Neither a length nor a bodiless status.
    #[error("it states no Content-Length")]
    NoLength,
    /// The length is no number.
    #[error("its Content-Length is not a number")]
    BadLength,
    /// The length is beyond `BODY_BYTES_MAX`.
    #[error("its body is longer than {BODY_BYTES_MAX} bytes")]
    BodyTooLong,
    /// The connection ended inside an answer, or before it.
    #[error("the connection was closed before it was whole")]
    Cut,
}

/// The head of the answer at the start of `buf`, once head and body are whole; `None` while bytes are missing.
pub(crate) fn parse(buf: &[u8]) -> Result<Option<Head>, BadResponse> {
    let Some(head_len) = head_len(buf)? else {
        return Ok(None);
    };
    let status = status(&buf[..head_len])?;
    let mut head = Head {
        status,
        body_at: head_len,
        body_len: 0,
        replayed: false,
        close: false,
    };
    let mut length = matches!(status, 204 | 304).then_some(0);
    let mut rest = &buf[..head_len];
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // The length of the name tells the three apart, so most headers cost one comparison.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                head.close = value.eq_ignore_ascii_case(b"close");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                length = Some(number(value)?);
            }
            19 if name.eq_ignore_ascii_case(b"idempotent-replayed") => {
                head.replayed = value.eq_ignore_ascii_case(b"true");
            }
            _ => {}
        }
    }
    head.body_len = length.ok_or(BadResponse::NoLength)?;
    if head.body_len > BODY_BYTES_MAX {
        return Err(BadResponse::BodyTooLong);
    }
    Ok((buf.len() >= head.len()).then_some(head))
}

/// The `reason` of a problem body, without building a JSON tree: the generator asks it of every refusal.
pub(crate) fn reason(body: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"reason\"";
    let at = memchr::memmem::find(body, NAME)?;
    let rest = body[at + NAME.len()..].trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"")?;
    let end = rest.iter().position(|b| *b == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

fn head_len(buf: &[u8]) -> Result<Option<usize>, BadResponse> {
    let window = &buf[..buf.len().min(HEAD_BYTES_MAX)];
    if let Some(at) = memchr::memmem::find(window, b"\r\n\r\n") {
        return Ok(Some(at + 4));
    }
    if buf.len() >= HEAD_BYTES_MAX {
        return Err(BadResponse::HeadTooLong);
    }
    Ok(None)
}

fn status(head: &[u8]) -> Result<u16, BadResponse> {
    let digits = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .ok_or(BadResponse::NotHttp)?;
    let status = number(digits).map_err(|_| BadResponse::NotHttp)?;
    // 1xx is never asked for; taking it for the answer would shift every answer after it by one.
    u16::try_from(status)
        .ok()
        .filter(|s| (200..600).contains(s))
        .ok_or(BadResponse::NotHttp)
}

fn number(digits: &[u8]) -> Result<usize, BadResponse> {
    if digits.is_empty() || digits.len() > 15 {
        return Err(BadResponse::BadLength);
    }
    digits.iter().try_fold(0_usize, |sum, d| match d {
        b'0'..=b'9' => Ok(sum * 10 + usize::from(d - b'0')),
        _ => Err(BadResponse::BadLength),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\nContent-Length: 22\r\n\
        idempotent-replayed: true\r\n\r\n{\"reason\": \"sold_out\"}";

    #[test]
    fn a_whole_answer_is_read_and_every_part_of_it_waits() {
        let head = parse(ANSWER).unwrap().unwrap();
        assert_eq!((head.status, head.body_len), (409, 22));
        assert_eq!(head.len(), ANSWER.len());
        assert!(head.replayed && !head.close);
        for cut in 0..ANSWER.len() {
            assert_eq!(parse(&ANSWER[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn the_answer_behind_is_left_alone() {
        let two = [ANSWER, ANSWER].concat();
        assert_eq!(parse(&two).unwrap().unwrap().len(), ANSWER.len());
    }

    #[test]
    fn a_bodiless_answer_and_a_closing_one() {
        let head = parse(b"HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n");
        let head = head.unwrap().unwrap();
        assert_eq!((head.status, head.body_len, head.close), (204, 0, true));
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        let check = |answer: &[u8], expect| assert_eq!(parse(answer), Err(expect));
        check(b"SSH-2.0\r\n\r\n", BadResponse::NotHttp);
        check(b"HTTP/1.1 100 Continue\r\n\r\n", BadResponse::NotHttp);
        check(b"HTTP/1.1 200 OK\r\n\r\n", BadResponse::NoLength);
        check(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            BadResponse::NoLength,
        );
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n\r\n",
            BadResponse::BadLength,
        );
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
            BadResponse::BadLength,
        );
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
            BadResponse::BodyTooLong,
        );
        check(&[b'x'; HEAD_BYTES_MAX], BadResponse::HeadTooLong);
    }

    #[test]
    fn the_reason_is_found_however_it_is_spaced() {
        assert_eq!(
            reason(b"{\"reason\":\"sold_out\",\"x\":1}"),
            Some("sold_out")
        );
        assert_eq!(
            reason(b"{\"a\":1, \"reason\" : \"rate_limited\"}"),
            Some("rate_limited")
        );
        assert_eq!(reason(b"{\"reason\":null}"), None);
        assert_eq!(reason(b"{\"reason\":\"cut"), None);
        assert_eq!(reason(b""), None);
    }
}
