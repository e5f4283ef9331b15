//! Times as text and back, by patterns in the three notations that users know: Postgres' (`YYYY-MM-DD HH24:MI:SS`),
//! Java's (`yyyy-MM-dd HH:mm:ss`, Flink and Spark) and strftime's (`%Y-%m-%d`, DataFusion and Arroyo).
//!
//! Never looks at a clock, a locale or a time zone: times are in UTC, names are English. No state.

mod format;
mod parse;
mod pattern;

pub(crate) use format::format;
pub(crate) use parse::parse;
pub(crate) use pattern::{Case, Pattern, ordinal};
