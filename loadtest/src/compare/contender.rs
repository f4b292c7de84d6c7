//! The contenders: how each is started and measured.
//!
//! To add a peer: a variant, its name and label, and an arm in `measure`. A peer over HTTP needs
//! only a command that serves `POST /limited/holds`; one without HTTP measures itself, as
//! `postgres` does, which gives it an advantage.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Figures, Measure, PRODUCTS_A_MEASURE, PRODUCTS_MAX, Setup, postgres};
use crate::admin::{Offer, STOCK_MAX, put_product};
use crate::drive::{measure, run_number};
use crate::error::{During as _, Fault};
use crate::fdatasync;
use crate::http::Target;
use crate::http::client::Client;
use crate::http::request::Whence;
use crate::process::{self, Server};
use crate::workload::{CARD_OK, Flow, Plan};

const SHOP_KEY: &str = "demo-shop-key";
const ADMIN_KEY: &str = "demo-admin-key";
/// Above what any of the random buyers can reach.
const PER_USER_LIMIT: u32 = 1_000;
/// So large a space that a buyer hardly ever meets the rate limit.
const BUYERS: u64 = 50_000_000;
const SOLD_OUT: &str = "gone";

/// One row of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Raw hyper, no work.
    Ceiling,
    /// Raw hyper and a log.
    Bare,
    /// Raw hyper and a Redis script, AOF always.
    Redis,
    /// A Postgres function on one hot row, without HTTP.
    Postgres,
    /// The disk.
    Fdatasync,
    /// holdfast, `POST /limited/holds`.
    Hold,
    /// holdfast, `POST /limited/buy`.
    Buy,
    /// holdfast, `POST /limited/buy`, receipts signed when they are read.
    BuyUnsigned,
    /// holdfast, holds on a product that is sold out.
    SoldOut,
}

use Contender::{Bare, Buy, BuyUnsigned, Ceiling, Fdatasync, Hold, Postgres, Redis, SoldOut};

/// In the order of measuring and of the table.
const ALL: [Contender; 9] = [
    Ceiling,
    Bare,
    Fdatasync,
    Hold,
    Buy,
    BuyUnsigned,
    SoldOut,
    Redis,
    Postgres,
];

/// All contenders but those named in `skip`, and but holdfast where there is none.
pub(crate) fn all(skip: &[String], holdfast: bool) -> Vec<Contender> {
    let wanted =
        |c: &Contender| (holdfast || !c.is_holdfast()) && !skip.iter().any(|s| s == c.name());
    ALL.into_iter().filter(wanted).collect()
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ceiling => "hyper ceiling",
            Bare => "bare durable server",
            Redis => "hyper + Redis Lua, AOF always",
            Postgres => "PostgreSQL function, one hot row",
            Fdatasync => "fdatasync 4 KiB",
            Hold => "holdfast hold",
            Buy => "holdfast buy",
            BuyUnsigned => "holdfast buy, signed when read",
            SoldOut => "holdfast sold-out refusal",
        })
    }
}

impl Contender {
    /// Whether it is holdfast, and not a limit or a peer.
    pub(super) fn is_holdfast(self) -> bool {
        matches!(self, Hold | Buy | BuyUnsigned | SoldOut)
    }

    /// Its name on the command line and in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ceiling => "ceiling",
            Bare => "bare",
            Redis => "redis",
            Postgres => "postgres",
            Fdatasync => "fdatasync",
            Hold => "hold",
            Buy => "buy",
            BuyUnsigned => "buy-unsigned",
            SoldOut => "sold-out",
        }
    }

    /// Starts it, measures it in all ways, and stops it.
    pub(super) fn measure(
        self,
        setup: &Setup,
        note: &mut dyn FnMut(Measure, Figures),
    ) -> Result<(), Fault> {
        let what = || format!("make a directory in {}", setup.dir.display());
        let dir = tempfile::tempdir_in(&setup.dir).during(what)?;
        match self {
            Fdatasync => {
                let syncs = fdatasync::measure(dir.path(), setup.measured)?;
                note(
                    Measure::Alone,
                    Figures::of_latencies(&syncs.latencies, syncs.rate),
                );
                Ok(())
            }
            Postgres => postgres::measure(dir.path(), setup, note),
            Ceiling => yardstick("serve-ceiling", &[], setup, note),
            Bare => {
                let dir = dir.path().to_string_lossy();
                yardstick("serve-bare", &["--dir", &dir], setup, note)
            }
            Redis => {
                let (_redis, url) = redis(dir.path())?;
                yardstick("serve-redis", &["--redis", &url], setup, note)
            }
            Hold | Buy | BuyUnsigned | SoldOut => self.holdfast(dir.path(), setup, note),
        }
    }

    fn holdfast(
        self,
        dir: &Path,
        setup: &Setup,
        note: &mut dyn FnMut(Measure, Figures),
    ) -> Result<(), Fault> {
        let Some(binary) = &setup.holdfast else {
            return Ok(());
        };
        let addr = process::free_address()?;
        let target = Target::at(addr);
        let mut command = Command::new(binary);
        command
            .args(["serve", "--demo", "--listen", &target.host, "--data-dir"])
            .arg(dir.join("data"));
        if self == BuyUnsigned {
            command.env("HOLDFAST_RECEIPTS__SIGN", "when_read");
        }
        let mut server = Server::start("holdfast", command, &dir.join("holdfast.log"))?;
        server.wait_until(|| {
            let answer = Client::new(&target, SHOP_KEY).get("/readyz");
            answer.is_ok_and(|a| a.status == 200)
        })?;
        let mut admin = Client::new(&target, ADMIN_KEY);
        let offer = |stock| Offer {
            stock,
            per_user_limit: PER_USER_LIMIT,
            hold_ttl_s: None,
        };
        for n in 0..PRODUCTS_MAX {
            put_product(&mut admin, &product(n), offer(STOCK_MAX))?;
        }
        if self == SoldOut {
            put_product(&mut admin, SOLD_OUT, offer(1))?;
            sell_out(&target)?;
        }
        let (flow, kind) = match self {
            Buy | BuyUnsigned => (Flow::Buy, "201"),
            SoldOut => (Flow::Hold, "409 sold_out"),
            _ => (Flow::Hold, "201"),
        };
        self.drive(&target, flow, kind, setup, note)
    }

    fn drive(
        self,
        target: &Target,
        flow: Flow,
        kind: &str,
        setup: &Setup,
        note: &mut dyn FnMut(Measure, Figures),
    ) -> Result<(), Fault> {
        for (n, way) in setup.measures.iter().enumerate() {
            let first = n * PRODUCTS_A_MEASURE % PRODUCTS_MAX;
            let products = match self {
                SoldOut => vec![SOLD_OUT.to_owned()],
                _ => (first..first + PRODUCTS_A_MEASURE).map(product).collect(),
            };
            let plan = Plan {
                flow,
                key: SHOP_KEY.to_owned(),
                products,
                spread: false,
                buyers: BUYERS,
                whence: Whence::Unsaid,
                currency: "USD".to_owned(),
                run: run_number(),
            };
            let summary = measure(target, &plan, setup.load(*way), &mut |_| {})?;
            note(*way, Figures::of(&summary, kind));
        }
        Ok(())
    }
}

/// Starts one of this program's own servers and drives it.
fn yardstick(
    subcommand: &str,
    more: &[&str],
    setup: &Setup,
    note: &mut dyn FnMut(Measure, Figures),
) -> Result<(), Fault> {
    let own = std::env::current_exe().during(|| "find this program".to_owned())?;
    let target = Target::at(process::free_address()?);
    let mut command = Command::new(own);
    command
        .args([subcommand, "--until-stdin-closes", "--listen", &target.host])
        .args(more);
    let log = setup.dir.join(format!("{subcommand}.log"));
    let mut server = Server::start(subcommand, command, &log)?;
    server.wait_until(|| Client::new(&target, SHOP_KEY).get("/readyz").is_ok())?;
    Ceiling.drive(&target, Flow::Hold, "201", setup, note)
}

/// A private Redis that syncs its log before every answer.
fn redis(dir: &Path) -> Result<(Server, String), Fault> {
    let program = process::find("redis-server", &[], "apt-get install redis-server")?;
    let addr = process::free_address()?;
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
        .args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ])
        .arg("--dir")
        .arg(dir);
    let mut server = Server::start("redis-server", command, &dir.join("redis.log"))?;
    let connects = || std::net::TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok();
    server.wait_until(connects)?;
    Ok((server, format!("redis://{addr}")))
}

fn sell_out(target: &Target) -> Result<(), Fault> {
    let body = serde_json::json!({
        "user_id": "first", "product_id": SOLD_OUT, "quantity": 1, "currency": "USD", "card_token": CARD_OK,
    });
    let mut shop = Client::new(target, SHOP_KEY);
    let answer = shop.send("POST", "/limited/buy", Some("the-only-unit"), Some(&body))?;
    if answer.status == 201 {
        return Ok(());
    }
    Err(Fault::Refused {
        request: "POST /limited/buy".to_owned(),
        status: answer.status,
        body: answer.text(),
    })
}

fn product(n: usize) -> String {
    format!("p-{n}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_left_out_and_holdfast_only_runs_if_given() {
        let names = |skip: &[&str], holdfast| -> Vec<&str> {
            let skip: Vec<_> = skip.iter().map(ToString::to_string).collect();
            all(&skip, holdfast)
                .into_iter()
                .map(Contender::name)
                .collect()
        };
        assert_eq!(
            names(&["redis", "postgres"], false),
            ["ceiling", "bare", "fdatasync"]
        );
        assert_eq!(names(&[], true).len(), ALL.len());
    }
}
