//! A Stripe gateway with the server that goes wrong on demand, and the way in which the saga calls.
use crate::stripe_calls::{claim, gateway, inquiry, order};
use holdfast::ids::AuthorizationId;
use holdfast::payments::gateway::{Authorization, CallClass, CallResult, Gateway, LookupResult};
use holdfast::payments::stripe::Stripe;
use std::future::Future;
use std::time::Duration;
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::until;
use tokio::runtime::Runtime;

/// As long as the driver would wait for one call.
const ATTEMPT: Duration = Duration::from_millis(150);

/// A gateway with its server.
pub struct Stage {
    pub server: StripeServer,
    pub stripe: Stripe,
    pub runtime: Runtime,
}

impl Stage {
    pub fn new() -> Self {
        let server = StripeServer::start();
        let stripe = gateway(&server.base(), SECRET_KEY);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            server,
            stripe,
            runtime,
        }
    }

    pub fn run<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// What a call is answered while it may take; `None`: it is given up.
    pub fn attempt<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        self.run(async { tokio::time::timeout(ATTEMPT, call).await.ok() })
    }

    pub fn authorized(&self, number: u64) -> Authorization {
        match self.run(self.stripe.authorize(order(number, "pm_card_visa"))) {
            CallResult::Approved(authorization) => authorization,
            other => panic!("{other:?}"),
        }
    }

    pub fn captured(&self, number: u64) -> Authorization {
        let authorization = self.authorized(number);
        let answer = self.run(self.stripe.capture(claim(number, Some(&authorization.id))));
        assert_eq!(answer.class(), CallClass::Approved, "{answer:?}");
        authorization
    }

    /// Looks up until there is an answer, as the saga does when in doubt.
    pub fn look_up(&self, number: u64, authorization: Option<&AuthorizationId>) -> LookupResult {
        until("a look-up is answered", || {
            self.attempt(self.stripe.look_up(inquiry(number, authorization)))?
                .ok()
        })
    }

    /// Does what `send` says until the gateway has what `done` wants; in doubt, it looks first.
    pub fn to_the_end<T>(
        &self,
        authorization: Option<&AuthorizationId>,
        mut send: impl FnMut() -> Option<CallResult<T>>,
        done: impl Fn(&LookupResult) -> bool,
    ) -> Vec<CallClass> {
        let mut classes = Vec::new();
        for _ in 0..40 {
            let class = send().map_or(CallClass::Unknown, |answer| answer.class());
            classes.push(class);
            match class {
                CallClass::Approved | CallClass::Declined => {
                    let found = self.look_up(1, authorization);
                    assert!(done(&found), "{classes:?}: {found:?}");
                    return classes;
                }
                CallClass::Retriable => {}
                CallClass::Unknown => {
                    if done(&self.look_up(1, authorization)) {
                        return classes;
                    }
                }
            }
        }
        panic!("it does not end: {classes:?}");
    }
}
