//! The lock-free parts under the model checker: every interleaving of a few operations.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p wal --release --test loom`; without that flag the
//! file is empty. The model's cells report any two accesses to a byte that are not ordered, so what is
//! asserted here comes on top of the absence of data races.
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use wal::Entry;
use wal::modelled::{Consumer, Doorbell, Durable, Refused, Ring, RingBatch};

/// Records of 32 bytes: one cell of header, one of payload.
const RECORD: usize = 32;

fn entry(payload: &[u8; 16]) -> Entry<'_> {
    Entry {
        kind: 1,
        version: 1,
        payload,
    }
}

/// Interleavings with more forced switches than this are left out where the full space is too large.
fn bounded(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

/// Takes until the ring is done; returns everything.
fn drain(consumer: &mut Consumer) -> Vec<u8> {
    let mut all = Vec::new();
    let mut out = [0; 4 * RECORD];
    loop {
        let RingBatch { first, bytes, .. } = consumer.take(&mut out);
        if bytes > 0 {
            assert_eq!(first, all.len() as u64, "no gap and no overlap");
            all.extend_from_slice(&out[..bytes]);
        } else if consumer.is_done() {
            return all;
        } else {
            consumer.wait(|| false);
        }
    }
}

/// The LSN and the payload's first byte of each record.
fn records(all: &[u8]) -> Vec<(u64, u8)> {
    let lsn = |r: &[u8]| u64::from_le_bytes(r[8..16].try_into().expect("eight bytes"));
    all.chunks(RECORD).map(|r| (lsn(r), r[16])).collect()
}

#[test]
fn two_appends_are_taken_whole_and_once() {
    bounded(3, || {
        let (ring, mut consumer) = Ring::new(4 * RECORD, 0);
        let appenders: Vec<_> = [1_u8, 2]
            .into_iter()
            .map(|n| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.append(&[entry(&[n; 16])], RECORD).expect("open"))
            })
            .collect();
        let mut places: Vec<_> = appenders.into_iter().map(|t| t.join().unwrap()).collect();
        ring.close();
        let all = records(&drain(&mut consumer));
        places.sort_unstable();
        assert_eq!(places, [(0, 32), (32, 64)]);
        assert_eq!(all.len(), 2);
        assert!(all[0].1 != all[1].1 && all[0].0 == 0 && all[1].0 == 32);
    });
}

/// The consumer runs, sleeps and is woken while appends come.
#[test]
fn a_sleeping_consumer_is_woken_by_every_append_it_stands_at() {
    bounded(3, || {
        let (ring, mut consumer) = Ring::new(4 * RECORD, 0);
        let taker = thread::spawn(move || records(&drain(&mut consumer)));
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.append(&[entry(&[1; 16])], RECORD).expect("open"))
        };
        ring.append(&[entry(&[2; 16])], RECORD).expect("open");
        other.join().unwrap();
        ring.close();
        let all = taker.join().unwrap();
        assert_eq!(all.iter().map(|r| r.1).sum::<u8>(), 3);
    });
}

#[test]
fn an_append_of_two_is_never_taken_half() {
    bounded(3, || {
        let (ring, mut consumer) = Ring::new(4 * RECORD, 0);
        let appender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.append(&[entry(&[1; 16]), entry(&[2; 16])], 2 * RECORD)
                    .expect("open");
            })
        };
        let mut out = [0; 4 * RECORD];
        let batch = consumer.take(&mut out);
        assert!(batch.bytes == 0 || (batch.bytes == 2 * RECORD && batch.records == 2));
        appender.join().unwrap();
    });
}

/// A ring of two records, three appends: somebody waits for room, across the wrap.
#[test]
fn a_full_ring_makes_appends_wait_and_lets_them_go() {
    bounded(2, || {
        let (ring, mut consumer) = Ring::new(2 * RECORD, 0);
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.append(&[entry(&[1; 16])], RECORD).expect("open"))
        };
        let taker = thread::spawn(move || records(&drain(&mut consumer)));
        ring.append(&[entry(&[2; 16])], RECORD).expect("open");
        ring.append(&[entry(&[4; 16])], RECORD).expect("open");
        other.join().unwrap();
        ring.close();
        let all = taker.join().unwrap();
        assert_eq!(all.iter().map(|r| r.1).sum::<u8>(), 7);
        assert_eq!(all.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 32, 64]);
    });
}

/// Closing races an append: it is either in, and then taken, or refused.
#[test]
fn an_append_is_in_or_refused_when_the_ring_closes() {
    bounded(3, || {
        let (ring, mut consumer) = Ring::new(4 * RECORD, 0);
        let appender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.append(&[entry(&[1; 16])], RECORD))
        };
        let closer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.close())
        };
        let all = drain(&mut consumer);
        closer.join().unwrap();
        match appender.join().unwrap() {
            Ok((0, 32)) => assert_eq!(records(&all), [(0, 1)]),
            Err(Refused::Closed) => assert!(all.is_empty()),
            other => panic!("{other:?}"),
        }
        assert_eq!(ring.reserved(), all.len() as u64);
    });
}

/// Stopping wakes an append that waits for room which will never come.
#[test]
fn stopping_lets_go_of_who_waits_for_room() {
    bounded(3, || {
        let (ring, _consumer) = Ring::new(RECORD, 0);
        ring.append(&[entry(&[1; 16])], RECORD).expect("open");
        let waiter = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.append(&[entry(&[2; 16])], RECORD))
        };
        ring.stop();
        assert_eq!(waiter.join().unwrap(), Err(Refused::Stopped));
    });
}

/// Commit wake-up: a waiter is woken by the commit that covers it, whatever the order.
#[test]
fn a_waiter_is_woken_by_its_commit() {
    loom::model(|| {
        let durable = Arc::new(Durable::new(0));
        let waiter = {
            let durable = Arc::clone(&durable);
            thread::spawn(move || assert!(durable.wait(64)))
        };
        durable.publish(32);
        durable.publish(64);
        waiter.join().unwrap();
    });
}

#[test]
fn two_waiters_are_woken_by_one_commit_or_by_the_end() {
    bounded(3, || {
        let durable = Arc::new(Durable::new(0));
        let wait = |position| {
            let durable = Arc::clone(&durable);
            thread::spawn(move || durable.wait(position))
        };
        let (near, far) = (wait(32), wait(64));
        durable.publish(32);
        durable.stop();
        assert!(near.join().unwrap(), "it was durable before the end");
        assert!(!far.join().unwrap(), "it never will be");
    });
}

#[test]
fn a_doorbell_loses_no_ring() {
    loom::model(|| {
        let door = Arc::new((
            Doorbell::new(),
            AtomicBool::new(false),
            AtomicBool::new(false),
        ));
        let sleeper = {
            let door = Arc::clone(&door);
            thread::spawn(move || {
                door.0.wait_until(|| {
                    door.1.load(Ordering::Acquire) && door.2.load(Ordering::Acquire)
                });
            })
        };
        let other = {
            let door = Arc::clone(&door);
            thread::spawn(move || {
                door.1.store(true, Ordering::Release);
                door.0.ring();
            })
        };
        door.2.store(true, Ordering::Release);
        door.0.ring();
        other.join().unwrap();
        sleeper.join().unwrap();
    });
}
