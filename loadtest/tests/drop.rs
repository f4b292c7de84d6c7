//! Tests of the drop checker: a correct shop passes, and each violation of the contract is found. `scenarios` has the tests
//! of `loadtest run`, which needs the same shop.

mod scenarios;
mod shop;

use std::process::{Command, Output};

use shop::Flaw;

fn drop(flaw: Flaw) -> Output {
    let url = format!("http://{}", shop::start(flaw));
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args([
            "drop",
            "--url",
            &url,
            "--buyers",
            "300",
            "--stock",
            "100",
            "--connections",
            "16",
        ])
        .args(["--hold-ttl", "1", "--settle", "2", "--seed", "7"])
        .output()
        .unwrap()
}

#[test]
fn an_honest_shop_passes_and_every_check_is_made() {
    let output = drop(Flaw::None);
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}\n{said}");
    assert!(errors.contains("100 of 100 units sold"), "{errors}");
    assert!(!said.contains("not met"), "{said}");
}

#[track_caller]
fn found(flaw: Flaw, invariant: &str) {
    let output = drop(flaw);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{flaw:?} was not found:\n{said}"
    );
    assert!(
        said.contains(&format!("VIOLATED {invariant}")),
        "{flaw:?} was found as\n{said}"
    );
}

#[test]
fn overselling_is_found() {
    found(Flaw::Oversells, "sold <= stock");
}

#[test]
fn forgotten_keys_are_found() {
    found(Flaw::ForgetsKeys, "same key, same request");
}

#[test]
fn unmarked_replays_are_found() {
    found(Flaw::HidesReplays, "same key, same request");
}

#[test]
fn lost_purchases_are_found() {
    found(Flaw::LosesPurchases, "every purchase answered 201");
}

#[test]
fn holds_that_never_end_are_found() {
    found(Flaw::KeepsHolds, "abandoned holds expire");
}

#[test]
fn an_ignored_user_limit_is_found() {
    found(Flaw::IgnoresUserLimit, "no buyer is above");
}

#[test]
fn leaking_units_are_found() {
    found(Flaw::LeaksUnits, "total = available");
}
