//! `loadtest drop`: a whole drop from outside, and a verdict on it.
//!
//! 1. Many buyers hold, release, buy, abandon and retry at the same time (`buyers`), while a poller
//!    reads the stock.
//! 2. Every check uses only what any client could see (`checks`), never internal state of the
//!    server.
//! 3. A violation is printed where it is found, and the program exits with 1.
//!
//! The run must have its own product: the sum of its purchases is compared with the units sold.

mod buyers;
mod checks;
mod verdict;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::admin::{Offer, put_product};
use crate::cli::DropArgs;
use crate::drive::run_number;
use crate::error::Fault;
use crate::http::Target;
use crate::http::client::Client;

pub(crate) use verdict::{Check, Verdict};

/// One drop under test.
#[derive(Debug, Clone)]
pub(crate) struct Drop {
    /// Server under test.
    pub(crate) target: Target,
    /// Key of role shop.
    pub(crate) key: String,
    /// The run's own product.
    pub(crate) product: String,
    /// Units on sale.
    pub(crate) stock: u32,
    /// Units a buyer may have.
    pub(crate) per_user_limit: u32,
    /// Life of a hold, seconds.
    pub(crate) hold_ttl_s: u32,
    /// Wait for what is pending or overdue.
    pub(crate) settle: Duration,
    /// Number of buyers.
    pub(crate) buyers: u32,
    /// Of which at work at the same time.
    pub(crate) connections: u16,
    /// Card that works; `{buyer}` stands for the buyer's own name.
    pub(crate) card: String,
    /// Card that the gateway declines, likewise.
    pub(crate) declined_card: String,
    /// Seed of all choices.
    pub(crate) seed: u64,
    /// Makes buyers and idempotency keys unlike those of another run.
    pub(crate) run: u32,
}

/// Runs `drop` as asked on the command line.
pub(crate) fn command(args: &DropArgs) -> Result<(), Fault> {
    let run = run_number();
    let drop = Drop {
        target: Target::parse(&args.url)?,
        key: args.key.clone(),
        product: args
            .product
            .clone()
            .unwrap_or_else(|| format!("drop-{run:08x}")),
        stock: args.stock,
        per_user_limit: args.per_user_limit,
        hold_ttl_s: args.hold_ttl,
        settle: Duration::from_secs(args.settle.into()),
        buyers: args.buyers,
        connections: args.connections,
        card: args.card.clone(),
        declined_card: args.declined_card.clone(),
        seed: args.seed.unwrap_or(u64::from(run)),
        run,
    };
    let mut admin = Client::new(&drop.target, &args.admin_key);
    let offer = Offer {
        stock: drop.stock,
        per_user_limit: drop.per_user_limit,
        hold_ttl_s: Some(drop.hold_ttl_s),
    };
    put_product(&mut admin, &drop.product, offer)?;
    eprintln!(
        "drop {} of {} units, {} buyers, {} at a time, seed {}",
        drop.product, drop.stock, drop.buyers, drop.connections, drop.seed
    );
    let verdict = run_drop(&drop);
    println!("{}", verdict.table());
    match verdict.violations() {
        0 => Ok(()),
        count => Err(Fault::Violations { count }),
    }
}

fn run_drop(drop: &Drop) -> Verdict {
    let over = AtomicBool::new(false);
    let verdict = Verdict::default();
    let bought = std::thread::scope(|scope| {
        let poller = scope.spawn(|| checks::poll_stock(drop, &over, &verdict));
        let bought = buyers::run(drop, &verdict);
        over.store(true, Ordering::Relaxed);
        // A panic is a bug of the harness: let it through with its own message.
        poller
            .join()
            .unwrap_or_else(|bug| std::panic::resume_unwind(bug));
        bought
    });
    checks::after(drop, bought, &verdict);
    verdict
}
