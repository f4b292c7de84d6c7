//! Webhooks against the real binary: each event counts once, across a crash and from everywhere at
//! the same time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::signing::{
    Own, SECRETS, bought, event, event_of, id_of, now_s, standard, start, status_of, tell, word,
};
use support::{ADMIN, Request, Setup};

#[test]
fn an_accepted_webhook_is_known_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let setup = || Setup::demo().config(SECRETS).data_dir(dir.path());
    let mut server = setup().start();
    let purchase = bought(&server, "ana");
    let first = Own::new("n-1", &event_of(&purchase, "e-1")).request();
    assert_eq!(tell(&server, &first), "processed");
    // Once from a snapshot and once from the log behind it.
    let snapshot = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(snapshot.status, 200);
    let body = event("e-2", "dispute.opened", id_of(&purchase), 0);
    let second = Own::new("n-2", &body).request();
    assert_eq!(tell(&server, &second), "processed");
    let now = now_s();
    let third = standard("msg_3", now, &event_of(&purchase, "unused"));
    assert_eq!(tell(&server, &third), "processed");
    for _ in 0..2 {
        server.kill();
        server = setup().start();
        assert_eq!(tell(&server, &first), "409 replayed_nonce");
        assert_eq!(tell(&server, &second), "409 replayed_nonce");
        assert_eq!(tell(&server, &third), "duplicate");
    }
    for (nonce, id) in [("n-3", "e-1"), ("n-4", "e-2"), ("n-5", "msg_3")] {
        let again = Own::new(nonce, &event_of(&purchase, id)).request();
        assert_eq!(tell(&server, &again), "duplicate", "{id}");
    }
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
}

/// 2,500 events, each delivered four times under nonces of their own, from 16 connections.
#[test]
fn of_ten_thousand_deliveries_in_parallel_each_event_is_processed_once() {
    const EVENTS: usize = 2_500;
    const DELIVERIES: usize = 4 * EVENTS;
    let server = start();
    let purchase = bought(&server, "ana");
    let next = AtomicUsize::new(0);
    let told: Mutex<BTreeMap<usize, Vec<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.connect();
                loop {
                    let delivery = next.fetch_add(1, Ordering::Relaxed);
                    if delivery >= DELIVERIES {
                        return;
                    }
                    // Neighbours are deliveries of one event, so that they meet.
                    let number = delivery / 4;
                    let body = event_of(&purchase, &format!("e-{number}"));
                    let own = Own::new(&format!("n-{delivery}"), &body);
                    let word = word(&client.ask(&own.request()));
                    told.lock().unwrap().entry(number).or_default().push(word);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), EVENTS);
    for (number, mut words) in told {
        words.sort();
        assert_eq!(
            words,
            ["duplicate", "duplicate", "duplicate", "processed"],
            "{number}"
        );
    }
}
