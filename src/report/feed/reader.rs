//! Owns reading for one sink: a thread that follows the log, converts, and gathers batches, one
//! ahead of the one that is being delivered.
//!
//! Invariant: it holds at most the batch it gathers and the one that waits for delivery; it ends
//! when the sink ends.

use super::sink::{Batching, Convert, Fed, Placed, Unfit};
use crate::ids::Lsn;
use crate::journal::{Cursor, Feed, JournalError, Next};
use crate::time::UnixMs;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The first sleep before the reader looks for more. It polls, so that the log thread never has to
/// wake a thread for a sink.
const POLL_FIRST: Duration = Duration::from_millis(1);
const POLL_MAX: Duration = Duration::from_millis(16);

/// A batch that the reader gathered.
#[derive(Debug)]
pub(super) struct Gathered<I> {
    /// The cursor before the batch.
    pub from: Lsn,
    /// The cursor after the batch.
    pub to: Cursor,
    /// The time of the first event.
    pub first_at: UnixMs,
    /// Number of events, including those that the sink does not use.
    pub events: usize,
    /// The converted items.
    pub items: Vec<Placed<I>>,
    /// Events that cannot be converted.
    pub unfit: Vec<(Fed, Unfit)>,
}

/// What the reader passes to the sink.
pub(super) type Read<I> = Result<Gathered<I>, JournalError>;

/// Starts reading.
pub(super) fn start<C: Convert>(
    name: &'static str,
    feed: Feed,
    convert: Arc<Mutex<C>>,
    batching: Batching,
) -> std::io::Result<mpsc::Receiver<Read<C::Item>>> {
    let (out, taken) = mpsc::channel(1);
    thread::Builder::new()
        .name(format!("feed-{name}"))
        .spawn(move || read(feed, &convert, batching, &out))?;
    Ok(taken)
}

fn read<C: Convert>(
    mut feed: Feed,
    convert: &Mutex<C>,
    batching: Batching,
    out: &mpsc::Sender<Read<C::Item>>,
) {
    loop {
        let gathered = gather(&mut feed, convert, batching, out);
        let ended = matches!(gathered, Ok(None) | Err(_));
        if let Some(read) = gathered.transpose()
            && out.blocking_send(read).is_err()
        {
            return;
        }
        if ended {
            return;
        }
    }
}

/// Gathers a batch; `None` when the sink has ended.
fn gather<C: Convert>(
    feed: &mut Feed,
    convert: &Mutex<C>,
    batching: Batching,
    out: &mpsc::Sender<Read<C::Item>>,
) -> Result<Option<Gathered<C::Item>>, JournalError> {
    let mut batch = Gathered {
        from: feed.position(),
        to: feed.cursor(),
        first_at: UnixMs::default(),
        events: 0,
        items: Vec::new(),
        unfit: Vec::new(),
    };
    let (mut bytes, mut sleep) = (0, POLL_FIRST);
    let mut began = Instant::now();
    while batch.events < batching.events_max && bytes < batching.bytes_max {
        let Next::Event(entry, end) = feed.next()? else {
            let wait = Duration::from_millis(batching.wait_ms);
            if batch.events > 0 && began.elapsed() >= wait {
                break;
            }
            if out.is_closed() {
                return Ok(None);
            }
            thread::sleep(sleep);
            sleep = (sleep * 2).min(POLL_MAX);
            continue;
        };
        if batch.events == 0 {
            batch.first_at = entry.at;
            began = Instant::now();
        }
        sleep = POLL_FIRST;
        batch.events += 1;
        let event = Fed { entry, end };
        match convert.lock().convert(&event) {
            Ok(Some(item)) => {
                bytes += C::bytes(&item);
                batch.items.push(Placed {
                    lsn: event.entry.lsn,
                    end,
                    chain: Some(feed.chain()),
                    item,
                });
            }
            Ok(None) => {}
            Err(unfit) => batch.unfit.push((event, unfit)),
        }
    }
    batch.to = feed.cursor();
    Ok(Some(batch))
}
