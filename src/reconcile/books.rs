//! Owns what reconciliation reads of either side, and where it comes from: a running journal and
//! its gateway, or a stopped data directory and the sandbox's file.
//!
//! Invariant: nothing here writes or charges.

use crate::engine::view::{PaymentView, PaymentsPage};
use crate::ids::{Lsn, PurchaseId, RequestId, ShardId};
use crate::journal::{CheckReport, Clock, Journal, StorageFault};
use crate::payments::gateway::{
    Calling, ChargePage, Gateway, Inquiry, LookupResult, PageMark, Trouble,
};
use crate::payments::sandbox::{ChargeState, SandboxCharge, SandboxError, read_charges};
use crate::time::UnixMs;
use std::future;
use std::path::Path;

/// Our books.
pub trait OurBooks: Send + Sync {
    /// The log whose payments are ours.
    fn log_id(&self) -> u64;

    /// What time it is.
    fn now(&self) -> UnixMs;

    /// Everything that has happened stands before it.
    fn end(&self) -> Lsn;

    /// The payment of a purchase that `request` brought.
    fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView>;

    /// The payments of a shard from the sequence number `from` on, looking at `most` purchases.
    fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage;

    /// Blocks until everything before `lsn` is durable, so that it may be reported.
    fn durable(&self, lsn: Lsn) -> Result<(), StorageFault>;
}

impl OurBooks for Journal {
    fn log_id(&self) -> u64 {
        self.log_id()
    }

    fn now(&self) -> UnixMs {
        self.now()
    }

    fn end(&self) -> Lsn {
        self.figures().status().appended
    }

    fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        self.reads().payment(id, request)
    }

    fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage {
        self.reads().payments_of(shard, from, most)
    }

    fn durable(&self, lsn: Lsn) -> Result<(), StorageFault> {
        self.wait_durable(lsn)
    }
}

/// The books of a stopped data directory.
#[derive(Clone, Debug)]
pub struct StoppedBooks {
    log_id: u64,
    end: Lsn,
    /// Of each shard, in the order of their numbers.
    payments: Vec<Vec<PaymentView>>,
}

impl StoppedBooks {
    /// What checking the directory found; a log without a segment has no payments.
    pub fn new(checked: CheckReport) -> Self {
        let mut payments: Vec<Vec<PaymentView>> = ShardId::all().map(|_| Vec::new()).collect();
        for payment in checked.payments {
            payments[payment.purchase.shard().index()].push(payment);
        }
        Self {
            log_id: checked.log_id.unwrap_or_default(),
            end: checked.end,
            payments,
        }
    }
}

impl OurBooks for StoppedBooks {
    fn log_id(&self) -> u64 {
        self.log_id
    }

    fn now(&self) -> UnixMs {
        Clock::System.wall()
    }

    fn end(&self) -> Lsn {
        self.end
    }

    fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        let payments = &self.payments[id.shard().index()];
        let start = payments.partition_point(|it| it.purchase.sequence() < id.sequence());
        let of_purchase = payments[start..].iter().take_while(|it| it.purchase == id);
        let mut of_request = of_purchase.filter(|it| it.request == request);
        of_request.next().cloned()
    }

    fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage {
        let payments = &self.payments[shard.index()];
        let start = payments.partition_point(|it| it.purchase.sequence() < from);
        let mut end = start.saturating_add(most).min(payments.len());
        // A page goes on with a purchase: it does not end between two payments of one.
        while end > start
            && let Some(next) = payments.get(end)
            && next.purchase == payments[end - 1].purchase
        {
            end += 1;
        }
        PaymentsPage {
            payments: payments[start..end].to_vec(),
            next: payments.get(end).map(|it| it.purchase.sequence()),
        }
    }

    fn durable(&self, _: Lsn) -> Result<(), StorageFault> {
        Ok(())
    }
}

/// What the gateway has of one payment, as its look-up says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Has {
    /// It never heard of it.
    Nothing,
    Declined,
    /// Money is set aside.
    Authorized,
    /// Captured, and not refunded completely.
    Captured,
    /// All that was taken is given back.
    Refunded,
    /// What was set aside is given back.
    Voided,
}

impl Has {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Declined => "declined",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Refunded => "refunded",
            Self::Voided => "voided",
        }
    }
}

/// The gateway's books.
pub trait TheirBooks: Send + Sync {
    /// One page of its list, of which payments made before `since` may be left out.
    fn page(
        &self,
        since: Option<UnixMs>,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>>;

    /// What it has of one payment.
    fn has(&self, inquiry: Inquiry) -> Calling<'_, Result<Has, Trouble>>;
}

impl<G: Gateway + ?Sized> TheirBooks for G {
    fn page(
        &self,
        since: Option<UnixMs>,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        match since {
            Some(since) => self.list_since(since, after),
            None => self.list(after),
        }
    }

    fn has(&self, inquiry: Inquiry) -> Calling<'_, Result<Has, Trouble>> {
        Box::pin(async move {
            Ok(match self.look_up(inquiry).await? {
                LookupResult::Nothing => Has::Nothing,
                LookupResult::Declined(_) => Has::Declined,
                LookupResult::Authorized(_) => Has::Authorized,
                LookupResult::Captured(_) => Has::Captured,
                LookupResult::Refunded(_) => Has::Refunded,
                LookupResult::Voided => Has::Voided,
            })
        })
    }
}

impl TheirBooks for std::sync::Arc<dyn Gateway> {
    fn page(
        &self,
        since: Option<UnixMs>,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        TheirBooks::page(&**self, since, after)
    }

    fn has(&self, inquiry: Inquiry) -> Calling<'_, Result<Has, Trouble>> {
        TheirBooks::has(&**self, inquiry)
    }
}

/// The sandbox's file in a stopped data directory, as one page.
#[derive(Clone, Debug)]
pub struct SandboxFile {
    /// In the order of their references.
    charges: Vec<SandboxCharge>,
}

impl SandboxFile {
    /// Reads it without changing it.
    pub fn read(data_dir: &Path) -> Result<Self, SandboxError> {
        let charges = read_charges(data_dir)?;
        Ok(Self { charges })
    }
}

impl TheirBooks for SandboxFile {
    fn page(
        &self,
        _: Option<UnixMs>,
        _: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        let charges = self.charges.iter().map(SandboxCharge::listed).collect();
        let page = ChargePage {
            charges,
            next: None,
        };
        Box::pin(future::ready(Ok(page)))
    }

    fn has(&self, inquiry: Inquiry) -> Calling<'_, Result<Has, Trouble>> {
        let found = self
            .charges
            .binary_search_by_key(&inquiry.reference, |it| it.reference);
        let has = match found.map(|place| self.charges[place].state) {
            Err(_) => Has::Nothing,
            Ok(ChargeState::Declined) => Has::Declined,
            Ok(ChargeState::Authorized) => Has::Authorized,
            Ok(ChargeState::Captured) => Has::Captured,
            Ok(ChargeState::Refunded) => Has::Refunded,
            Ok(ChargeState::Voided) => Has::Voided,
        };
        Box::pin(future::ready(Ok(has)))
    }
}
