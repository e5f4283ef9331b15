//! Reads one partition of a stream in order: all its messages, or those whose subject matches one filter.
//!
//! It pulls batches through a consumer of its own, which the server forgets when nobody asks. When anything is lost on
//! the way (a connection, a message) it leaves the consumer and makes another at the sequence that it has reached; the
//! sequences of the messages tell, so nothing is taken twice and nothing is left out. Each new consumer, and each gap
//! between two sequences, is checked against what the server says of the stream. It never waits for messages that
//! are not there yet. Its state is a sequence and one batch of messages, bounded by number and bytes.

use super::connection::Connection;
use super::gap::{self, Seen};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, FromConsumer};
use async_nats::jetstream::stream::{ConsumerErrorKind, Info, RetentionPolicy, Stream};
use futures::StreamExt;
use headwater_core::{Error, Result};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How many messages are asked for at once, and so the most that are held.
const PULL_MESSAGES: usize = 4096;
/// How many bytes are asked for at once; a larger message comes alone.
const PULL_BYTES: usize = 8 << 20;
/// What a message has beside its payload, generously: subject, headers.
const OVERHEAD_BYTES: usize = 64 << 10;
/// After which time without a question the server forgets a consumer.
const INACTIVE_TIME_MAX: Duration = Duration::from_secs(120);

/// Where reading begins when there is no position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Sequence(u64),
    /// Nanoseconds since 1970.
    Time(i64),
}

/// What is read.
#[derive(Debug, Clone)]
pub(super) struct StreamSpec {
    pub(super) stream: String,
    pub(super) start: Start,
    /// Whether messages that were deleted before they were read are accepted as lost.
    pub(super) accepts_gaps: bool,
}

/// A message with what its reply subject says.
pub(super) struct Received {
    pub(super) message: Message,
    pub(super) sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub(super) stored_at: i128,
}

/// One partition.
pub(super) struct Reader {
    spec: Arc<StreamSpec>,
    filter: Option<String>,
    /// The sequence after the last message that was handed out, or known not to be ours.
    next: u64,
    /// When the stream was made, in nanoseconds since 1970: it names the stream beyond its name.
    created: i128,
    /// The last sequence to read, where there is one.
    end: Option<u64>,
    attached: Option<Attached>,
    buffer: VecDeque<Received>,
    /// The first sequence of a gap that is not explained yet.
    gap_at: Option<u64>,
    was_idle: bool,
}

/// A consumer, and what has come through it.
struct Attached {
    consumer: Consumer<Config>,
    pull: Option<Pull>,
    /// How many messages came: the server numbers them.
    n_delivered: u64,
    /// The connection that it belongs to.
    n_losses: u64,
}

/// A question for messages. It is kept until it is asked, because one that was dropped in between may be answered.
struct Pull {
    asking: Option<Asking>,
    messages: Option<Box<Batch>>,
    n_received: usize,
}

type Asking = Pin<Box<dyn Future<Output = std::result::Result<Batch, String>> + Send>>;

impl Reader {
    /// Makes the reader of a partition at its start.
    pub(super) async fn open(
        spec: Arc<StreamSpec>,
        filter: Option<String>,
        is_bounded: bool,
        connection: &Connection,
    ) -> Result<Self> {
        let stream = find(&spec, connection).await?;
        let info = stream.cached_info();
        check_stream(&spec, filter.as_deref(), info)?;
        let mut reader = Self {
            end: is_bounded.then_some(info.state.last_sequence),
            created: info.created.unix_timestamp_nanos(),
            next: 1,
            spec,
            filter,
            attached: None,
            buffer: VecDeque::new(),
            gap_at: None,
            was_idle: false,
        };
        let (first, last) = (info.state.first_sequence.max(1), info.state.last_sequence);
        reader.next = match reader.spec.start {
            Start::Earliest => first,
            Start::Latest => last + 1,
            Start::Sequence(sequence) if (first..=last + 1).contains(&sequence) => sequence,
            Start::Sequence(sequence) => {
                let message =
                    format!("the stream has the sequences {first} to {last}, start = '{sequence}' is not there");
                return Err(Error::invalid(message).with_help("name one of them, or 'earliest' or 'latest'"));
            }
            Start::Time(time) => {
                let policy = DeliverPolicy::ByStartTime { start_time: start_time(time)? };
                let consumer = consumer_on(&stream, config(reader.filter.as_deref(), policy), connection).await?;
                // The server has looked: it says what it would deliver after.
                consumer.cached_info().delivered.stream_sequence + 1
            }
        };
        Ok(reader)
    }

    /// Returns the name of the partition in positions.
    pub(super) fn key(&self) -> String {
        match &self.filter {
            Some(filter) => format!("{}/{filter}", self.spec.stream),
            None => self.spec.stream.clone(),
        }
    }

    /// Returns the last sequence that is behind, and which stream it is of.
    pub(super) fn position(&self) -> String {
        gap::write_position(Seen { next: self.next, created: self.created })
    }

    /// Goes on after a position.
    pub(super) async fn seek(&mut self, position: &str, connection: &Connection) -> Result<()> {
        let seen = gap::read_position(position)?;
        (self.next, self.created) = (seen.next, seen.created);
        (self.attached, self.gap_at) = (None, None);
        self.buffer.clear();
        self.attach(connection).await
    }

    /// Whether everything that was to be read has been.
    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next > end)
    }

    /// Hands out messages that follow, as many as there are and not more than `n_max`. None when there are none now.
    pub(super) async fn read(&mut self, n_max: usize, connection: &Connection) -> Result<Vec<Received>> {
        if self.is_at_end() {
            return Ok(Vec::new());
        }
        if self.buffer.is_empty() {
            let filled = self.fill(n_max, connection).await;
            if filled.is_err() {
                self.attached = None;
            }
            filled?;
        }
        if let Some(from) = self.gap_at {
            self.explain(from, connection).await?;
            self.gap_at = None;
        }
        if let Some(end) = self.end {
            let n_ours = self.buffer.iter().take_while(|received| received.sequence <= end).count();
            if n_ours == 0 && !self.buffer.is_empty() {
                self.next = end + 1;
            }
            self.buffer.truncate(n_ours);
        }
        let n_taken = self.buffer.len().min(n_max);
        let taken: Vec<Received> = self.buffer.drain(..n_taken).collect();
        if let Some(last) = taken.last() {
            self.next = last.sequence + 1;
        }
        Ok(taken)
    }

    /// Receives messages into the buffer. Whatever came stays there when the future is dropped.
    async fn fill(&mut self, n_max: usize, connection: &Connection) -> Result<()> {
        let is_stale = self.attached.as_ref().is_none_or(|attached| attached.n_losses != connection.n_losses());
        if is_stale {
            self.attach(connection).await?;
        }
        let n_max = n_max.clamp(1, PULL_MESSAGES);
        // What was stored before an answer of "nothing" is not ours. Asked only when there is likely nothing.
        let behind = match self.was_idle && self.filter.is_some() && self.end.is_none() && !self.is_pulling() {
            true => Some(find(&self.spec, connection).await?.cached_info().state.last_sequence),
            false => None,
        };
        self.ask(connection).await?;
        let ended = loop {
            if self.buffer.len() >= n_max {
                break false;
            }
            let Some(pull) = self.attached.as_mut().and_then(|attached| attached.pull.as_mut()) else { break true };
            let Some(messages) = &mut pull.messages else { break true };
            match connection.answer(messages.next()).await? {
                Some(Ok(message)) => {
                    pull.n_received += 1;
                    self.take(message, connection)?;
                }
                Some(Err(error)) => return Err(connection.unavailable(format!("reading: {error}"))),
                None => break true,
            }
        };
        if ended {
            let pull = self.attached.as_mut().and_then(|attached| attached.pull.take());
            if pull.is_some_and(|pull| pull.n_received == PULL_MESSAGES) {
                // The next batch travels while this one is worked on.
                self.ask(connection).await?;
            }
        }
        self.was_idle = self.buffer.is_empty();
        if self.was_idle {
            let reached = self.end.or(behind).unwrap_or_default();
            self.next = self.next.max(reached + 1);
        }
        Ok(())
    }

    fn is_pulling(&self) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.pull.is_some())
    }

    /// Takes a message if it is the one that comes next, and notes a gap before it.
    fn take(&mut self, message: Message, connection: &Connection) -> Result<()> {
        let Some(attached) = self.attached.as_mut() else { return Ok(()) };
        let info = message.info().map_err(|error| connection.unavailable(format!("reading: {error}")))?;
        let (sequence, number, stored_at) =
            (info.stream_sequence, info.consumer_sequence, info.published.unix_timestamp_nanos());
        if number <= attached.n_delivered {
            return Ok(());
        }
        if number != attached.n_delivered + 1 {
            let lost = number - attached.n_delivered - 1;
            return Err(
                connection.unavailable(format!("{lost} messages before sequence {sequence} were lost on the way"))
            );
        }
        attached.n_delivered = number;
        let expected = self.buffer.back().map_or(self.next, |last| last.sequence + 1);
        if sequence < expected {
            return Ok(());
        }
        if sequence > expected {
            self.gap_at.get_or_insert(expected);
        }
        self.buffer.push_back(Received { message, sequence, stored_at });
        Ok(())
    }

    /// Asks for messages, unless that was done.
    async fn ask(&mut self, connection: &Connection) -> Result<()> {
        let Some(attached) = self.attached.as_mut() else { return Ok(()) };
        let consumer = &attached.consumer;
        let pull = attached.pull.get_or_insert_with(|| {
            let n_bytes = PULL_BYTES.max(connection.client.server_info().max_payload + OVERHEAD_BYTES);
            let consumer = consumer.clone();
            let asking = async move {
                let asked = consumer.fetch().max_messages(PULL_MESSAGES).max_bytes(n_bytes).messages().await;
                asked.map_err(|error| error.to_string())
            };
            Pull { asking: Some(Box::pin(asking)), messages: None, n_received: 0 }
        });
        if let Some(asking) = &mut pull.asking {
            let messages = connection.answer(asking).await?;
            pull.asking = None;
            pull.messages = Some(Box::new(messages.map_err(|why| connection.unavailable(format!("reading: {why}")))?));
        }
        Ok(())
    }

    /// Makes a consumer at the sequence that was reached, after a look at whether the stream can go on from there.
    async fn attach(&mut self, connection: &Connection) -> Result<()> {
        let n_losses = connection.n_losses();
        let stream = find(&self.spec, connection).await?;
        let info = stream.cached_info();
        check_stream(&self.spec, self.filter.as_deref(), info)?;
        let reached = self.buffer.back().map_or(self.next, |last| last.sequence + 1);
        let seen = Seen { next: reached, created: self.created };
        match gap::check(&self.spec.stream, seen, info) {
            Ok(()) => {}
            Err(error) if self.spec.accepts_gaps => {
                tracing::warn!(%error, "going on where the stream begins, as gap = 'accept' says");
                self.created = info.created.unix_timestamp_nanos();
                self.next = info.state.first_sequence.max(1);
            }
            Err(error) => return Err(error),
        }
        let from = self.buffer.back().map_or(self.next, |last| last.sequence + 1);
        let policy = DeliverPolicy::ByStartSequence { start_sequence: from };
        let consumer = consumer_on(&stream, config(self.filter.as_deref(), policy), connection).await?;
        self.attached = Some(Attached { consumer, pull: None, n_delivered: 0, n_losses });
        Ok(())
    }

    /// Says whether the sequences from `from` to the next that came are missing for a reason: others' subjects and
    /// single deletions are; what the stream has dropped from its beginning was lost to us.
    async fn explain(&mut self, from: u64, connection: &Connection) -> Result<()> {
        let stream = find(&self.spec, connection).await?;
        match gap::check(&self.spec.stream, Seen { next: from, created: self.created }, stream.cached_info()) {
            Err(error) if self.spec.accepts_gaps => {
                tracing::warn!(%error, "going on after the gap, as gap = 'accept' says");
                Ok(())
            }
            checked => checked,
        }
    }
}

fn start_time(nanos: i64) -> Result<async_nats::datetime::DateTime> {
    let time = async_nats::datetime::DateTime::from_unix_timestamp_nanos(i128::from(nanos));
    time.map_err(|_| Error::invalid("the time in the option start is out of range"))
}

/// Says what is to be delivered: without acknowledgements, and for as long as somebody asks.
fn config(filter: Option<&str>, deliver_policy: DeliverPolicy) -> Config {
    Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subject: filter.unwrap_or_default().to_owned(),
        inactive_threshold: INACTIVE_TIME_MAX,
        memory_storage: true,
        num_replicas: 1,
        ..Config::default()
    }
}

/// Makes a consumer of a stream.
pub(super) async fn consumer_on(
    stream: &Stream<Info>,
    config: Config,
    connection: &Connection,
) -> Result<Consumer<Config>>
where
    Config: FromConsumer,
{
    match connection.answer(stream.create_consumer(config)).await? {
        Ok(consumer) => Ok(consumer),
        Err(error) => Err(match error.kind() {
            ConsumerErrorKind::JetStream(error) => connection.refusal("making a consumer", &error),
            ConsumerErrorKind::InvalidConsumerType | ConsumerErrorKind::InvalidName => {
                Error::internal(format!("making a consumer: {error}"))
            }
            ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request | ConsumerErrorKind::Other => {
                connection.unavailable(format!("making a consumer: {error}"))
            }
        }),
    }
}

async fn find(spec: &StreamSpec, connection: &Connection) -> Result<Stream<Info>> {
    connection.find_stream(&spec.stream).await?.ok_or_else(|| {
        Error::not_found(format!("there is no stream '{}' in NATS", spec.stream))
            .with_help("make it first, such as with: nats stream add")
    })
}

/// Refuses streams that forget what was read, and filters that can never match.
fn check_stream(spec: &StreamSpec, filter: Option<&str>, info: &Info) -> Result<()> {
    match info.config.retention {
        RetentionPolicy::Limits => {}
        RetentionPolicy::Interest | RetentionPolicy::WorkQueue => {
            let message =
                format!("the stream '{}' forgets messages once they are read: it cannot be read again", spec.stream);
            return Err(Error::invalid(message)
                .with_help("read a stream with the retention 'limits', such as one that sources from it"));
        }
    }
    let subjects = &info.config.subjects;
    // A mirror has no subjects of its own.
    match filter {
        Some(filter) if !subjects.is_empty() && !subjects.iter().any(|own| super::subjects::overlap(own, filter)) => {
            let message = format!("the stream '{}' has no subject that '{filter}' matches", spec.stream);
            Err(Error::invalid(message).with_help(format!("it captures: {}", subjects.join(", "))))
        }
        _ => Ok(()),
    }
}
