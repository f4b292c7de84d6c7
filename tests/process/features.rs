//! A build that lacks a sink or the import refuses what names it, and says which cargo feature brings it.
//!
//! ```text
//! cargo test --no-default-features --test process features
//! ```

use super::config::refusal_of;
use support::binary;

fn said(arguments: &[&str]) -> (Option<i32>, String) {
    let output = binary().args(arguments).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("it writes text");
    (output.status.code(), said)
}

#[test]
#[cfg(not(feature = "kafka"))]
fn kafka_is_refused_in_the_configuration() {
    let said = refusal_of("[report.kafka]\nbrokers = [\"127.0.0.1:9092\"]\ntopic = \"events\"");
    assert_eq!(
        said,
        "the configuration key `report.kafka` is set up, but this program was built without it; build it \
         with the cargo feature `kafka`, or remove [report.kafka]"
    );
}

#[test]
#[cfg(not(feature = "otlp"))]
fn a_collector_is_refused_in_the_configuration() {
    let said = refusal_of("[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"");
    assert_eq!(
        said,
        "the configuration key `telemetry.otlp_endpoint` is set up, but this program was built without it; \
         build it with the cargo feature `otlp`, or remove it"
    );
}

#[test]
#[cfg(not(feature = "postgres"))]
fn postgres_is_refused_in_the_configuration_and_its_schema_is_not_printed() {
    let url = "postgres://shop@127.0.0.1/shop";
    let said_of_it = refusal_of(&format!("[report.postgres]\nurl = \"{url}\""));
    assert_eq!(
        said_of_it,
        "the configuration key `report.postgres` is set up, but this program was built without it; build it \
         with the cargo feature `postgres`, or remove [report.postgres]"
    );
    let (status, why) = said(&["schema", "postgres"]);
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains("the cargo feature `postgres`"), "{why}");
}

#[test]
#[cfg(not(feature = "redis-import"))]
fn the_import_from_redis_is_refused() {
    let (status, why) = said(&["import", "redis", "--url", "redis://127.0.0.1:6379"]);
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains("the cargo feature `redis-import`"), "{why}");
}
