//! What callers of the importers rely on, through the public API only: files in, events out. The log and the ledger are
//! kept in memory; generated files are small.

mod files;
mod properties;
mod run;
