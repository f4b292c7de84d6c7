//! A disk that fails under the running process: nothing more is acknowledged, whoever waits is
//! told, the process says why and stops, and what was answered before is there again afterwards.

mod support;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::{Request, Server, Setup};

#[test]
fn a_failed_write_stops_the_process_and_loses_nothing_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Setup::demo().data_dir(directory.path()).start();
    let answered = Request::hold("ana", "drop-1", 1, "before-the-fault");
    let before = server.ask(&answered);
    assert_eq!(before.status, 201, "{before:?}");

    fail_writes(&server);
    let mut connection = server.connect();
    let lost = connection.ask(&Request::hold("bo", "drop-1", 1, "into-the-fault"));
    assert_eq!(
        (lost.status, lost.reason().as_str()),
        (503, "storage_unavailable"),
        "{lost:?}"
    );

    let status = server.wait();
    assert_eq!(status.code(), Some(1), "the work failed");
    let log = server.log.lines().join("\n");
    for word in ["log_stopped", "write failed on", "look at the disk"] {
        assert!(log.contains(word), "the log does not say `{word}`:\n{log}");
    }

    let server = Setup::demo().data_dir(directory.path()).start();
    let again = server.ask(&answered);
    assert_eq!(
        (again.status, &again.body),
        (201, &before.body),
        "the answered hold is there"
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(
        server.stock("drop-1"),
        [100, 1, 0, 99],
        "the unanswered one is not"
    );
}

#[test]
fn a_nearly_full_disk_refuses_new_purchases_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let finished = Request::hold("bo", "drop-1", 1, "before-it-was-full");
    let server = Setup::demo().data_dir(directory.path()).start();
    let before = server.ask(&finished);
    assert_eq!(server.stop().0.code(), Some(0));

    let setup = Setup::demo().config("[storage]\ndisk_free_bytes_min = 1125899906842624");
    let server = setup.data_dir(directory.path()).start();
    let again = server.ask(&finished);
    assert_eq!(
        (again.status, again.body),
        (201, before.body),
        "a finished key is answered"
    );
    let refused = server.ask(&Request::hold("ana", "drop-1", 1, "on-a-full-disk"));
    let told = (refused.status, refused.reason());
    assert_eq!(told, (503, "storage_unavailable".to_owned()), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(server.ask(&Request::get("/readyz")).status, 503);
    assert_eq!(server.ask(&Request::get("/livez")).status, 200);
}

/// From now on the kernel fails every write of the process to a file.
fn fail_writes(server: &Server) {
    let pid = i32::try_from(server.pid()).unwrap();
    let none = Rlimit {
        current: Some(0),
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, none).unwrap();
}
