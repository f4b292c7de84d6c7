//! Owns who is counted together: which events count towards which counter of which buyer, card,
//! address, device and product, and how much of each counter is kept.
//!
//! Invariants: every attempt counts once for each thing it names, whoever makes it and however it
//! ends; a request that comes again while its first is running is no attempt of its own; applying an
//! event twice counts it once (the cells are sets); which key a value has depends on the log alone,
//! so snapshots of one log can be read back; a counter that is not kept counts nothing.
//! Deliberately absent: thresholds and what follows from them.

use crate::engine::cells::{
    AT_MS_MAX, AttemptInstant, DistinctCell, KeyDigest, ValueSeen, VelocityCell, VelocityTable,
};
use crate::engine::event::{
    AttemptEvent, ClockCorrected, DeclineCause, Event, Flow, Group, HoldEvent, Origin,
    PaymentEvent, PaymentSource, PaysFor,
};
use crate::engine::words::counter::{
    By, COUNTERS, Counted, Counter, DEPTH_ALWAYS, Depths, depths_always,
};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::stamp::Stamp;
use crate::ids::{CardToken, DeviceId, ProductId, UserId};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Instants of attempts that are always kept a card, address, device and product: windows with
/// thresholds up to this are exact.
pub const INSTANTS_KEPT: usize = DEPTH_ALWAYS as usize;

/// What one key takes in both tables, a table being up to half empty and with three words for each
/// place; further instants come on top (`cells::velocity`).
pub(in crate::engine) const KEY_BYTES: usize = 2 * (80 + 48) + 2 * 24;

/// The things that an attempt or a payment names.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<'a> {
    pub user: Option<&'a UserId>,
    pub card: Option<&'a CardToken>,
    /// The address.
    pub ip: Option<IpAddr>,
    pub device: Option<&'a DeviceId>,
    pub product: Option<&'a ProductId>,
}

impl Named<'_> {
    /// Whether it names a thing that is counted by `by`.
    pub const fn has(&self, by: By) -> bool {
        match by {
            By::User => self.user.is_some(),
            By::Card => self.card.is_some(),
            By::Ip => self.ip.is_some(),
            By::Device => self.device.is_some(),
            By::Product => self.product.is_some(),
        }
    }
}

/// An export holds bits that are no packed instant.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NotAnInstant;

/// The counters that buyers share.
#[derive(Debug)]
pub struct Velocity {
    instants: VelocityTable<VelocityCell>,
    distinct: VelocityTable<DistinctCell>,
    depths: [AtomicU16; COUNTERS],
    /// What is added to an instant of the log before it is counted, so that what was counted keeps
    /// its age when the clock is corrected.
    axis_ms: AtomicI64,
    seed: u64,
}

type NamedBytes = smallvec::SmallVec<[u8; 72]>;

impl Velocity {
    /// Counters for up to `keys_max` things each; `log_id` seeds their keys, so that nobody outside
    /// can choose a value that shares another's counter.
    pub fn new(keys_max: usize, log_id: u64) -> Self {
        Self {
            instants: VelocityTable::new(keys_max),
            distinct: VelocityTable::new(keys_max),
            depths: depths_always().map(AtomicU16::new),
            axis_ms: AtomicI64::new(0),
            seed: log_id,
        }
    }

    /// Keeps each counter this deep from now on. No shard may have its turn, so that the log shows
    /// which events were counted before and which after.
    pub fn keep(&self, depths: &Depths) {
        for (kept, depth) in self.depths.iter().zip(depths) {
            kept.store(*depth, Ordering::Relaxed);
        }
    }

    /// Moves every counted instant with a correction of the clock, so that its age stays. No shard
    /// may have its turn.
    pub fn correct(&self, corrected: &ClockCorrected) {
        self.axis_ms
            .fetch_sub(corrected.offset_ms(), Ordering::Relaxed);
    }

    /// The offset that is added to instants, for a snapshot.
    pub fn axis_ms(&self) -> i64 {
        self.axis_ms.load(Ordering::Relaxed)
    }

    /// Takes over the offset of a snapshot.
    pub fn put_axis_ms(&self, axis_ms: i64) {
        self.axis_ms.store(axis_ms, Ordering::Relaxed);
    }

    fn on_axis(&self, at_ms: u64) -> u64 {
        at_ms.saturating_add_signed(self.axis_ms()).min(AT_MS_MAX)
    }

    /// Counts `event`.
    pub fn record(&self, event: &Event, stamp: Stamp) {
        let Some((counted, named, new)) = counts_of(event) else {
            return;
        };
        let instant = AttemptInstant::at_lsn(self.on_axis(stamp.at.get()), stamp.lsn.0);
        for by in By::ALL {
            if new.concerns(counted, by) {
                self.count_one(counted, by, &named, instant);
            }
        }
        if counted == Counted::Attempt {
            self.see_values(&named, instant, new);
        }
    }

    /// A counter of the things in `named`, since `since_ms`; exact up to `cap` if it is kept that
    /// deep, and 0 if `named` has nothing that is counted by.
    pub fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> u32 {
        self.look(counter, named, since_ms, cap).unwrap_or(0)
    }

    /// The same; `None` where there is nothing in any window.
    pub fn look(
        &self,
        counter: Counter,
        named: &Named<'_>,
        since_ms: u64,
        cap: u32,
    ) -> Option<u32> {
        let key = self.key(counter, named)?;
        let since_ms = self.on_axis(since_ms);
        if counter.counted().is_distinct() {
            self.distinct.distinct_since(key, since_ms, cap)
        } else {
            self.instants.count_since(key, since_ms, cap)
        }
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.instants.keys() + self.distinct.keys()
    }

    /// Number of keys that were evicted or refused at the bound.
    pub fn given_up(&self) -> u64 {
        self.instants.given_up() + self.distinct.given_up()
    }

    /// Every key and its packed instants, for a snapshot.
    pub fn export(&self, mut visit: impl FnMut(KeyDigest, Vec<u64>)) {
        self.instants.export(|key, instants| {
            visit(key, instants.iter().map(|it| it.to_bits()).collect());
        });
    }

    /// Every key and its distinct values, each with its packed instant, for a snapshot.
    pub fn export_distinct(&self, mut visit: impl FnMut(KeyDigest, Vec<(u64, u64)>)) {
        self.distinct.export(|key, seen| {
            let packed = seen.iter().map(|it| (it.value, it.instant.to_bits()));
            visit(key, packed.collect());
        });
    }

    /// Takes over one key of an export.
    pub fn import(&self, key: KeyDigest, packed: &[u64]) -> Result<(), NotAnInstant> {
        let instants = packed.iter().map(|bits| AttemptInstant::from_bits(*bits));
        let instants: Option<Vec<_>> = instants.collect();
        self.instants.import(key, &instants.ok_or(NotAnInstant)?);
        Ok(())
    }

    /// Takes over one key of an export of distinct values.
    pub fn import_distinct(
        &self,
        key: KeyDigest,
        packed: &[(u64, u64)],
    ) -> Result<(), NotAnInstant> {
        let seen = packed.iter().map(|(value, bits)| {
            let instant = AttemptInstant::from_bits(*bits)?;
            Some(ValueSeen {
                instant,
                value: *value,
            })
        });
        let seen: Option<Vec<_>> = seen.collect();
        self.distinct.import(key, &seen.ok_or(NotAnInstant)?);
        Ok(())
    }

    fn count_one(&self, counted: Counted, by: By, named: &Named<'_>, instant: AttemptInstant) {
        if let Some(counter) = Counter::new(counted, by)
            && let Some(depth) = self.depth(counter)
            && let Some(key) = self.key(counter, named)
        {
            self.instants.record(key, instant, depth);
        }
    }

    /// Records the buyer and the card under everything else that is named.
    fn see_values(&self, named: &Named<'_>, instant: AttemptInstant, new: New) {
        let card = named.card.map(|it| (Counted::Card, it.as_str()));
        let user = named.user.map(|it| (Counted::User, it.as_str()));
        for (counted, value) in [card, user].into_iter().flatten() {
            for by in By::ALL {
                if new.concerns(counted, by)
                    && let Some(counter) = Counter::new(counted, by)
                    && let Some(depth) = self.depth(counter)
                    && let Some(key) = self.key(counter, named)
                {
                    let value = xxh3_64_with_seed(value.as_bytes(), self.seed);
                    let seen = ValueSeen { instant, value };
                    self.distinct.record(key, seen, depth);
                }
            }
        }
    }

    fn depth(&self, counter: Counter) -> Option<usize> {
        let depth = self.depths[counter.index()].load(Ordering::Relaxed);
        (depth > 0).then_some(usize::from(depth))
    }

    /// The first byte is the dimension; unless attempts are counted, a byte before it says what is.
    /// So no value of one dimension equals a value of another.
    fn key(&self, counter: Counter, named: &Named<'_>) -> Option<KeyDigest> {
        let mut bytes = NamedBytes::new();
        match counter.counted() {
            Counted::Attempt => {}
            Counted::Purchase => bytes.push(0x81),
            Counted::Declined => bytes.push(0x82),
            Counted::Card => bytes.push(0x91),
            Counted::User => bytes.push(0x92),
            Counted::Expired => bytes.push(0x83),
        }
        match counter.by() {
            By::User => {
                bytes.push(b'u');
                bytes.extend_from_slice(named.user?.as_str().as_bytes());
            }
            By::Card => {
                bytes.push(b'c');
                bytes.extend_from_slice(named.card?.as_str().as_bytes());
            }
            // An IPv4 address is the same one inside of IPv6. Of IPv6 one subscriber has a whole
            // /64, and as many addresses in it as they like.
            By::Ip => match named.ip?.to_canonical() {
                IpAddr::V4(ip) => {
                    bytes.push(b'4');
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(b'6');
                    bytes.extend_from_slice(&ip.octets()[..IPV6_PREFIX_BYTES]);
                }
            },
            By::Device => {
                bytes.push(b'd');
                bytes.extend_from_slice(named.device?.as_str().as_bytes());
            }
            By::Product => {
                bytes.push(b'p');
                bytes.extend_from_slice(named.product?.as_str().as_bytes());
            }
        }
        Some(xxh3_128_with_seed(&bytes, self.seed))
    }
}

/// An IPv6 address is counted by its /64.
const IPV6_PREFIX_BYTES: usize = 8;

/// The part of an event that has not been counted yet.
#[derive(Copy, Clone, PartialEq, Eq)]
enum New {
    /// Everything that it names.
    All,
    /// Only its card: the hold of the same call has counted the rest.
    Card,
}

impl New {
    /// Whether this counter concerns something new.
    fn concerns(self, counted: Counted, by: By) -> bool {
        self == Self::All || by == By::Card || counted == Counted::Card
    }
}

/// What `event` is counted as, what it names, and which part of that is new.
fn counts_of(event: &Event) -> Option<(Counted, Named<'_>, New)> {
    match event.group() {
        Group::Hold(HoldEvent::HoldPlaced(placed)) => {
            let named = Named {
                user: Some(&placed.user),
                product: Some(&placed.product),
                ..of_origin(&placed.origin)
            };
            Some((Counted::Attempt, named, New::All))
        }
        Group::Payment(PaymentEvent::PaymentStarted(started)) => {
            let named = Named {
                user: Some(&started.user),
                card: Some(&started.card),
                ..of_origin(&started.origin)
            };
            let new = match started.pays_for {
                PaysFor::OwnHold => New::Card,
                PaysFor::EarlierHold => New::All,
            };
            Some((Counted::Attempt, named, new))
        }
        Group::Attempt(AttemptEvent::AttemptRefused(refused)) => {
            let counts = !matches!(
                refused.reason,
                Refusal::InvalidRequest | Refusal::IdempotencyInFlight
            ) && matches!(refused.flow, Flow::Hold | Flow::Buy)
                && refused.user.is_some()
                && refused.product.is_some();
            let named = Named {
                user: refused.user.as_ref(),
                card: refused.card.as_ref(),
                product: refused.product.as_ref(),
                ..of_origin(&refused.origin)
            };
            counts.then_some((Counted::Attempt, named, New::All))
        }
        Group::Payment(PaymentEvent::PaymentCaptured(captured)) => {
            let named = of_payment_source(&captured.user, &captured.payment_source);
            Some((Counted::Purchase, named, New::All))
        }
        Group::Payment(PaymentEvent::PaymentDeclined(declined)) => {
            let named = of_payment_source(&declined.user, &declined.payment_source);
            // A failure of the gateway says nothing about the card.
            let by_issuer = declined.cause == DeclineCause::DeclinedByIssuer;
            by_issuer.then_some((Counted::Declined, named, New::All))
        }
        Group::Hold(HoldEvent::HoldExpired(expired)) => {
            let named = Named {
                user: Some(&expired.user),
                card: expired.card.as_ref(),
                ip: expired.ip,
                device: expired.device.as_ref(),
                product: Some(&expired.product),
            };
            Some((Counted::Expired, named, New::All))
        }
        Group::Hold(HoldEvent::HoldReleased(_))
        | Group::Payment(
            PaymentEvent::PaymentAuthorized(_)
            | PaymentEvent::CaptureStarted(_)
            | PaymentEvent::CaptureDiffered(_)
            | PaymentEvent::VoidStarted(_)
            | PaymentEvent::PaymentVoided(_)
            | PaymentEvent::VoidStuck(_),
        )
        | Group::Review(_)
        | Group::Refund(_)
        | Group::Dispute(_)
        | Group::Buyer(_)
        | Group::Catalogue(_)
        | Group::Risk(_)
        | Group::Webhook(_)
        | Group::Core(_)
        | Group::Trail(_) => None,
    }
}

fn of_origin(origin: &Origin) -> Named<'_> {
    Named {
        ip: origin.ip,
        device: origin.device.as_ref(),
        ..Named::default()
    }
}

fn of_payment_source<'a>(user: &'a UserId, payment_source: &'a PaymentSource) -> Named<'a> {
    Named {
        user: Some(user),
        card: Some(&payment_source.card),
        ip: payment_source.ip,
        device: payment_source.device.as_ref(),
        product: Some(&payment_source.product),
    }
}
