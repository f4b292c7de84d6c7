//! `loadtest drive`: load on one server, in an open or a closed loop, and the figures of it.
//!
//! `measure` does the whole run for other commands, which need a server that stays; `command` goes on
//! through a restart, and adds product set-up, the progress line, the report and the files. Threads share nothing but the channel for their slices.

use std::fs;
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admin::{Offer, put_product};
use crate::cli::DriveArgs;
use crate::error::{During as _, Fault};
use crate::generator::{Ending, Generator, Pace, SLICE, Span};
use crate::http::Target;
use crate::http::client::Client;
use crate::http::request::Whence;
use crate::progress::Progress;
use crate::report::mostly_refused;
use crate::schedule::Share;
use crate::stats::Summary;
use crate::workload::{Plan, Workload};
use crate::{svg, terminal};

/// How hard to press.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Requests a second of an open loop; `None` for a closed one.
    pub(crate) rate: Option<NonZeroU32>,
    /// Connections over all threads.
    pub(crate) connections: usize,
    /// Generating threads.
    pub(crate) threads: u8,
    /// Warm-up and measured time.
    pub(crate) span: Span,
}

/// Runs `drive` as asked on the command line.
pub(crate) fn command(args: &DriveArgs) -> Result<(), Fault> {
    let target = Target::parse(&args.url)?;
    let plan = plan(args);
    if let Some(stock) = args.stock {
        let mut admin = Client::new(&target, &args.admin_key);
        let offer = Offer {
            stock,
            per_user_limit: args.per_user_limit,
            hold_ttl_s: args.hold_ttl,
        };
        for product in &plan.products {
            put_product(&mut admin, product, offer)?;
        }
    }
    let load = Load {
        rate: args.rate,
        connections: args.connections,
        threads: args.threads,
        span: Span {
            warmup: Duration::from_secs_f64(args.warmup),
            measured: Duration::from_secs_f64(args.duration),
        },
    };
    let title = title(args, load);
    let mut progress = Progress::new(&title, load.span.warmup + load.span.measured);
    let (summary, ending) = endure(&target, &plan, load, &mut |summary| progress.show(summary))?;
    progress.finish();
    print!("{}", terminal::report(&title, &summary));
    if let Some(path) = &args.svg {
        fs::write(path, svg::render(&title, &summary))
            .during(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", summary.json());
        fs::write(path, text).during(|| format!("write {}", path.display()))?;
    }
    if ending == Ending::Gone {
        return Err(Fault::ServerGone { addr: target.addr });
    }
    match mostly_refused(&summary.total.outcomes).filter(|_| !args.expect_refusals) {
        None => Ok(()),
        Some(refused) => Err(Fault::NotMet {
            what: format!("{refused}; --expect-refusals takes this as meant"),
        }),
    }
}

/// Drives `target` and counts; `on_slice` sees the summary grow a few times a second. A server that is gone at the end
/// is a fault.
pub(crate) fn measure(
    target: &Target,
    plan: &Plan,
    load: Load,
    on_slice: &mut dyn FnMut(&Summary),
) -> Result<Summary, Fault> {
    match endure(target, plan, load, on_slice)? {
        (summary, Ending::Connected) => Ok(summary),
        (_, Ending::Gone) => Err(Fault::ServerGone { addr: target.addr }),
    }
}

/// The same, whatever becomes of the server.
fn endure(
    target: &Target,
    plan: &Plan,
    load: Load,
    on_slice: &mut dyn FnMut(&Summary),
) -> Result<(Summary, Ending), Fault> {
    let threads = load.threads.max(1);
    let mut generators = Vec::new();
    for thread in 0..threads {
        let workload = Workload::new(target, plan, thread, threads);
        let pace = match load.rate {
            None => Pace::Closed,
            Some(rate) => Pace::Open {
                rate,
                share: Share {
                    index: thread.into(),
                    of: threads.into(),
                },
            },
        };
        let share = share(load.connections, thread, threads);
        generators.push(Generator::connect(
            target.addr,
            share,
            workload,
            pace,
            load.span,
        )?);
    }
    let (to, from) = mpsc::channel();
    let mut summary = Summary::new(load.span.measured, SLICE);
    std::thread::scope(|scope| {
        let running: Vec<_> = generators
            .into_iter()
            .map(|generator| {
                let to = to.clone();
                scope.spawn(move || generator.run(&to))
            })
            .collect();
        drop(to);
        for slice in from {
            summary.add(slice);
            on_slice(&summary);
        }
        let mut ending = Ending::Gone;
        for thread in running {
            // A panic in a generator is a bug of the harness: let it through with its own message.
            let one = thread
                .join()
                .unwrap_or_else(|bug| std::panic::resume_unwind(bug))?;
            if one == Ending::Connected {
                ending = one;
            }
        }
        Ok((summary, ending))
    })
}

/// A number unlike that of any other run, so that idempotency keys never meet.
pub(crate) fn run_number() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let nanos = now.map_or(0, |d| d.subsec_nanos());
    let seconds = now.map_or(0, |d| d.as_secs());
    let bytes = seconds.to_le_bytes();
    let seconds = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    // The process id tells two runs of one instant apart.
    nanos.rotate_left(2) ^ seconds.reverse_bits() ^ std::process::id().rotate_left(16)
}

/// How many of `all` connections thread number `thread` opens; every thread has at least one.
fn share(all: usize, thread: u8, threads: u8) -> usize {
    let (all, thread, threads) = (all, usize::from(thread), usize::from(threads));
    (all / threads + usize::from(thread < all % threads)).max(1)
}

fn plan(args: &DriveArgs) -> Plan {
    let products = match args.products {
        1 => vec![args.product.clone()],
        n => (0..n).map(|k| format!("{}-{k}", args.product)).collect(),
    };
    Plan {
        flow: args.flow,
        key: args.key.clone(),
        products,
        spread: args.spread,
        buyers: args.buyers,
        whence: Whence::Unsaid,
        currency: args.currency.clone(),
        run: run_number(),
    }
}

fn title(args: &DriveArgs, load: Load) -> String {
    let flow = format!("{:?}", args.flow).to_lowercase();
    let pace = match load.rate {
        Some(rate) => format!("open loop at {rate}/s"),
        None => "closed loop".to_owned(),
    };
    format!(
        "{flow}, {pace}, {} connections, {}",
        load.connections, args.url
    )
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn connections_are_shared_out_whole() {
        let sum = |all, threads| (0..threads).map(|t| share(all, t, threads)).sum::<usize>();
        assert_eq!(sum(64, 3), 64);
        assert_eq!(sum(2, 2), 2);
        assert_eq!(share(1, 1, 2), 1, "no thread is left without a connection");
    }
}
