//! One run against scripted books: what changes while it looks is never reported, what differs is,
//! and every bound has its answer.

use holdfast::engine::lifecycle::PurchaseState;
use holdfast::engine::view::{PaymentOf, PaymentView, PaymentsPage, Standing};
use holdfast::ids::{CardToken, Lsn, PurchaseId, PurchaseTag, RequestId, ShardId};
use holdfast::journal::StorageFault;
use holdfast::money::{Amount, Currency};
use holdfast::payments::gateway::{
    Calling, ChargePage, Charged, Inquiry, PageMark, Reference, Trouble,
};
use holdfast::reconcile::books::Has;
use holdfast::reconcile::{
    DifferenceKind, OurBooks, ReconcileLimits, ReconcileProgress, ReconcileReport, RunOutcome,
    TheirBooks, reconcile,
};
use holdfast::time::UnixMs;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

const LOG: u64 = 0xab;
const PRICE: i64 = 2_500;

/// Both sides, with what happens to them between two looks.
#[derive(Default)]
struct Books {
    ours: BTreeMap<PurchaseId, PaymentView>,
    end: u64,
    pages: Vec<Vec<Charged>>,
    has: BTreeMap<PurchaseId, Has>,
    /// What happens once the gateway has been asked so often.
    script: Vec<(u32, BooksChange)>,
    asked: u32,
    fails: u32,
    circle: bool,
    window: Option<Duration>,
    /// What the latest page was asked for.
    since: Option<UnixMs>,
}

type BooksChange = Box<dyn FnOnce(&mut Books) + Send>;

struct Stage(Mutex<Books>);

fn purchase(number: u64) -> PurchaseId {
    PurchaseId::new(
        ShardId::new(u8::try_from(number % 3).unwrap()),
        number,
        PurchaseTag(0x5a17_c0de_5a17_c0de),
    )
}

fn reference(number: u64) -> Reference {
    Reference::new(LOG, purchase(number), RequestId(number))
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

fn charge(number: u64, captured: i64) -> Charged {
    Charged {
        reference: Some(reference(number)),
        gateway_id: format!("ch_{number}"),
        currency: usd(),
        authorized: Amount::ZERO,
        captured: amount(captured),
        refunded: Amount::ZERO,
    }
}

impl Books {
    fn set(&mut self, number: u64, state: PurchaseState, standing: Standing) {
        self.end += 100;
        let view = PaymentView {
            purchase: purchase(number),
            request: RequestId(number),
            which: PaymentOf::Purchase,
            state,
            standing,
            amount: amount(PRICE),
            refunded: Amount::ZERO,
            currency: usd(),
            card: CardToken::parse("tok_ok").unwrap(),
            started_at: UnixMs::new(1),
            authorization: None,
            last: Lsn(self.end - 100),
        };
        self.ours.insert(purchase(number), view);
    }

    fn captured(&mut self, number: u64) {
        let at = Standing::Captured(Lsn(self.end));
        self.set(number, PurchaseState::Captured, at);
    }

    fn ended(&mut self, number: u64) {
        self.set(number, PurchaseState::Declined, Standing::NothingTaken);
    }

    fn open(&mut self, number: u64) {
        self.set(number, PurchaseState::Capturing, Standing::Open);
    }

    fn refunded(&mut self, number: u64, minor_units: i64) {
        self.end += 100;
        let last = Lsn(self.end - 100);
        let view = self.ours.get_mut(&purchase(number)).unwrap();
        view.refunded = amount(minor_units);
        view.last = last;
    }

    fn charges(&mut self, charges: Vec<Charged>) {
        self.pages.push(charges);
    }

    fn after(&mut self, asked: u32, happening: impl FnOnce(&mut Self) + Send + 'static) {
        self.script.push((asked, Box::new(happening)));
    }

    fn answered(&mut self) -> Result<(), Trouble> {
        self.asked += 1;
        let asked = self.asked;
        let due: Vec<_> = self.script.extract_if(.., |it| it.0 == asked).collect();
        for (_, happening) in due {
            happening(self);
        }
        if self.fails > 0 {
            self.fails -= 1;
            return Err(Trouble::Busy);
        }
        Ok(())
    }
}

impl OurBooks for Stage {
    fn log_id(&self) -> u64 {
        LOG
    }

    fn now(&self) -> UnixMs {
        UnixMs::new(1_800_000_000_000)
    }

    fn end(&self) -> Lsn {
        Lsn(self.0.lock().unwrap().end)
    }

    fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        let books = self.0.lock().unwrap();
        books
            .ours
            .get(&id)
            .filter(|it| it.request == request)
            .cloned()
    }

    fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage {
        let books = self.0.lock().unwrap();
        let of_shard = books
            .ours
            .values()
            .filter(|it| it.purchase.shard() == shard);
        let mut rest = of_shard.filter(|it| it.purchase.sequence() >= from);
        PaymentsPage {
            payments: rest.by_ref().take(most).cloned().collect(),
            next: rest.next().map(|it| it.purchase.sequence()),
        }
    }

    fn durable(&self, _: Lsn) -> Result<(), StorageFault> {
        Ok(())
    }
}

impl TheirBooks for Stage {
    fn page(
        &self,
        since: Option<UnixMs>,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        let mut books = self.0.lock().unwrap();
        books.since = since;
        let place = after.map_or(0, |PageMark(place)| place.parse().unwrap());
        // What was read is on its way while something happens.
        let charges = books.pages.get(place).cloned().unwrap_or_default();
        let next = (place + 1 < books.pages.len()).then(|| PageMark((place + 1).to_string()));
        let next = if books.circle {
            Some(PageMark("0".to_owned()))
        } else {
            next
        };
        let answer = books.answered().map(|()| ChargePage { charges, next });
        Box::pin(std::future::ready(answer))
    }

    fn has(&self, inquiry: Inquiry) -> Calling<'_, Result<Has, Trouble>> {
        let mut books = self.0.lock().unwrap();
        let has = books.has.get(&inquiry.reference.purchase()).copied();
        assert_eq!(
            inquiry.reference.request(),
            RequestId(inquiry.reference.purchase().sequence())
        );
        let answer = books.answered().map(|()| has.unwrap_or(Has::Nothing));
        Box::pin(std::future::ready(answer))
    }
}

fn run(set_up: impl FnOnce(&mut Books)) -> (ReconcileReport, u32) {
    let mut books = Books::default();
    set_up(&mut books);
    let window = books.window;
    let stage = Stage(Mutex::new(books));
    let limits = ReconcileLimits {
        window,
        pause: Duration::ZERO,
        call_timeout: Duration::from_secs(5),
        differences_max: 3,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut last = ReconcileProgress::default();
    let mut progress = |at| last = at;
    let report = runtime.block_on(reconcile(&stage, &stage, limits, 1, &mut progress));
    if report.outcome == RunOutcome::Complete {
        assert_eq!(last.charges, report.counts.charges);
        assert_eq!(last.differences, report.differences.len());
    }
    let asked = stage.0.lock().unwrap().asked;
    (report, asked)
}

fn kinds(report: &ReconcileReport) -> Vec<(DifferenceKind, u64)> {
    let found = report.differences.iter();
    found
        .map(|it| (it.kind, it.reference.purchase().sequence()))
        .collect()
}

#[test]
fn a_window_leaves_out_what_was_begun_before_it() {
    const DAY: Duration = Duration::from_hours(24);
    const DAY_MS: u64 = 86_400_000;
    let now_ms = Stage(Mutex::default()).now().get();
    let begun = |books: &mut Books, number: u64, at_ms: u64| {
        books.captured(number);
        let payment = books.ours.get_mut(&purchase(number)).unwrap();
        payment.started_at = UnixMs::new(at_ms);
    };
    // Neither of the three is listed; the gateway lists another from before, which is compared.
    let set_up = |books: &mut Books, window| {
        books.window = window;
        begun(books, 1, now_ms - 15 * DAY_MS);
        begun(books, 2, now_ms - 14 * DAY_MS - 1);
        begun(books, 3, now_ms - 14 * DAY_MS);
        begun(books, 4, now_ms - 15 * DAY_MS);
        books.charges(vec![charge(4, PRICE)]);
    };
    let (report, _) = run(|books| set_up(books, Some(14 * DAY)));
    assert_eq!(kinds(&report), [(DifferenceKind::MissingAtGateway, 3)]);
    assert_eq!((report.counts.agree, report.counts.payments), (1, 4));
    assert_eq!(report.since, Some(UnixMs::new(now_ms - 14 * DAY_MS)));
    let (report, _) = run(|books| set_up(books, None));
    assert_eq!((report.differences.len(), report.since), (3, None));
}

#[test]
fn payments_that_change_during_a_comparison_are_not_reported() {
    type SetUp = fn(&mut Books);
    let cases: [(&str, SetUp, u64); 8] = [
        (
            "captured there, and here only after the page was read",
            |books| {
                books.open(1);
                books.charges(vec![charge(1, PRICE)]);
                books.after(1, |books| books.captured(1));
            },
            0,
        ),
        (
            "refunded on both sides after the page was read",
            |books| {
                books.captured(1);
                books.charges(vec![charge(1, PRICE)]);
                books.after(1, |books| {
                    books.pages[0][0].refunded = amount(500);
                    books.refunded(1, 500);
                });
            },
            0,
        ),
        (
            "refunded again while it is looked at again",
            |books| {
                books.captured(1);
                books.charges(vec![charge(1, PRICE)]);
                books.after(1, |books| {
                    books.pages[0][0].refunded = amount(500);
                    books.refunded(1, 500);
                });
                books.after(2, |books| {
                    books.pages[0][0].refunded = amount(900);
                    books.refunded(1, 900);
                });
            },
            0,
        ),
        (
            "changing at every look",
            |books| {
                books.captured(1);
                books.charges(vec![charge(1, PRICE)]);
                for look in 1..=4 {
                    books.after(look, move |books| books.refunded(1, i64::from(look)));
                }
            },
            1,
        ),
        (
            "a refund begins before its money is gone",
            |books| {
                books.captured(1);
                books.charges(vec![charge(1, PRICE)]);
                books.pages[0][0].refunded = amount(500);
                books.after(1, |books| books.open(1));
            },
            1,
        ),
        (
            "captured after the list was begun",
            |books| {
                books.charges(vec![]);
                books.after(1, |books| books.captured(1));
            },
            0,
        ),
        (
            "not listed, but there when asked",
            |books| {
                books.captured(1);
                books.charges(vec![]);
                books.has.insert(purchase(1), Has::Captured);
            },
            0,
        ),
        (
            "pushed to the next page by newer charges",
            |books| {
                books.ended(1);
                books.charges(vec![charge(1, PRICE)]);
                books.charges(vec![]);
                books.after(1, |books| {
                    books.pages[0].clear();
                    let mut moved = charge(1, PRICE);
                    moved.refunded = amount(PRICE);
                    books.pages[1].push(moved);
                });
            },
            0,
        ),
    ];
    for (what, set_up, open) in cases {
        let (report, _) = run(set_up);
        assert_eq!(kinds(&report), [], "{what}");
        assert_eq!(report.counts.open, open, "{what}: {:?}", report.counts);
        assert!(report.agrees(), "{what}");
    }
}

#[test]
fn a_permanent_difference_is_reported_once() {
    let (report, _) = run(|books| {
        for number in [1, 2, 3] {
            books.captured(number);
        }
        let mut second = charge(1, PRICE);
        second.gateway_id = "ch_again".to_owned();
        // Listed twice is not charged twice.
        books.charges(vec![charge(1, PRICE), charge(2, PRICE), charge(2, PRICE)]);
        books.charges(vec![second]);
        books.has.insert(purchase(3), Has::Authorized);
    });
    let found = kinds(&report);
    assert_eq!(
        found,
        [
            (DifferenceKind::ChargedTwice, 1),
            (DifferenceKind::MissingAtGateway, 3)
        ]
    );
    assert_eq!(report.counts.agree, 2);
    assert_eq!(
        (report.outcome.clone(), report.agrees()),
        (RunOutcome::Complete, false)
    );

    // Asked for what it does not list, the gateway says no amounts, but whether all went back.
    let (report, _) = run(|books| {
        for number in [1, 2, 4] {
            books.captured(number);
        }
        books.refunded(2, PRICE);
        books.refunded(4, PRICE);
        books.charges(vec![]);
        books.has.insert(purchase(1), Has::Refunded);
        books.has.insert(purchase(2), Has::Refunded);
        books.has.insert(purchase(4), Has::Captured);
    });
    let found = kinds(&report);
    assert_eq!(
        found,
        [
            (DifferenceKind::AmountDiffers, 1),
            (DifferenceKind::AmountDiffers, 4)
        ]
    );
    assert_eq!(report.counts.unlisted, 1);

    // A second charge that was given back is none.
    let (report, _) = run(|books| {
        books.captured(1);
        let mut second = charge(1, PRICE);
        second.gateway_id = "ch_again".to_owned();
        second.refunded = amount(PRICE);
        books.charges(vec![charge(1, PRICE), second]);
    });
    assert!(report.agrees(), "{:?}", report.differences);
}

#[test]
fn charges_of_others_are_counted_and_no_more() {
    let (report, asked) = run(|books| {
        let mut of_other = charge(1, PRICE);
        of_other.reference = Some(Reference::new(LOG + 1, purchase(1), RequestId(1)));
        let mut without = charge(2, PRICE);
        without.reference = None;
        books.charges(vec![of_other, without, charge(3, 0)]);
    });
    assert!(report.agrees());
    let counts = report.counts;
    assert_eq!(
        (counts.foreign, counts.without_reference, counts.empty),
        (1, 1, 1)
    );
    assert_eq!(asked, 1);
}

#[test]
fn every_bound_has_its_answer() {
    // More differences than are listed.
    let (report, _) = run(|books| books.charges((1..9).map(|it| charge(it, PRICE)).collect()));
    assert_eq!(report.outcome, RunOutcome::TooManyDifferences);
    assert_eq!((report.differences.len(), report.word()), (3, "differs"));
    assert_eq!(report.to_json()["complete"], false);

    // A list that does not go on.
    let (report, asked) = run(|books| {
        books.circle = true;
        books.charges(vec![]);
    });
    assert!(matches!(report.outcome, RunOutcome::Failed(_)));
    assert_eq!((report.word(), asked), ("failed", 2));

    // A gateway that fails for a while is asked again.
    let (report, asked) = run(|books| {
        books.captured(1);
        books.charges(vec![charge(1, PRICE)]);
        books.fails = 2;
    });
    assert!(report.agrees());
    assert_eq!((report.counts.agree, asked), (1, 3));

    // One that goes on failing ends the run without a word on the books.
    let (report, asked) = run(|books| {
        books.captured(1);
        books.fails = u32::MAX;
    });
    let why = "the gateway could not be asked for its list: busy".to_owned();
    assert_eq!(report.outcome, RunOutcome::Failed(why));
    assert_eq!((report.succeeded(), asked), (false, 5));
}
