//! The products of a run: put on sale before it, read after it.
//!
//! 1. Without `products.id` every run has products of its own, so that what is sold can be compared with what was on sale.
//! 2. Oversold units are counted from outside, twice: purchases answered beyond the stock, and a stock that does not add up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::Setup;
use super::origin::Origin;
use super::pool::{Answer, Ask, Pool};
use crate::error::{During as _, Fault};
use crate::scenario::file::Products;

/// Between the set-up and the first request of a run whose sale opens later: putting a product on sale takes a while.
const LEAD: Duration = Duration::from_millis(500);
const LEAD_A_PRODUCT: Duration = Duration::from_millis(2);
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Reading and putting on sale can be repeated: a connection may have been closed during the run.
const TRIES: usize = 3;

/// The product ids of a run.
pub(crate) fn ids(products: &Products, run: u32) -> Vec<String> {
    match (&products.id, products.count.get()) {
        (Some(id), 1) => vec![id.0.clone()],
        (Some(id), count) => (0..count).map(|n| format!("{}-{n}", id.0)).collect(),
        (None, count) => (0..count).map(|n| format!("lt-{run:08x}-{n}")).collect(),
    }
}

/// The connection for set-up and reading.
pub(crate) struct Shop<'a> {
    runtime: tokio::runtime::Runtime,
    /// Where the connections live between two requests.
    local: LocalSet,
    buyer: Pool,
    admin: Pool,
    url: String,
    setup: &'a Setup,
}

impl<'a> Shop<'a> {
    pub(crate) fn new(
        origin: &Origin,
        key: &str,
        admin_key: &str,
        setup: &'a Setup,
    ) -> Result<Self, Fault> {
        let usage = |why| Fault::Usage { why };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .during(|| "start a runtime".to_owned())?;
        Ok(Self {
            runtime,
            local: LocalSet::new(),
            buyer: Pool::new(origin.clone(), key, 1, 1).map_err(usage)?,
            admin: Pool::new(origin.clone(), admin_key, 1, 1).map_err(usage)?,
            url: format!("{}://{}", origin.scheme(), origin.authority),
            setup,
        })
    }

    /// Puts the products on sale, or looks whether they are there; says when the first request is due.
    pub(crate) fn open(&self) -> Result<Instant, Fault> {
        let products = &self.setup.scenario.products;
        if products.id.is_some() {
            self.check_given()?;
            return Ok(Instant::now());
        }
        let mut begin = Instant::now();
        let opens_after = products.opens_after_s.map(|s| s.0);
        let starts_at = opens_after.map(|after| {
            let count = u32::try_from(self.setup.products.len()).unwrap_or(u32::MAX);
            let lead = LEAD + LEAD_A_PRODUCT.saturating_mul(count);
            begin += lead;
            let ahead = jiff::SignedDuration::try_from(lead + after).unwrap_or_default();
            format!("{:.3}", jiff::Timestamp::now() + ahead)
        });
        let body = self.offer(starts_at.as_deref());
        for product in &self.setup.products {
            let path = format!("/admin/products/{product}");
            let answer = self.send(&self.admin, Method::PUT, &path, &body)?;
            if !matches!(answer.status, 200 | 201) {
                return Err(refused(&Method::PUT, &path, &answer));
            }
        }
        std::thread::sleep(begin.saturating_duration_since(Instant::now()));
        Ok(begin.max(Instant::now()))
    }

    /// Units sold beyond the stock over all products; `None` if the server does not say.
    pub(crate) fn oversold(&self, bought: &[u64]) -> Option<u64> {
        let is_own = self.setup.scenario.products.id.is_none();
        let mut sum = 0;
        for (product, bought) in self.setup.products.iter().zip(bought) {
            let path = format!("/limited/products/{product}");
            let answer = self.send(&self.buyer, Method::GET, &path, "").ok()?;
            let read = serde_json::from_slice::<Value>(&answer.body).ok()?;
            let number = |name: &str| read["stock"][name].as_i64();
            let (total, sold, held) = (number("total")?, number("sold")?, number("held")?);
            // What the answers sold counts as well: a server could forget them.
            let sold = if is_own {
                sold.max(i64::try_from(*bought).unwrap_or(i64::MAX))
            } else {
                sold
            };
            sum += u64::try_from(sold + held - total).unwrap_or(0);
        }
        Some(sum)
    }

    fn check_given(&self) -> Result<(), Fault> {
        for product in &self.setup.products {
            let path = format!("/limited/products/{product}");
            let answer = self.send(&self.buyer, Method::GET, &path, "")?;
            if answer.status != 200 {
                return Err(refused(&Method::GET, &path, &answer));
            }
        }
        Ok(())
    }

    fn offer(&self, starts_at: Option<&str>) -> String {
        let products = &self.setup.scenario.products;
        let mut price = serde_json::Map::new();
        price.insert(products.currency.0.clone(), json!(1_999));
        let mut body = json!({
            "name": format!("load test {:08x}", self.setup.run),
            "price": price,
            "stock": products.stock.get(),
            "per_user_limit": products.per_user_limit.get(),
            "starts_at": starts_at.unwrap_or("2020-01-01T00:00:00.000Z"),
            "ends_at": "2099-01-01T00:00:00.000Z",
            "active": true,
        });
        if let Some(ttl) = products.hold_ttl_s {
            body["hold_ttl_s"] = json!(ttl.get());
        }
        body.to_string()
    }

    fn send(&self, pool: &Pool, method: Method, path: &str, body: &str) -> Result<Answer, Fault> {
        let ask = Ask {
            method,
            path: path.to_owned(),
            key: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let mut answer = Err("no answer in time");
        for _ in 0..TRIES {
            // The timer belongs to the runtime: it is made inside.
            let sent = async { tokio::time::timeout(ANSWER_WAIT_MAX, pool.send(&ask)).await };
            let sent = self.runtime.block_on(self.local.run_until(sent));
            answer = sent.map_or(Err("no answer in time"), |a| a.map_err(|why| why.0));
            if answer.is_ok() {
                break;
            }
        }
        answer.map_err(|why| Fault::Unreachable {
            request: format!("{} {path}", ask.method),
            url: self.url.clone(),
            why,
        })
    }
}

fn refused(method: &Method, path: &str, answer: &Answer) -> Fault {
    Fault::Refused {
        request: format!("{method} {path}"),
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    }
}
