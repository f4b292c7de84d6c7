//! Owns the sandbox's card tokens: which text asks for which behaviour.
//!
//! Invariants: a token that the list does not name is declined, so that a misspelt one never
//! passes for a working card; the same token behaves the same after a restart, but for the counts
//! of `_N` ("the first N times"), which begin again.
//! Deliberately absent: card numbers; a token never is one (`ids::CardToken`).

/// Maximum delay of `tok_slow_MS`, in milliseconds.
pub const SLOW_MS_MAX: u32 = 60_000;

/// Maximum number of failures of a `_N` token.
pub const TIMES_MAX: u32 = 99;

/// Maximum length of the name of a named card.
const NAME_CHARS_MAX: usize = 32;

/// The behaviour of the sandbox for a card.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Everything works at once.
    Works,
    /// The issuer declines.
    DeclinedByIssuer(Why),
    /// Not a token of the sandbox: the gateway declines.
    NotAToken,
    /// The authorization takes effect at once and is answered after this many milliseconds.
    Slow(u32),
    /// The first calls of this kind fail in this way; then everything works.
    GoesWrong(Which, How, u32),
    /// The gateway will never capture.
    CaptureRefused,
    /// It captures half of the amount, rounded up, as a person on the gateway's site could.
    CapturesHalf,
    /// Every refund is refused.
    RefundRefused,
    /// Like `CaptureRefused`, and the first voids fail like this.
    VoidGoesWrong(How, u32),
    /// The authorization takes effect, its answer is unknown, and the first look-ups fail.
    LookUpDown(u32),
}

/// Which call fails.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The authorization.
    Authorize,
    /// The capture.
    Capture,
    /// A refund.
    Refund,
}

/// Why the issuer declines. The words are its codes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not say.
    Generic,
    /// There is not enough on it.
    InsufficientFunds,
    /// The card was stolen: its network forbids another try.
    StolenCard,
}

impl Why {
    /// The issuer's code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Generic => "generic_decline",
            Self::InsufficientFunds => "insufficient_funds",
            Self::StolenCard => "stolen_card",
        }
    }
}

/// How a call fails.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It takes effect; no answer arrives.
    Timeout,
    /// It takes no effect; no answer arrives.
    Lost,
    /// It takes effect, and its answer says that the outcome is unknown.
    Unknown,
    /// It has no effect, and its answer says to try again.
    Busy,
    /// It takes no effect: there is no connection.
    Unreachable,
    /// It takes no effect: our key is refused.
    KeyRefused,
}

impl How {
    /// Whether a call that fails like this takes effect nevertheless.
    pub const fn takes_effect(self) -> bool {
        match self {
            Self::Timeout | Self::Unknown => true,
            Self::Lost | Self::Busy | Self::Unreachable | Self::KeyRefused => false,
        }
    }
}

impl Behaviour {
    /// The behaviour for `token`.
    pub fn of(token: &str) -> Self {
        Self::listed(token).unwrap_or(Self::NotAToken)
    }

    fn listed(token: &str) -> Option<Self> {
        let rest = token.strip_prefix("tok_")?;
        Some(match rest {
            "ok" => Self::Works,
            "declined" => Self::DeclinedByIssuer(Why::Generic),
            "insufficient_funds" => Self::DeclinedByIssuer(Why::InsufficientFunds),
            "stolen" => Self::DeclinedByIssuer(Why::StolenCard),
            "capture_refused" => Self::CaptureRefused,
            "capture_half" => Self::CapturesHalf,
            "refund_refused" => Self::RefundRefused,
            // Without a count these always fail.
            "auth_lost" => Self::GoesWrong(Which::Authorize, How::Lost, u32::MAX),
            "auth_busy" => Self::GoesWrong(Which::Authorize, How::Busy, u32::MAX),
            "auth_unreachable" => Self::GoesWrong(Which::Authorize, How::Unreachable, u32::MAX),
            "auth_key_refused" => Self::GoesWrong(Which::Authorize, How::KeyRefused, u32::MAX),
            // These take effect, so they can only happen once.
            "auth_timeout" => Self::GoesWrong(Which::Authorize, How::Timeout, 1),
            "auth_unknown" => Self::GoesWrong(Which::Authorize, How::Unknown, 1),
            "capture_timeout" => Self::GoesWrong(Which::Capture, How::Timeout, 1),
            "capture_unknown" => Self::GoesWrong(Which::Capture, How::Unknown, 1),
            "refund_timeout" => Self::GoesWrong(Which::Refund, How::Timeout, 1),
            "refund_unknown" => Self::GoesWrong(Which::Refund, How::Unknown, 1),
            "void_timeout" => Self::VoidGoesWrong(How::Timeout, 1),
            "void_unknown" => Self::VoidGoesWrong(How::Unknown, 1),
            _ => Self::named(rest).or_else(|| Self::numbered(rest))?,
        })
    }

    /// A named card among those that behave alike, so that counters by card distinguish them.
    fn named(rest: &str) -> Option<Self> {
        let (word, name) = rest.split_once('_')?;
        let fits = (1..=NAME_CHARS_MAX).contains(&name.len());
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric());
        (fits && plain).then_some(())?;
        match word {
            "ok" => Some(Self::Works),
            "declined" => Some(Self::DeclinedByIssuer(Why::Generic)),
            _ => None,
        }
    }

    fn numbered(rest: &str) -> Option<Self> {
        let (word, digits) = rest.rsplit_once('_')?;
        let canonical = digits == "0" || !digits.starts_with('0');
        let number: u32 = (canonical && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()?;
        let times = || (1..=TIMES_MAX).contains(&number).then_some(number);
        Some(match word {
            "slow" if number <= SLOW_MS_MAX => Self::Slow(number),
            "auth_lost" => Self::GoesWrong(Which::Authorize, How::Lost, times()?),
            "auth_busy" => Self::GoesWrong(Which::Authorize, How::Busy, times()?),
            "auth_unreachable" => Self::GoesWrong(Which::Authorize, How::Unreachable, times()?),
            "auth_key_refused" => Self::GoesWrong(Which::Authorize, How::KeyRefused, times()?),
            "capture_lost" => Self::GoesWrong(Which::Capture, How::Lost, times()?),
            "capture_busy" => Self::GoesWrong(Which::Capture, How::Busy, times()?),
            "refund_lost" => Self::GoesWrong(Which::Refund, How::Lost, times()?),
            "refund_busy" => Self::GoesWrong(Which::Refund, How::Busy, times()?),
            "void_lost" => Self::VoidGoesWrong(How::Lost, times()?),
            "void_busy" => Self::VoidGoesWrong(How::Busy, times()?),
            "lookup_down" => Self::LookUpDown(times()?),
            _ => return None,
        })
    }

    /// How the `place`-th call (from 1) of this kind fails, if it does.
    pub fn wrong(self, which: Which, place: u32) -> Option<How> {
        match self {
            Self::GoesWrong(kind, how, times) if kind == which && place <= times => Some(how),
            Self::LookUpDown(_) if which == Which::Authorize && place == 1 => Some(How::Unknown),
            _ => None,
        }
    }

    /// How the `place`-th void (from 1) goes wrong, if it does.
    pub fn void_wrong(self, place: u32) -> Option<How> {
        match self {
            Self::VoidGoesWrong(how, times) if place <= times => Some(how),
            _ => None,
        }
    }

    /// Whether the `place`-th look-up (from 1) fails.
    pub fn look_up_fails(self, place: u32) -> bool {
        matches!(self, Self::LookUpDown(times) if place <= times)
    }

    /// Whether the gateway refuses permanently to capture.
    pub const fn refuses_capture(self) -> bool {
        matches!(self, Self::CaptureRefused | Self::VoidGoesWrong(..))
    }

    /// Whether calls must be counted, because the first ones differ from the later ones.
    pub const fn counts_calls(self) -> bool {
        matches!(
            self,
            Self::GoesWrong(..) | Self::VoidGoesWrong(..) | Self::LookUpDown(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_tokens_behave_as_listed_and_all_others_are_declined() {
        use Behaviour as B;
        let cases = [
            ("tok_ok", B::Works),
            ("tok_ok_ana1", B::Works),
            ("tok_ok_", B::NotAToken),
            ("tok_ok_a-b", B::NotAToken),
            ("tok_ok_0123456789012345678901234567890123", B::NotAToken),
            ("tok_declined", B::DeclinedByIssuer(Why::Generic)),
            ("tok_declined_bo", B::DeclinedByIssuer(Why::Generic)),
            ("tok_stolen_bo", B::NotAToken),
            (
                "tok_insufficient_funds",
                B::DeclinedByIssuer(Why::InsufficientFunds),
            ),
            ("tok_stolen", B::DeclinedByIssuer(Why::StolenCard)),
            (
                "tok_refund_busy_3",
                B::GoesWrong(Which::Refund, How::Busy, 3),
            ),
            ("tok_capture_half", B::CapturesHalf),
            ("tok_slow_0", B::Slow(0)),
            ("tok_slow_250", B::Slow(250)),
            ("tok_slow_60001", B::NotAToken),
            ("tok_slow_007", B::NotAToken),
            ("tok_slow_", B::NotAToken),
            (
                "tok_capture_lost_2",
                B::GoesWrong(Which::Capture, How::Lost, 2),
            ),
            ("tok_capture_lost", B::NotAToken),
            ("tok_capture_lost_0", B::NotAToken),
            ("tok_lookup_down_3", B::LookUpDown(3)),
            ("tok_lookup_down_100", B::NotAToken),
            ("tok_okay", B::NotAToken),
            ("pm_1N2x", B::NotAToken),
            ("", B::NotAToken),
        ];
        for (token, behaviour) in cases {
            assert_eq!(B::of(token), behaviour, "{token}");
        }
    }
}
