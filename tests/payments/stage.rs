//! A stage for payment tests: a journal in a directory of its own, the sandbox beside it, and a
//! runtime. Opening a directory again is what a restart does.
use holdfast::engine::command::{Buy, StartRefund, Verdict};
use holdfast::engine::event::{
    Act, Active, Actor, ActorRole, AdminAct, AdminActed, Decider, Discount, IdempotencyKey,
    Judgement, Origin, ProductSet, PromotionSet, Restock,
};
use holdfast::engine::lifecycle::{PurchaseState, Units};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::view::{PurchaseView, RefundView};
use holdfast::ids::{
    CardToken, Digest16, KeyOwner, ProductId, PromotionCode, PurchaseId, ReceiptKeyId, RequestId,
    UserId,
};
use holdfast::journal::{Audit, BuyOutcome, CommitGate, Journal, JournalOptions, RefundOutcome};
use holdfast::money::{Amount, Price};
use holdfast::payments::gateway::{Gateway, Reference};
use holdfast::payments::sandbox::{ChargeState, Sandbox, SandboxCharge, read_charges};
use holdfast::payments::{Meter, PaymentOutcome, PaymentSettings, Payments};
use holdfast::receipts::CaptureKeys;
use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::commands::{self, usd};
use tokio::runtime::Runtime;

/// What one unit costs, in minor units.
pub const PRICE: i64 = 2_500;

/// Units for sale.
pub const STOCK: u32 = 1_000;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Stage {
    pub journal: Arc<Journal>,
    pub sandbox: Arc<Sandbox>,
    pub payments: Arc<Payments>,
    pub gate: Arc<CommitGate>,
    pub runtime: Runtime,
    pub number: u64,
}

/// Waits short enough for tests: what never answers is given up after 20 ms.
pub fn settings() -> PaymentSettings {
    PaymentSettings {
        attempt_timeout_ms: 20,
        retries_max: 3,
        backoff_first_ms: 1,
        backoff_max_ms: 4,
        unknown_after_ms: 2_000,
        ..PaymentSettings::default()
    }
}

impl Stage {
    pub fn open(data_dir: &Path) -> Self {
        Self::open_with(data_dir, settings(), |sandbox| sandbox)
    }

    pub fn open_with<G: Gateway>(
        data_dir: &Path,
        settings: PaymentSettings,
        wrap: impl FnOnce(Arc<Sandbox>) -> Arc<G>,
    ) -> Self {
        Self::open_measured(data_dir, settings, wrap, Arc::new(()))
    }

    /// Every purchase is reviewed.
    pub fn open_reviewing<G: Gateway>(
        data_dir: &Path,
        settings: PaymentSettings,
        wrap: impl FnOnce(Arc<Sandbox>) -> Arc<G>,
    ) -> Self {
        let tune = |options: &mut JournalOptions| {
            options.engine.review.amount_over = vec![(usd(), Amount::new(1).unwrap())];
        };
        Self::open_tuned(data_dir, settings, wrap, Arc::new(()), tune)
    }

    pub fn open_measured<G: Gateway>(
        data_dir: &Path,
        settings: PaymentSettings,
        wrap: impl FnOnce(Arc<Sandbox>) -> Arc<G>,
        meter: Arc<dyn Meter>,
    ) -> Self {
        Self::open_tuned(data_dir, settings, wrap, meter, |_| {})
    }

    fn open_tuned<G: Gateway>(
        data_dir: &Path,
        settings: PaymentSettings,
        wrap: impl FnOnce(Arc<Sandbox>) -> Arc<G>,
        meter: Arc<dyn Meter>,
        tune: impl FnOnce(&mut JournalOptions),
    ) -> Self {
        let mut options = JournalOptions::new(data_dir);
        options.log.segment_bytes = 2 << 20;
        options.log.ring_bytes = 1 << 19;
        options.engine.rate.count = 1_000;
        tune(&mut options);
        let journal = Journal::open(options, &mut |_| {}).unwrap();
        let sandbox = Arc::new(Sandbox::open(data_dir).unwrap());
        let key = CaptureKeys {
            seal: ReceiptKeyId::parse("r1").unwrap(),
            sign: None,
        };
        let gateway = wrap(Arc::clone(&sandbox));
        let payments = Payments::new(Arc::clone(&journal), gateway, settings, key, meter).unwrap();
        let gate = journal.gate();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.spawn(Arc::clone(&gate).drive());
        let number = journal.figures().status().purchases as u64;
        let stage = Self {
            journal,
            sandbox,
            payments,
            gate,
            runtime,
            number,
        };
        stage.put_product();
        stage
    }

    fn put_product(&self) {
        self.put_product_at(PRICE, 0);
    }

    /// Sets the product's price and the reward tokens that it brings.
    pub fn put_product_at(&self, price: i64, reward_tokens: u32) {
        let set = ProductSet {
            name: "Drop".to_owned(),
            prices: vec![(usd(), Price::new(price).unwrap())],
            reward_tokens,
            ..commands::product_set(product(), STOCK)
        };
        let _ = self.journal.catalogue().put_product(set).unwrap();
    }

    /// Puts a promotion in force under which everything costs nothing.
    pub fn put_free_promotion(&self) {
        let set = PromotionSet {
            code: PromotionCode::parse("FREE").unwrap(),
            discount: Discount::Percent(100),
            uses_max: 10,
            uses_per_user_max: None,
            products: vec![],
            segments: Vec::new(),
            starts_at: None,
            ends_at: None,
            active: Active::Yes,
            by: operator(),
        };
        let _ = self.journal.catalogue().put_promotion(set).unwrap();
    }

    /// Writes the intent to buy one unit with this card.
    pub fn start(&mut self, card: &str) -> PurchaseId {
        self.start_with(card, None)
    }

    /// The same, with a promotion.
    pub fn start_with(&mut self, card: &str, promotion: Option<&str>) -> PurchaseId {
        self.number += 1;
        let mut scope = [0; 16];
        scope[..8].copy_from_slice(&self.number.to_le_bytes());
        let key = IdempotencyKey {
            scope: Digest16(scope),
            fingerprint: Digest16([7; 16]),
        };
        let buy = Buy {
            card: CardToken::parse(card).unwrap(),
            promotion: promotion.and_then(PromotionCode::parse),
            ..commands::buy(
                UserId::parse(&format!("buyer-{}", self.number)).unwrap(),
                product(),
                Origin {
                    request: RequestId(self.number),
                    owner: owner(),
                    key: Some(key),
                    ip: None,
                    device: None,
                },
            )
        };
        match self.journal.buy(&buy).unwrap().outcome {
            Ok(BuyOutcome::PaymentStarted(purchase)) => purchase,
            other => panic!("{card}: {other:?}"),
        }
    }

    /// Starts a payment and waits for what its caller is told.
    pub fn buy(&mut self, card: &str) -> PaymentOutcome {
        let purchase = self.start(card);
        let paying = self.in_runtime(|stage| stage.payments.pay(purchase, &stage.gate));
        self.run(paying).unwrap()
    }

    /// Writes the intent to give back `amount` of a purchase; the refund's number.
    pub fn start_refund(&mut self, purchase: PurchaseId, amount: Option<i64>) -> u32 {
        self.number += 1;
        let mut scope = [1; 16];
        scope[..8].copy_from_slice(&self.number.to_le_bytes());
        let command = StartRefund {
            restock: Restock::No,
            purchase,
            amount: amount.and_then(Amount::new),
            previously_refunded: self.view(purchase).refunded,
            note: "asked for".to_owned(),
            key: IdempotencyKey {
                scope: Digest16(scope),
                fingerprint: Digest16([8; 16]),
            },
            by: operator(),
        };
        match self
            .journal
            .start_refund(&command, Audit::Nothing)
            .unwrap()
            .outcome
        {
            Ok(RefundOutcome::Started(view)) => view.number,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a refund and waits for what its caller is told.
    pub fn refund(&mut self, purchase: PurchaseId, amount: Option<i64>) -> RefundView {
        let number = self.start_refund(purchase, amount);
        let refunding = self.in_runtime(|it| it.payments.refund(purchase, number, &it.gate));
        self.run(refunding).unwrap()
    }

    /// Decides about a purchase under review, and waits for what the decider is told.
    pub fn decide(&self, purchase: PurchaseId, verdict: Verdict) -> Result<PurchaseView, Refusal> {
        let deciding = self.in_runtime(|it| {
            let payments = &it.payments;
            payments.decide_review(purchase, verdict, judgement(), acted, &it.gate)
        });
        let told = self.run(deciding);
        told.map_err(|error| error.refusal().unwrap())
    }

    /// Waits until the purchase is in this state.
    pub fn until(&self, purchase: PurchaseId, state: PurchaseState) {
        self.run(async {
            while self.view(purchase).state != state {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    pub fn in_runtime<T>(&self, act: impl FnOnce(&Self) -> T) -> T {
        let _guard = self.runtime.enter();
        act(self)
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(DEADLINE, work).await };
        self.runtime.block_on(bounded).expect("it ends in time")
    }

    /// Starts driving what is open, and waits until nothing is.
    pub fn resume(&self) {
        let resumed = self.in_runtime(|stage| stage.payments.resume(&stage.gate));
        self.runtime.spawn(resumed);
        self.settle();
    }

    /// Waits until no payment is open; [`Stage::resume`] has to have been called before.
    pub fn settle(&self) {
        self.run(async {
            while self.payments.open() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    pub fn view(&self, purchase: PurchaseId) -> PurchaseView {
        self.journal.reads().purchase(purchase).unwrap().0
    }

    pub fn reference(&self, purchase: PurchaseId) -> Reference {
        let request = self.view(purchase).request.unwrap();
        Reference::new(self.journal.log_id(), purchase, request)
    }

    /// I1 and I8, once nothing is open: the units of `purchases` are sold exactly where their
    /// money is taken, and nothing stays set aside anywhere.
    pub fn check(&self, purchases: &[PurchaseId], what: &str) {
        let charges: HashMap<Reference, SandboxCharge> = self
            .sandbox
            .charges()
            .into_iter()
            .map(|charge| (charge.reference, charge))
            .collect();
        let mut sold = 0;
        for purchase in purchases {
            let view = self.view(*purchase);
            let charge = charges.get(&self.reference(*purchase));
            let net = charge.map_or(0, |charge| charge.net().get());
            let state = view.state;
            assert!(!state.is_open_payment(), "{what}: {state:?} is no end");
            match state.units() {
                Units::Sold => {
                    let kept = view.quote.amount.get() - view.refunded.get();
                    assert_eq!(net, kept, "{what}: goods without money");
                    assert_eq!(view.pending_refund, None, "{what}: a refund is under way");
                    sold += view.quantity;
                }
                Units::None | Units::Held => assert_eq!(net, 0, "{what}: money without goods"),
            }
            let aside = charge.is_some_and(|charge| charge.state == ChargeState::Authorized);
            assert!(!aside, "{what}: money set aside for {state:?}");
        }
        assert!(
            charges.len() <= purchases.len(),
            "{what}: charges of nobody's"
        );
        let (product, _) = self.journal.reads().product(&product()).unwrap();
        let levels = (product.held, product.sold, product.available());
        assert_eq!(
            levels,
            (0, sold, STOCK - sold),
            "{what}: held, sold, available"
        );
    }

    /// Ends it as a stop does.
    pub fn close(self) {
        drop(self.runtime);
        drop(self.payments);
        self.journal.close();
    }
}

/// What the books in `data_dir` and the ones in memory say alike.
pub fn offline(data_dir: &Path) -> Vec<SandboxCharge> {
    read_charges(data_dir).unwrap()
}

/// Copies what a process killed now would leave: the witness first, because in a running log it
/// may vouch for more than a copy of the segments made before it holds.
pub fn copy_as_killed(from: &Path, to: &Path) {
    let mut names: Vec<_> = fs::read_dir(from)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    names.sort_by_key(|entry| {
        let name = entry.file_name();
        (name != "witness", name == "sandbox", name)
    });
    fs::create_dir_all(to).unwrap();
    for entry in names {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_as_killed(&entry.path(), &target);
        } else {
            match fs::copy(entry.path(), &target) {
                Ok(_) => {}
                // A segment that is being made ahead was renamed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{}: {error}", entry.path().display()),
            }
        }
    }
}

pub fn product() -> ProductId {
    ProductId::parse("drop-1").unwrap()
}

pub fn judgement() -> Decider {
    Decider::Person(Judgement {
        by: operator(),
        note: "looked at it".to_owned(),
    })
}

/// What the trail has of an act; which one makes no difference here.
pub fn acted(_: &PurchaseView) -> AdminActed {
    AdminActed {
        act: Act::Void.as_str().to_owned(),
        target: None,
        before: None,
        after: None,
        by: Actor::of(operator(), ActorRole::Admin),
    }
}

pub fn operator() -> AdminAct {
    AdminAct {
        request: RequestId(9),
        owner: KeyOwner::parse("operator").unwrap(),
    }
}

fn owner() -> KeyOwner {
    KeyOwner::parse("shop").unwrap()
}
