//! Baselines in a running journal: what was sold elsewhere counts at once, within the bounds, and
//! the state after a restart is the state before, from the log as from a snapshot.

use crate::golden::events;
use holdfast::engine::event::PromotionSet;
use holdfast::ids::{Digest16, Lsn, ProductId, PromotionCode, UserId};
use holdfast::journal::{ImportTarget, Imported, Journal, JournalOptions, NotImported, WriteError};
use holdfast::time::UnixMs;
use std::path::Path;
use std::sync::Arc;

fn open(dir: &Path) -> Arc<Journal> {
    Journal::open(JournalOptions::new(dir), &mut |_| {}).expect("it opens")
}

/// A journal with 100 units of a product and a promotion of 10 uses.
fn begun(dir: &Path) -> Arc<Journal> {
    let journal = open(dir);
    let mut product = events::product_set();
    product.stock = 100;
    journal
        .catalogue()
        .put_product(product)
        .expect("it is written");
    let promotion = PromotionSet {
        uses_max: 10,
        ..events::promotion_set()
    };
    journal
        .catalogue()
        .put_promotion(promotion)
        .expect("it is written");
    journal
}

fn levels(journal: &Journal) -> (u32, u32) {
    let (product, _) = journal
        .reads()
        .product(&events::product())
        .expect("it is set");
    let (promotion, _) = journal
        .reads()
        .promotion(&events::promotion())
        .expect("it is set");
    (product.sold, promotion.uses)
}

fn stands(result: &Result<Imported, WriteError<NotImported>>) -> bool {
    matches!(result, Ok(Imported::Stands(_)))
}

#[test]
fn baselines_count_at_once_and_after_a_restart_whichever_way_it_recovers() {
    let dir = tempfile::tempdir().expect("a directory");
    let (product, code, user) = (events::product(), events::promotion(), events::user());
    let other = UserId::parse("bo").expect("an id");
    let key = Digest16([9; 16]);
    let nonces = ["n-1".to_owned(), "n-2".to_owned(), "n-1".to_owned()];

    let journal = begun(dir.path());
    assert!(stands(&journal.takeover().sold(&product, 60)));
    assert!(stands(&journal.takeover().uses(&code, 7)));
    assert!(stands(&journal.takeover().holdings(&user, &product, 3)));
    assert!(stands(&journal.takeover().holdings(&other, &product, 1)));
    assert!(stands(&journal.takeover().key(&user, key)));
    let (fresh, _) = journal.takeover().nonces(&nonces).expect("it is written");
    assert_eq!(fresh, 2);
    assert_eq!(levels(&journal), (60, 7));

    // It says how much there is: less is less, the same is nothing.
    assert!(stands(&journal.takeover().sold(&product, 55)));
    assert!(stands(&journal.takeover().uses(&code, 5)));
    assert!(stands(&journal.takeover().holdings(&user, &product, 2)));
    assert!(stands(&journal.takeover().holdings(&other, &product, 0)));
    for again in [
        journal.takeover().sold(&product, 55),
        journal.takeover().uses(&code, 5),
        journal.takeover().holdings(&user, &product, 2),
        journal.takeover().key(&user, key),
    ] {
        assert_eq!(again.expect("it is there"), Imported::There);
    }
    assert_eq!(
        journal.takeover().nonces(&nonces).expect("they are there"),
        (0, None)
    );
    let committed = |journal: &Journal| {
        let (buyer, _) = journal.reads().buyer(&events::user()).expect("it is known");
        buyer.committed
    };
    assert_eq!(committed(&journal), [(product.clone(), 2)]);
    let (digest, now) = (journal.upkeep().digest(), levels(&journal));
    assert_eq!(now, (55, 5));
    close(journal);

    let journal = open(dir.path());
    let from_log = (
        journal.upkeep().digest(),
        levels(&journal),
        committed(&journal),
    );
    assert_eq!(from_log, (digest.clone(), now, vec![(product.clone(), 2)]));
    journal.upkeep().snapshot().expect("a snapshot");
    close(journal);

    let journal = open(dir.path());
    assert!(journal.opened().snapshot.is_some());
    let from_snapshot = (
        journal.upkeep().digest(),
        levels(&journal),
        committed(&journal),
    );
    assert_eq!(from_snapshot, from_log);
    assert_eq!(
        journal.takeover().nonces(&nonces).expect("they are there"),
        (0, None)
    );
    close(journal);

    let standing = ImportTarget::read(dir.path(), &JournalOptions::new(dir.path()).engine);
    let standing = standing.expect("it reads");
    let (stock, imported) = standing.product(&product).expect("it is set");
    assert_eq!((stock.total, stock.sold, imported), (100, 55, 55));
    let (promotion, imported) = standing.promotion(&code).expect("it is set");
    assert_eq!((promotion.max, promotion.uses, imported), (10, 5, 5));
    assert_eq!(standing.holdings(&user, &product), 2);
    assert_eq!(standing.holdings(&other, &product), 0);
    assert!(standing.knows_key(&user, key) && !standing.knows_key(&other, key));
    let at = UnixMs::new(1_800_000_000_000);
    assert_eq!(standing.unknown_nonces(&["n-3".to_owned()], at), Some(1));
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = begun(dir.path());
    let (digest, end) = (journal.upkeep().digest(), journal.tail().durable_lsn());
    let (product, code, user) = (events::product(), events::promotion(), events::user());
    let unknown = ProductId::parse("never-set").expect("an id");
    let unknown_code = PromotionCode::parse("NEVER-SET").expect("an id");
    let refused = [
        (
            journal.takeover().sold(&product, 101),
            NotImported::BeyondTotal,
        ),
        (journal.takeover().sold(&unknown, 1), NotImported::Unknown),
        (journal.takeover().uses(&code, 11), NotImported::BeyondTotal),
        (
            journal.takeover().uses(&unknown_code, 1),
            NotImported::Unknown,
        ),
        (
            journal.takeover().holdings(&user, &unknown, 1),
            NotImported::Unknown,
        ),
        (
            journal.takeover().holdings(&user, &product, u32::MAX),
            NotImported::BeyondTotal,
        ),
    ];
    for (place, (result, why)) in refused.into_iter().enumerate() {
        let error = result.expect_err("it does not fit");
        assert_eq!(error.refusal().expect("a disk"), why, "number {place}");
    }
    assert_eq!(journal.upkeep().digest(), digest);
    assert!(journal.tail().durable_lsn() >= end && end > Lsn(0));
    assert_eq!(levels(&journal), (0, 0));
    close(journal);
}

fn close(journal: Arc<Journal>) {
    journal.close();
    drop(journal);
}
