//! Whether a stream can go on from a position, and what to say when it cannot. Pure.
//!
//! A position is the last sequence that is behind and the time at which the stream was made, which tells it from a
//! later one of the same name: `41 2026-11-25T10:00:00.000000000Z`.

use async_nats::jetstream::stream::Info;
use chrono::{DateTime, SecondsFormat};
use headwater_core::{Error, Result};

/// What a reader knows of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// The sequence after the last one that is behind.
    pub(super) next: u64,
    /// When the stream was made, in nanoseconds since 1970.
    pub(super) created: i128,
}

/// Writes a position.
pub(super) fn write_position(seen: Seen) -> String {
    format!("{} {}", seen.next - 1, shown_time(seen.created))
}

/// Reads a position.
pub(super) fn read_position(text: &str) -> Result<Seen> {
    let parsed = text.split_once(' ').and_then(|(sequence, created)| {
        let created = DateTime::parse_from_rfc3339(created).ok()?.timestamp_nanos_opt()?;
        Some(Seen { next: sequence.parse::<u64>().ok()?.checked_add(1)?, created: i128::from(created) })
    });
    parsed.ok_or_else(|| Error::data(format!("'{text}' is no position in a stream of NATS")))
}

/// Writes a time.
pub(super) fn shown_time(nanos: i128) -> String {
    let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// Checks that nothing between what was read and what the stream has is missing.
pub(super) fn check(stream: &str, seen: Seen, info: &Info) -> Result<()> {
    compare(
        stream,
        seen,
        info.created.unix_timestamp_nanos(),
        info.state.first_sequence.max(1),
        info.state.last_sequence,
    )
}

fn compare(stream: &str, seen: Seen, created: i128, first: u64, last: u64) -> Result<()> {
    let reached = seen.next - 1;
    let again = "start without the checkpoint to read what is there, or go on with gap = 'accept'";
    if created != seen.created {
        let message = format!(
            "the stream '{stream}' is another one: sequence {reached} was read of the one made at {}, this one was made \
             at {} and has the sequences {first} to {last}",
            shown_time(seen.created),
            shown_time(created)
        );
        return Err(Error::data(message).with_help(again));
    }
    if last < reached {
        let message = format!("the stream '{stream}' has gone back: sequence {reached} was read, its last is {last}");
        return Err(Error::data(message).with_help(again));
    }
    if first > seen.next {
        let n_lost = first - seen.next;
        let message = format!(
            "the stream '{stream}' has dropped what was not read yet: {reached} is the last sequence that was read, its \
             first is {first}, {n_lost} are gone"
        );
        return Err(Error::data(message).with_help(format!("{again}; give the stream larger limits")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let seen = Seen { next: 42, created: 1_764_000_000_123_456_789 };
        assert_eq!(write_position(seen), "41 2025-11-24T16:00:00.123456789Z");
        assert_eq!(read_position(&write_position(seen)).expect("a position"), seen);
        for text in ["", "41", "x 2025-11-24T16:00:00Z", "41 yesterday", "18446744073709551615 2025-11-24T16:00:00Z"] {
            read_position(text).expect_err("no position");
        }
    }

    #[test]
    fn what_is_missing_is_said_in_numbers() {
        let seen = Seen { next: 42, created: 0 };
        compare("s", seen, 0, 42, 41).expect("nothing is missing");
        compare("s", seen, 0, 1, 100).expect("nothing is missing");
        let errors = [compare("s", seen, 1, 1, 3), compare("s", seen, 0, 1, 40), compare("s", seen, 0, 50, 60)];
        let errors: Vec<String> = errors.into_iter().map(|e| e.expect_err("missing").to_string()).collect();
        expect![[r#"
            the stream 's' is another one: sequence 41 was read of the one made at 1970-01-01T00:00:00.000000000Z, this one was made at 1970-01-01T00:00:00.000000001Z and has the sequences 1 to 3
            help: start without the checkpoint to read what is there, or go on with gap = 'accept'
            the stream 's' has gone back: sequence 41 was read, its last is 40
            help: start without the checkpoint to read what is there, or go on with gap = 'accept'
            the stream 's' has dropped what was not read yet: 41 is the last sequence that was read, its first is 50, 8 are gone
            help: start without the checkpoint to read what is there, or go on with gap = 'accept'; give the stream larger limits"#]].assert_eq(&errors.join("\n"));
    }
}
