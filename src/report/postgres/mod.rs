//! The PostgreSQL sink: every event as rows of the schema `holdfast`, exactly once.
//!
//! `convert` makes rows, with `post_capture` and the ledger's `bookings`; `deliver` writes them with the cursor in one transaction, `fault`
//! classifies errors, `history` takes back what the log has lost; `rows`, `tables` and `encode` are the rows'
//! shapes, `schema` the migrations, `connect` connections and TLS; `segments` computes segments of
//! buyers there. `docs/reporting.md` explains the tables.

#[cfg(feature = "postgres")]
mod attempts;
#[cfg(feature = "postgres")]
mod bookings;
#[cfg(feature = "postgres")]
mod connect;
#[cfg(feature = "postgres")]
mod convert;
#[cfg(feature = "postgres")]
mod deliver;
#[cfg(feature = "postgres")]
mod encode;
#[cfg(feature = "postgres")]
mod fault;
#[cfg(feature = "postgres")]
mod history;
#[cfg(feature = "postgres")]
mod post_capture;
#[cfg(feature = "postgres")]
mod rows;
#[cfg(feature = "postgres")]
mod schema;
pub mod segments;
mod settings;
#[cfg(feature = "postgres")]
mod tables;

#[cfg(feature = "postgres")]
use {
    super::feed::sink::{Batching, Begins, Kept, Sink},
    crate::journal::Journal,
    crate::receipts::Sealer,
    std::sync::Arc,
};

#[cfg(feature = "postgres")]
pub use {
    convert::ToRows,
    deliver::PostgresWriter,
    fault::PostgresError,
    rows::Rows,
    schema::{is_url, script},
};

pub use settings::{Migrate, PostgresSettings};

/// The sink's name.
pub const NAME: &str = "postgres";

/// Reads the certificates in `settings`, as connecting does, without connecting.
#[cfg(feature = "postgres")]
pub fn check(settings: &PostgresSettings) -> Result<(), PostgresError> {
    connect::tls_config(settings.ca_file.as_deref()).map(drop)
}

/// The sink. It reads purchases from `journal`, and seals receipts with `sealer`.
#[cfg(feature = "postgres")]
pub fn sink(
    settings: PostgresSettings,
    batching: Batching,
    journal: Arc<Journal>,
    sealer: Sealer,
) -> Sink<ToRows, PostgresWriter> {
    Sink {
        name: NAME,
        convert: ToRows::new(journal, sealer),
        deliver: PostgresWriter::new(settings),
        cursor: Kept::InSink,
        begins: Begins::AtTheBeginning,
        batching,
    }
}
