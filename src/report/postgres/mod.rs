//! The PostgreSQL sink: every event as rows of the schema `holdfast`, exactly once.
//!
//! `convert` makes rows, `deliver` writes them with the cursor in one transaction, `fault`
//! classifies errors, `history` takes back what the log has lost; `rows` and `encode` are the rows' shapes, `schema` the migrations,
//! `connect` connections and TLS; `segments` computes segments of buyers there.
//! `docs/reporting.md` explains the tables.

mod attempts;
mod connect;
mod convert;
mod deliver;
mod encode;
mod fault;
mod history;
mod rows;
mod schema;
pub mod segments;
mod settings;

use super::feed::sink::{Batching, Kept, Sink};
use crate::journal::Journal;
use crate::receipts::Sealer;
use std::sync::Arc;

pub use convert::ToRows;
pub use deliver::Writer;
pub use fault::PostgresError;
pub use rows::Rows;
pub use schema::{is_url, script};
pub use settings::{Migrate, PostgresSettings};

/// The sink's name.
pub const NAME: &str = "postgres";

/// Reads the certificates that `settings` names, as connecting does. Nobody is asked.
pub fn check(settings: &PostgresSettings) -> Result<(), PostgresError> {
    connect::tls_config(settings.ca_file.as_deref()).map(drop)
}

/// The sink. It shows purchases as `journal` knows them, with receipts as `sealer` seals them.
pub fn sink(
    settings: PostgresSettings,
    batching: Batching,
    journal: Arc<Journal>,
    sealer: Sealer,
) -> Sink<ToRows, Writer> {
    Sink {
        name: NAME,
        convert: ToRows::new(journal, sealer),
        deliver: Writer::new(settings),
        cursor: Kept::InSink,
        batching,
    }
}
