//! Which request comes next: flow, buyer, product, idempotency key.
//!
//! 1. Buyers are drawn evenly and at random out of `buyers`; the same seed draws the same buyers.
//! 2. In turn (the default) one product is hot until `UNITS_PER_PRODUCT` requests have asked for it, then the next one:
//!    a long run never meets the largest stock a product can have. Spread, every request asks for the next product.
//!
//! It knows nothing of connections or time.

use clap::ValueEnum;

use crate::http::Target;
use crate::http::request::{KeyParts, Template, Whence};

/// Requests for one product before the next becomes the hot one; below the largest stock, 2,097,151.
pub(crate) const UNITS_PER_PRODUCT: u64 = 2_000_000;
/// The card that the sandbox gateway always captures.
pub(crate) const CARD_OK: &str = "tok_ok";

/// What buyers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flow {
    /// `POST /limited/holds`, one unit
    Hold,
    /// `POST /limited/buy`, one unit: hold, authorize, capture in one call
    Buy,
    /// Of ten requests six holds, three buys, one read of the product
    Mixed,
}

/// What a workload is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What buyers do.
    pub(crate) flow: Flow,
    /// Key of role `shop`.
    pub(crate) key: String,
    /// Product ids, at least one.
    pub(crate) products: Vec<String>,
    /// Every request asks for the next product.
    pub(crate) spread: bool,
    /// Number of different buyers, at least one.
    pub(crate) buyers: u64,
    /// Whether a buy says where it comes from.
    pub(crate) whence: Whence,
    /// Currency of a buy.
    pub(crate) currency: String,
    /// Unlike in any other run against the same server.
    pub(crate) run: u32,
}

/// One thread's requests.
pub(crate) struct Workload {
    /// Per product: hold, buy, read.
    templates: Vec<[Template; 3]>,
    plan: Plan,
    thread: u8,
    threads: u64,
    sequence: u64,
    random: SplitMix,
}

impl Workload {
    /// The requests of thread `thread` out of `threads`.
    pub(crate) fn new(target: &Target, plan: &Plan, thread: u8, threads: u8) -> Self {
        let templates = plan.products.iter().map(|product| {
            [
                Template::hold(target, &plan.key, product),
                Template::buy(
                    target,
                    &plan.key,
                    product,
                    &plan.currency,
                    CARD_OK,
                    plan.whence,
                ),
                Template::product(target, &plan.key, product),
            ]
        });
        Self {
            templates: templates.collect(),
            plan: plan.clone(),
            thread,
            threads: u64::from(threads.max(1)),
            sequence: 0,
            random: SplitMix(u64::from(plan.run) << 8 | u64::from(thread)),
        }
    }

    /// Writes the next request into `out`.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) {
        let n = self.sequence;
        self.sequence += 1;
        let turn = if self.plan.spread {
            n * self.threads + u64::from(self.thread)
        } else {
            n * self.threads / UNITS_PER_PRODUCT
        };
        let of = self.templates.len();
        let product = usize::try_from(turn % of as u64).unwrap_or(0);
        let kind = match (self.plan.flow, n % 10) {
            (Flow::Hold, _) | (Flow::Mixed, 0..=5) => 0,
            (Flow::Buy, _) | (Flow::Mixed, 6..=8) => 1,
            (Flow::Mixed, _) => 2,
        };
        let user = self.random.next() % self.plan.buyers.max(1);
        let parts = KeyParts {
            run: self.plan.run,
            thread: self.thread,
            sequence: n,
        };
        self.templates[product][kind].render(user, parts, out);
    }
}

/// A small, fast, seedable generator (Steele, Lea, Flood 2014); good enough to draw buyers.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(flow: Flow, products: usize, spread: bool) -> Workload {
        let target = Target::parse("http://127.0.0.1:1").unwrap();
        let plan = Plan {
            flow,
            key: "k".into(),
            products: (0..products).map(|n| format!("p-{n}")).collect(),
            spread,
            buyers: 1_000,
            whence: Whence::Unsaid,
            currency: "USD".into(),
            run: 7,
        };
        Workload::new(&target, &plan, 0, 1)
    }

    fn requests(workload: &mut Workload, count: usize) -> Vec<String> {
        let mut out = Vec::new();
        let mut next = || {
            workload.next(&mut out);
            String::from_utf8(out.clone()).unwrap()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn mixed_is_six_three_one() {
        let all = requests(&mut workload(Flow::Mixed, 1, false), 100);
        let count = |start: &str| all.iter().filter(|r| r.starts_with(start)).count();
        assert_eq!(count("POST /limited/holds"), 60);
        assert_eq!(count("POST /limited/buy"), 30);
        assert_eq!(count("GET /limited/products/p-0"), 10);
    }

    #[test]
    fn spread_goes_round_and_in_turn_stays() {
        let spread = requests(&mut workload(Flow::Hold, 3, true), 4);
        assert!(spread[1].contains("\"p-1\"") && spread[3].contains("\"p-0\""));
        let in_turn = requests(&mut workload(Flow::Hold, 3, false), 4);
        assert!(in_turn.iter().all(|r| r.contains("\"p-0\"")));
    }
}
