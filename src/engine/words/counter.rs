//! Owns which counters there are: what is counted, by what, how long a window may be, and how much of
//! each is always kept.
//!
//! Invariants: a counter's index, once given, is never given to another, because logs keep it; the
//! list is closed, so that memory and the language are bounded by it.
//! Deliberately absent: the counts (`shared::velocity`) and what follows from them.

use crate::engine::cells::DEPTH_MAX;

/// The shortest window, in milliseconds.
pub const WINDOW_MS_MIN: u64 = 10_000;
/// The longest window, in milliseconds: thirty days.
pub const WINDOW_MS_MAX: u64 = 30 * 86_400_000;
/// The largest number that a counter may be compared with.
pub const THRESHOLD_MAX: i64 = 1_000;
const _: () = assert!(THRESHOLD_MAX.unsigned_abs() < DEPTH_MAX as u64);

/// Instants that the attempts by card, address, device and product always keep.
pub const DEPTH_ALWAYS: u16 = 16;

/// What is counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Holds and buys, refused ones too.
    Attempt = 0,
    /// Captured payments.
    Purchase = 1,
    /// Payments that the card's issuer declined.
    Declined = 2,
    /// Distinct card tokens.
    Card = 3,
    /// Distinct buyers.
    User = 4,
    /// Holds that ran out unpaid.
    Expired = 5,
}

impl Counted {
    /// All, by number.
    pub const ALL: [Self; 6] = [
        Self::Attempt,
        Self::Purchase,
        Self::Declined,
        Self::Card,
        Self::User,
        Self::Expired,
    ];

    /// The language's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Purchase => "purchase",
            Self::Declined => "declined",
            Self::Card => "card_token",
            Self::User => "user",
            Self::Expired => "expired",
        }
    }

    /// Whether distinct values are counted rather than instants.
    pub const fn is_distinct(self) -> bool {
        matches!(self, Self::Card | Self::User)
    }
}

/// By what it is counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A buyer.
    User = 0,
    /// A card token.
    Card = 1,
    /// An address.
    Ip = 2,
    /// A device.
    Device = 3,
    /// A product.
    Product = 4,
}

impl By {
    /// All, by number.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Card,
        Self::Ip,
        Self::Device,
        Self::Product,
    ];

    /// The language's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Card => "card_token",
            Self::Ip => "ip",
            Self::Device => "device",
            Self::Product => "product",
        }
    }
}

/// One counter: what, by what.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    counted: Counted,
    by: By,
}

/// Places for counters; some stay empty.
pub const COUNTERS: usize = Counted::ALL.len() * By::ALL.len();

impl Counter {
    /// The counter of `counted` by `by`; `None` where there is none: distinct values are not
    /// counted by themselves nor by product.
    pub fn new(counted: Counted, by: By) -> Option<Self> {
        let there = match counted {
            Counted::Attempt | Counted::Purchase | Counted::Declined | Counted::Expired => true,
            Counted::Card => matches!(by, By::User | By::Ip | By::Device),
            Counted::User => matches!(by, By::Card | By::Ip | By::Device),
        };
        there.then_some(Self { counted, by })
    }

    /// The counter with this index.
    pub fn from_index(index: usize) -> Option<Self> {
        let counted = Counted::ALL.get(index / By::ALL.len())?;
        Self::new(*counted, By::ALL[index % By::ALL.len()])
    }

    /// Its stable number, below [`COUNTERS`].
    pub const fn index(self) -> usize {
        self.counted as usize * By::ALL.len() + self.by as usize
    }

    pub const fn counted(self) -> Counted {
        self.counted
    }

    /// By what.
    pub const fn by(self) -> By {
        self.by
    }

    /// The depth that is always stored, whatever the rules need.
    pub const fn depth_always(self) -> u16 {
        match (self.counted, self.by) {
            (Counted::Attempt, By::Card | By::Ip | By::Device | By::Product) => DEPTH_ALWAYS,
            _ => 0,
        }
    }

    /// Every counter there is.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNTERS).filter_map(Self::from_index)
    }
}

impl std::fmt::Display for Counter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let function = if self.counted.is_distinct() {
            "distinct"
        } else {
            "count"
        };
        let (counted, by) = (self.counted.as_str(), self.by.as_str());
        write!(out, "{function}({counted} by {by})")
    }
}

/// The depth of each counter, by its index.
pub type Depths = [u16; COUNTERS];

/// The depths if the log does not say more.
pub fn depths_always() -> Depths {
    let mut depths = [0; COUNTERS];
    for counter in Counter::all() {
        depths[counter.index()] = counter.depth_always();
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_lead_back_to_their_counters_and_never_move() {
        assert_eq!(Counter::all().count(), 26);
        for counter in Counter::all() {
            assert_eq!(Counter::from_index(counter.index()), Some(counter));
        }
        let place = |counted, by| Counter::new(counted, by).map(Counter::index);
        assert_eq!(place(Counted::Attempt, By::Product), Some(4));
        assert_eq!(place(Counted::Declined, By::Card), Some(11));
        assert_eq!(place(Counted::User, By::Device), Some(23));
        assert_eq!(place(Counted::Expired, By::User), Some(25));
        assert_eq!(place(Counted::Expired, By::Product), Some(29));
        assert_eq!(place(Counted::User, By::Product), None);
        assert_eq!(place(Counted::Card, By::Card), None);
    }
}
