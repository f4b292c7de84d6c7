//! What the benches share: a journal with one hot product, and holds for it.

#![allow(
    dead_code,
    reason = "each bench is a crate of its own and uses a part of this"
)]

pub mod sale;

/// The program's own: with another one, threads would wait for each other where they do not there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use holdfast::engine::command::PlaceHold;
use holdfast::engine::event::{Active, AdminAct, IdempotencyKey, Origin, ProductSet};
use holdfast::engine::metadata::Metadata;
use holdfast::ids::{Digest16, KeyOwner, Lsn, ProductId, RequestId, UserId};
use holdfast::journal::{Journal, JournalOptions};
use holdfast::money::{Currency, Price};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Units of the hot product: the most there can be.
pub const UNITS: u32 = 2_097_151;

/// A journal in a directory of its own, with the default settings.
pub struct Bench {
    /// The journal.
    pub journal: Arc<Journal>,
    products: AtomicU64,
    directory: tempfile::TempDir,
}

impl Bench {
    /// Opens it in the working directory's file system, not in memory.
    pub fn open() -> Self {
        // As the program does.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
        let directory = tempfile::tempdir_in(".").expect("a temporary directory");
        let options = JournalOptions::new(directory.path());
        let journal = Journal::open(options, &mut |_| {}).expect("the directory opens");
        Self {
            journal,
            products: AtomicU64::new(0),
            directory,
        }
    }

    /// A product with all its units.
    pub fn fresh_product(&self) -> ProductId {
        let number = self.products.fetch_add(1, Ordering::Relaxed);
        let product = ProductId::parse(&format!("drop-{number}")).expect("an id");
        self.journal
            .catalogue()
            .put_product(hot_product(&product))
            .expect("it is written");
        product
    }

    /// The file of the snapshot that events from `lsn` on continue.
    pub fn snapshot_file(&self, lsn: Lsn) -> PathBuf {
        let name = format!("{:020}.snapshot", lsn.0);
        self.directory.path().join("snapshots").join(name)
    }
}

/// The terms of a product with all its units on sale.
pub fn hot_product(product: &ProductId) -> ProductSet {
    ProductSet {
        product: product.clone(),
        name: "hot".to_owned(),
        prices: vec![(
            Currency::parse("USD").expect("listed"),
            Price::new(1_999).expect("in range"),
        )],
        stock: UNITS,
        per_user_limit: Some(4),
        starts_at: None,
        ends_at: None,
        active: Active::Yes,
        hold_ttl_ms: None,
        reward_tokens: 0,
        by: AdminAct {
            request: RequestId(0),
            owner: KeyOwner::parse("admin").expect("an id"),
        },
    }
}

/// A hold of one unit by buyer `number`, under a key of its own.
pub fn hold(product: &ProductId, number: u64) -> PlaceHold {
    let mut scope = [0; 16];
    scope[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    scope[8..].copy_from_slice(&number.to_le_bytes());
    PlaceHold {
        origin: Origin {
            request: RequestId(number),
            owner: KeyOwner::parse("shop").expect("an id"),
            key: Some(IdempotencyKey {
                scope: Digest16(scope),
                fingerprint: Digest16(scope),
            }),
            ip: None,
            device: None,
        },
        user: UserId::parse(&format!("u{number}")).expect("an id"),
        product: product.clone(),
        quantity: 1,
        currency: None,
        promotion: None,
        metadata: Metadata::default(),
    }
}
