//! The Stripe gateway: payment intents with manual capture, over Stripe's HTTP API.
//! `docs/stripe.md` describes the requests.
//!
//! The parts, in reading order: `flow` has the calls about one payment; `find` finds the one intent
//! of a reference, also after lost responses; `refunds`; `amounts` knows which amounts can be
//! charged; `classify` is the one classification of responses; `intent` interprets an intent; `api`,
//! `client` and `wire` are the exchange itself, and `pacer` its rate.
//! Invariants: an authorization takes two requests, of which the first moves no money, so that a
//! look-up can repeat it; no secret and no card token is in an error or a log line.
//! Deliberately absent: webhooks, saved customers, and cardholder authentication (a card that
//! requires it is declined).

mod amounts;
mod api;
mod classify;
mod client;
mod find;
mod flow;
mod intent;
mod pacer;
mod refunds;
mod settings;
mod wire;

pub use client::ClientError;
pub use settings::{ApiBase, ApiBaseError, StripeSettings};

use crate::engine::payable::AmountRule;
use crate::money::Currency;
use crate::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallResult, Calling, CapturedMoney,
    ChargePage, CoreTime, FoundRefund, Gateway, GatewayCall, Inquiry, LookupResult, PageMark,
    RefundRequest, Trouble, WaitingCalls,
};
use crate::time::UnixMs;
use api::Api;
use client::StripeClient;
use std::fmt;
use wire::{FormFields, Intent, StripePage};

/// The Stripe gateway.
pub struct Stripe {
    api: Api,
}

impl Stripe {
    /// A gateway with these settings. It connects on the first call.
    pub fn new(settings: StripeSettings) -> Result<Self, ClientError> {
        Ok(Self {
            api: Api::new(StripeClient::new(settings)?),
        })
    }

    /// The amounts that it accepts in `currency`, whatever its settings; `None`: none at all.
    pub fn amounts_in(currency: Currency) -> Option<AmountRule> {
        amounts::rule(currency)
    }

    async fn page(
        &self,
        since: Option<UnixMs>,
        after: Option<PageMark>,
    ) -> Result<ChargePage, Trouble> {
        let mut form = FormFields::new()
            .with("limit", "100")
            .with("expand[]", "data.latest_charge");
        if let Some(since) = since {
            form = form.with("created[gte]", &(since.get() / 1_000).to_string());
        }
        if let Some(PageMark(after)) = &after {
            form = form.with("starting_after", after);
        }
        let page: Result<StripePage<Intent>, _> = self.api.get("/v1/payment_intents", form).await;
        let page = page.map_err(|verdict| verdict.trouble())?;
        let last = page.data.last().map(|it| PageMark(it.id.to_string()));
        Ok(ChargePage {
            charges: page.data.iter().filter_map(intent::charged).collect(),
            next: last.filter(|_| page.has_more),
        })
    }
}

impl fmt::Debug for Stripe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn amounts(&self, currency: Currency) -> Option<AmountRule> {
        amounts::rule(currency)
    }

    fn keep_time(&self, time: CoreTime) {
        self.api.keep_time(time);
    }

    fn turn(&self, call: GatewayCall) -> Option<Calling<'_, Result<(), Trouble>>> {
        Some(Box::pin(self.api.pacer().turn(call)))
    }

    fn waiting(&self) -> Option<WaitingCalls> {
        Some(self.api.pacer().waiting())
    }

    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>> {
        Box::pin(flow::authorize(&self.api, order))
    }

    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>> {
        Box::pin(flow::capture(&self.api, claim))
    }

    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>> {
        Box::pin(flow::void(&self.api, claim))
    }

    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>> {
        Box::pin(async move { refunds::refund(&self.api, &refund).await })
    }

    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>> {
        Box::pin(flow::look_up(&self.api, inquiry))
    }

    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>> {
        Box::pin(async move { refunds::look_up(&self.api, &refund).await })
    }

    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>> {
        Box::pin(self.page(None, after))
    }

    fn list_since(
        &self,
        since: UnixMs,
        after: Option<PageMark>,
    ) -> Calling<'_, Result<ChargePage, Trouble>> {
        Box::pin(self.page(Some(since), after))
    }
}
