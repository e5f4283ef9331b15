//! Which messages of an epoch a stream has already: what a commit that is repeated has to know.
//!
//! The server drops a message whose id it remembers, but it remembers for a while only. So the ids are read back, from
//! where the stream was when the epoch was prepared. Pure but for reading; no state.

use super::connection::Connection;
use super::reader::consumer_on;
use super::rows::MESSAGE_ID;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::Info;
use futures::StreamExt;
use headwater_core::{Error, Result};
use std::collections::HashSet;
use std::time::Duration;

/// How many messages are asked for at once; they come without their payloads.
const PULL_MESSAGES: usize = 4096;
/// After which time without a question the server forgets the consumer.
const INACTIVE_TIME_MAX: Duration = Duration::from_secs(60);

/// Where a stream was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Place {
    /// Its last sequence.
    last_sequence: u64,
    /// When it was made, in nanoseconds since 1970: it names the stream beyond its name.
    created: i64,
}

impl Place {
    /// Returns where a stream is.
    pub(super) fn of(info: &Info) -> Self {
        let created = i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default();
        Self { last_sequence: info.state.last_sequence, created }
    }
}

/// Returns the numbers of the messages with ids `prefix/number` that the stream has after `place`.
pub(super) async fn find(
    connection: &Connection,
    name: &str,
    pattern: &str,
    place: Place,
    prefix: &str,
) -> Result<HashSet<u64>> {
    let Some(stream) = connection.find_stream(name).await? else {
        return Err(Error::not_found(format!("there is no stream '{name}' in NATS any more")));
    };
    let info = stream.cached_info();
    let now = Place::of(info);
    let is_same = now.created == place.created && now.last_sequence >= place.last_sequence;
    let from = if is_same { place.last_sequence + 1 } else { 1 };
    let first = info.state.first_sequence.max(1);
    if first > from && is_same {
        let (epoch, n_gone) = (prefix, first - from);
        tracing::warn!(
            stream = name,
            epoch,
            n_gone,
            "the stream has dropped messages that may be of the epoch that is committed again"
        );
    }
    if now.last_sequence < from {
        return Ok(HashSet::new());
    }
    // A value with a dot in it makes a subject that the pattern does not match.
    let covered = info.config.subjects.iter().all(|own| super::subjects::covers(pattern, own));
    let config = Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ack_policy: AckPolicy::None,
        filter_subject: if pattern.contains('*') && !covered { String::new() } else { pattern.to_owned() },
        headers_only: true,
        inactive_threshold: INACTIVE_TIME_MAX,
        memory_storage: true,
        num_replicas: 1,
        ..Config::default()
    };
    let consumer = consumer_on(&stream, config, connection).await?;
    let n_pending = consumer.cached_info().num_pending;
    let (mut n_seen, mut numbers) = (0, HashSet::new());
    while n_seen < n_pending {
        let asked = connection.answer(consumer.fetch().max_messages(PULL_MESSAGES).messages()).await?;
        let mut batch = asked.map_err(|error| connection.unavailable(format!("reading back: {error}")))?;
        let n_before = n_seen;
        while let Some(message) = connection.answer(batch.next()).await? {
            let message = message.map_err(|error| connection.unavailable(format!("reading back: {error}")))?;
            let info = message.info().map_err(|error| connection.unavailable(format!("reading back: {error}")))?;
            n_seen += 1;
            if info.consumer_sequence != n_seen {
                return Err(connection.unavailable("messages were lost while reading back"));
            }
            let id = message.headers.as_ref().and_then(|headers| headers.get(MESSAGE_ID));
            numbers.extend(id.and_then(|id| id.as_str().strip_prefix(prefix)?.strip_prefix('/')?.parse::<u64>().ok()));
        }
        // Messages that were counted may have been deleted since.
        if n_seen == n_before {
            break;
        }
    }
    Ok(numbers)
}
