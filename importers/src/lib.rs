//! Programme exports (CSV) turned into contract events. It never writes anywhere itself: events go to an [`EventLog`],
//! progress to an [`ImportLedger`], refused rows to a writer, all of which the caller brings, and so does the time. Its
//! state while it runs is one batch of rows.

mod cell;
mod detect;
mod events;
mod import;
mod kind;
mod ledger;
mod mapping;
mod row;
mod summary;
mod table;

pub use detect::detect;
pub use import::{BATCH_ROWS, EventLog, Import, ImportContext};
pub use kind::Kind;
pub use ledger::{FileLedger, ImportKey, ImportLedger, ImportRecord, ImportStatus};
pub use mapping::{Mapping, RatingScale};
pub use row::person_id;
pub use summary::Summary;
