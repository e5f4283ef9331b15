//! The connector `nexmark`: the auction events of the Nexmark benchmark, drawn by the crate `nexmark`.
//!
//! | option | meaning |
//! |---|---|
//! | `table` | `person`, `auction` or `bid`; or `events` (default): all in one table |
//! | `events` | how many events there are, of all three kinds together; without it they never end |
//! | `seed` | which events: 0 (default) are those of the crate, and of everybody who uses it |
//! | `rate` | how many events fall into a second of event time, 10 000 by default |
//! | `base_time` | the time of the first event, 2015-07-15T00:00:00Z by default, as in the first Nexmark of Beam |
//! | `out_of_order_group_size` | how many neighbouring events are shuffled, 1 (none) by default |
//!
//! Of 50 events one is a person, three are auctions, 46 are bids. An event is a function of its number and of the
//! options: nothing depends on the wall clock, and the rows are the same on every run and at any parallelism. The
//! subtasks share the events in blocks of 50. State: the number of the next event, which is also the position.

mod columns;
mod events;
mod source;
#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use columns::schema;
use events::EventOptions;
use headwater_core::{Connector, Error, Options, Result, SourceSpec, TableDefinition};
use source::NexmarkSpec;
use std::sync::Arc;

/// Which events a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// All of them, each in the column of its kind.
    Events,
    Person,
    Auction,
    Bid,
}

/// The events per second of event time above which two of them would share a microsecond many times over.
const RATE_MAX: u32 = 10_000_000;
/// The largest group that is shuffled: beyond this events would be hours out of order.
const GROUP_SIZE_MAX: u32 = 1_000_000;
/// What the crate multiplies with to shuffle a group; a group of a multiple of it would lose events.
const SHUFFLE_PRIME: u32 = 953;
/// 2015-07-15T00:00:00Z.
const BASE_TIME_MS: i64 = 1_436_918_400_000;

/// The connector.
#[derive(Debug)]
pub(crate) struct NexmarkConnector;

impl Connector for NexmarkConnector {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn writes(&self) -> bool {
        false
    }

    fn source(&self, definition: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let with = &definition.options;
        let table = match with.one_of("table", "events", &["events", "person", "auction", "bid"])? {
            "person" => Table::Person,
            "auction" => Table::Auction,
            "bid" => Table::Bid,
            _ => Table::Events,
        };
        let events = with.parse("events", "a whole number")?;
        let options = EventOptions {
            seed: with.parse("seed", "a whole number from 0 to 4294967295")?.unwrap_or(0),
            rate: between(with, "rate", 10_000, RATE_MAX)?,
            base_time_ms: base_time(with)?,
            group_size: between(with, "out_of_order_group_size", 1, GROUP_SIZE_MAX)?,
        };
        if options.group_size.is_multiple_of(SHUFFLE_PRIME) {
            return Err(Error::invalid(format!("out_of_order_group_size = '{}' is not possible", options.group_size))
                .with_help(format!("use a number that is not a multiple of {SHUFFLE_PRIME}")));
        }
        let all = schema(table);
        match &definition.schema {
            None => Ok(Arc::new(NexmarkSpec::new(table, events, options, all))),
            Some(declared) => Ok(Arc::new(NexmarkSpec::declared(table, events, options, &all, declared)?)),
        }
    }
}

fn between(options: &Options, name: &str, default: u32, max: u32) -> Result<u32> {
    let expected = format!("a whole number from 1 to {max}");
    let number: u32 = options.parse(name, &expected)?.unwrap_or(default);
    if (1..=max).contains(&number) {
        return Ok(number);
    }
    Err(Error::invalid(format!("the option {name} = '{number}' is not understood"))
        .with_help(format!("use {expected}")))
}

fn base_time(options: &Options) -> Result<i64> {
    let Some(text) = options.get("base_time") else { return Ok(BASE_TIME_MS) };
    let whole = || DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    let local =
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").map(|time| time.and_utc().timestamp_millis());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d");
    let time = whole().or_else(|_| local()).ok().or_else(|| {
        let midnight = date().ok()?.and_hms_opt(0, 0, 0)?;
        Some(midnight.and_utc().timestamp_millis())
    });
    time.filter(|millis| *millis >= 0).ok_or_else(|| {
        Error::invalid(format!("the option base_time = '{text}' is not understood"))
            .with_help("use a time since 1970, as 2015-07-15T00:00:00Z")
    })
}
