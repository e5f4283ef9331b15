//! The sink over JetStream: one message a row, or a change.
//!
//! Guarantee: exactly once. The messages of an epoch are kept until its commit (`spool`), which publishes them with
//! ids of their own and waits until the stream has all of them. A commit that is repeated looks first which of them
//! the stream has (`published`), so that it does not depend on how long the server remembers ids. Readers may see a
//! part of an epoch while it is being committed. State: the running epoch.

use super::connection::{Connection, Servers};
use super::published::{self, Place};
use super::source::check_stream_name;
use super::spool::{Found, Kept, Outgoing, Reading, Spool};
use super::subjects::{Template, covers};
use crate::formats::write::{JsonRows, NetChange, Step};
use arrow::array::RecordBatch;
use async_nats::jetstream::context::{CreateStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, Info, Stream};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use headwater_core::{
    Batch, Changes, DeadLetter, Epoch, Error, Guarantee, Prepared, Reason, Result, Sink, SinkSpec, TableDefinition,
    TaskContext,
};
use std::collections::HashSet;
use std::future::IntoFuture;
use std::sync::Arc;
use uuid::Uuid;

/// How many messages wait for the stream's word at a time: enough to fill a round trip.
const IN_FLIGHT_MAX: usize = 256;
/// What the headers of a message take beside its id, generously.
const HEADER_BYTES: usize = 512;
/// The longest payload that a dead letter keeps.
const LETTER_BYTES_MAX: usize = 16 << 10;

/// A table over a subject.
#[derive(Debug, Clone)]
pub(super) struct NatsSinkSpec {
    table: String,
    servers: Servers,
    stream: String,
    subject: Template,
    /// Whether changes are written, or insertions only.
    debezium: bool,
    /// Whether the user said which.
    is_format_given: bool,
    key: Vec<usize>,
    creates_stream: bool,
}

impl NatsSinkSpec {
    /// Reads the options of a table.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let schema = table.columns()?;
        let stream = options.require("stream")?.to_owned();
        check_stream_name(&stream)?;
        let format = options.one_of("format", "json", &["json", "debezium_json"])?;
        if options.one_of("delivery", "exactly_once", &["exactly_once"]).is_err() {
            return Err(
                Error::invalid("a sink of NATS writes through JetStream").with_help("remove the option delivery")
            );
        }
        Ok(Self {
            table: table.name.clone(),
            servers: Servers::parse(table)?,
            stream,
            subject: Template::parse(options.require("subject")?, &schema)?,
            debezium: format == "debezium_json",
            is_format_given: options.get("format").is_some(),
            key: table.primary_key.clone(),
            creates_stream: options.parse("create_stream", "true or false")?.unwrap_or(false),
        })
    }

    /// Finds the stream, or makes it where that is wanted, and checks that it captures what is written.
    async fn stream(&self, connection: &Connection) -> Result<Stream<Info>> {
        let pattern = self.subject.pattern();
        let stream = match connection.find_stream(&self.stream).await? {
            Some(stream) => stream,
            None if self.creates_stream => self.create(connection, &pattern).await?,
            None => {
                return Err(Error::not_found(format!("there is no stream '{}' in NATS", self.stream))
                    .with_help("make it first, or add create_stream = 'true'"));
            }
        };
        let subjects = &stream.cached_info().config.subjects;
        if subjects.iter().any(|own| covers(own, &pattern)) {
            return Ok(stream);
        }
        let message = format!("the stream '{}' does not capture the subject '{}'", self.stream, self.subject.text());
        Err(Error::conflict(message).with_help(format!("it captures: {}", subjects.join(", "))))
    }

    async fn create(&self, connection: &Connection, pattern: &str) -> Result<Stream<Info>> {
        let config = Config { name: self.stream.clone(), subjects: vec![pattern.to_owned()], ..Config::default() };
        match connection.answer(connection.jetstream.create_stream(config)).await? {
            Ok(_) => {}
            Err(error) => match error.kind() {
                CreateStreamErrorKind::JetStream(error) => {
                    return Err(connection.refusal(&format!("making the stream '{}'", self.stream), &error));
                }
                _ => return Err(connection.unavailable(format!("making the stream '{}': {error}", self.stream))),
            },
        }
        let made = connection.find_stream(&self.stream).await?;
        made.ok_or_else(|| connection.unavailable(format!("the stream '{}' is not there yet", self.stream)))
    }
}

#[async_trait]
impl SinkSpec for NatsSinkSpec {
    fn describe(&self) -> String {
        let format = if self.debezium { "debezium_json" } else { "json" };
        let subject = self.subject.text();
        format!("nats {} stream {} subject {subject} {format}", self.servers.shown(), self.stream)
    }

    fn changes(&self) -> Changes {
        if self.debezium { Changes::Any } else { Changes::AppendOnly }
    }

    fn for_changes(&self) -> Option<Arc<dyn SinkSpec>> {
        (!self.is_format_given).then(|| Arc::new(Self { debezium: true, ..self.clone() }) as Arc<dyn SinkSpec>)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        let place = |error: Error| error.at(format!("table {}", self.table));
        let connection = self.servers.connect(&format!("headwater {}", context.pipeline)).await.map_err(place)?;
        let stream = self.stream(&connection).await.map_err(place)?;
        let spool = crate::blocking::run(|| Spool::open(context.spool.clone(), context.restored)).map_err(place)?;
        let TaskContext { pipeline, node, subtask, .. } = context;
        Ok(Box::new(NatsSink {
            spec: self.clone(),
            stream_bytes_max: usize::try_from(stream.cached_info().config.max_message_size).ok().filter(|max| *max > 0),
            connection,
            spool,
            changes: Vec::new(),
            rejected: Vec::new(),
            // Two runs that begin anew count epochs alike; their messages are not the same ones.
            ids: format!("{pipeline}/{node}/{subtask}/{}", Uuid::new_v4().simple()).replace(char::is_whitespace, "_"),
            prepared: None,
            n_refused: 0,
        }))
    }
}

/// What a commit needs to know.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Token {
    /// What the ids of the epoch's messages begin with.
    ids: String,
    n_messages: u64,
    /// Where the stream was before.
    place: Place,
    kept: Kept,
}

struct NatsSink {
    spec: NatsSinkSpec,
    connection: Connection,
    /// The longest message that the stream takes, where it has a limit of its own.
    stream_bytes_max: Option<usize>,
    spool: Spool,
    /// The changes of the running epoch, where they are written as changes.
    changes: Vec<Batch>,
    rejected: Vec<DeadLetter>,
    ids: String,
    /// The epoch that this process has prepared and has not begun to commit.
    prepared: Option<Epoch>,
    n_refused: u64,
}

impl NatsSink {
    fn keep(&mut self, rows: &RecordBatch, messages: Vec<(usize, Vec<u8>)>) -> Result<()> {
        let subjects = self.spec.subject.subjects(rows)?;
        let server_max = self.connection.client.server_info().max_payload.saturating_sub(self.ids.len() + HEADER_BYTES);
        let n_bytes_max =
            self.stream_bytes_max.map_or(server_max, |max| max.saturating_sub(HEADER_BYTES).min(server_max));
        for (row, text) in messages {
            match &subjects[row] {
                Err(why) => self.refuse(why.clone(), &text),
                Ok(_) if text.len() > n_bytes_max => {
                    let why = format!("the message has {} bytes, NATS takes {n_bytes_max} here", text.len());
                    self.refuse(why, &text);
                }
                Ok(subject) => self.spool.push(subject, &text)?,
            }
        }
        Ok(())
    }

    fn refuse(&mut self, message: String, text: &[u8]) {
        self.n_refused += 1;
        let shown = &text[..text.len().min(LETTER_BYTES_MAX)];
        self.rejected.push(DeadLetter {
            reason: Reason::Rejected,
            message,
            path: String::new(),
            source: self.spec.table.clone(),
            position: format!("{}:{}", self.ids, self.n_refused),
            payload: String::from_utf8_lossy(shown).into_owned(),
        });
    }

    async fn end(&mut self, epoch: Epoch) -> Result<Prepared> {
        // Asked before anything is put away, so that the call can be repeated.
        let stream = self.spec.stream(&self.connection).await?;
        let place = Place::of(stream.cached_info());
        if let Some(net) = NetChange::of(&self.changes, &self.spec.key)? {
            self.keep(&net.batch.rows, changes(&net)?)?;
            self.changes.clear();
        }
        let n_messages = self.spool.n_messages();
        let kept = crate::blocking::run(|| self.spool.close(epoch))?;
        if n_messages == 0 {
            return Ok(Prepared::default());
        }
        self.prepared = Some(epoch);
        let token = Token { ids: format!("{}/{epoch}", self.ids), n_messages, place, kept };
        serde_json::to_value(token).map(Prepared).map_err(|error| Error::internal(error.to_string()))
    }

    async fn publish(&mut self, epoch: Epoch, token: &Token) -> Result<()> {
        let is_first_try = self.prepared.take() == Some(epoch);
        let mut reading = match crate::blocking::run(|| self.spool.find(epoch, &token.kept))? {
            Found::Messages(reading) => Some(reading),
            Found::Published => return Ok(()),
            Found::Missing => None,
        };
        let there = match is_first_try {
            true => HashSet::new(),
            false => {
                let pattern = self.spec.subject.pattern();
                published::find(&self.connection, &self.spec.stream, &pattern, token.place, &token.ids).await?
            }
        };
        match &mut reading {
            Some(reading) => self.publish_missing(reading, token, &there).await?,
            None if there.len() as u64 == token.n_messages => {}
            None => {
                let message = format!(
                    "the messages of epoch {epoch} are gone: {} of {} are in the stream '{}', the others are neither there \
                     nor in the state folder",
                    there.len(),
                    token.n_messages,
                    self.spec.stream
                );
                return Err(Error::data(message).with_help("go on from a later checkpoint, or start without one"));
            }
        }
        crate::blocking::run(|| self.spool.published(epoch, &token.kept))
    }

    async fn publish_missing(&self, reading: &mut Reading, token: &Token, there: &HashSet<u64>) -> Result<()> {
        let mut waiting = FuturesUnordered::new();
        let mut number = 0;
        while let Some(Outgoing(subject, payload)) = crate::blocking::run(|| reading.next())? {
            let (id, is_there) = (format!("{}/{number}", token.ids), there.contains(&number));
            number += 1;
            if is_there {
                continue;
            }
            let message = PublishMessage::build().payload(payload.into()).message_id(id);
            let message = message.expected_stream(&self.spec.stream);
            let sent = self.connection.answer(self.connection.jetstream.send_publish(subject, message)).await?;
            let acknowledged = sent.map_err(|error| self.failure(&error))?;
            waiting.push(acknowledged.into_future());
            if waiting.len() >= IN_FLIGHT_MAX
                && let Some(result) = self.connection.answer(waiting.next()).await?
            {
                result.map_err(|error| self.failure(&error))?;
            }
        }
        while let Some(result) = self.connection.answer(waiting.next()).await? {
            result.map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }

    fn failure(&self, error: &PublishError) -> Error {
        let stream = &self.spec.stream;
        match error.kind() {
            PublishErrorKind::StreamNotFound => {
                self.connection.unavailable(format!("no stream takes the messages of '{stream}'"))
            }
            PublishErrorKind::MaxPayloadExceeded => {
                Error::invalid(format!("a message for the stream '{stream}' is longer than the server takes: {error}"))
            }
            PublishErrorKind::Other => match error_code(error) {
                Some(refused) => self.connection.refusal(&format!("publishing to the stream '{stream}'"), refused),
                None => self.connection.unavailable(format!("publishing to the stream '{stream}': {error}")),
            },
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending => {
                self.connection.unavailable(format!("publishing to the stream '{stream}': {error}"))
            }
        }
    }
}

/// Writes insertions: the number of the row and its text, as often as the row counts.
fn insertions(batch: &Batch) -> Result<Vec<(usize, Vec<u8>)>> {
    let json = JsonRows::new(&batch.rows)?;
    let mut messages = Vec::with_capacity(batch.n_rows());
    for row in 0..batch.n_rows() {
        let n = usize::try_from(batch.diff(row))
            .map_err(|_| Error::internal("a deletion reached a sink that holds insertions only"))?;
        messages.extend(std::iter::repeat_n((row, json.row(row).to_vec()), n));
    }
    Ok(messages)
}

/// Writes changes as `{"before", "after", "op"}`, with the number of the newest row of each.
fn changes(net: &NetChange) -> Result<Vec<(usize, Vec<u8>)>> {
    let json = JsonRows::new(&net.batch.rows)?;
    let row = |row: Option<usize>| row.map_or(b"null".as_slice(), |row| json.row(row));
    let change = |step: &Step| {
        let op = match (step.before, step.after) {
            (Some(_), Some(_)) => "u",
            (Some(_), None) => "d",
            (None, _) => "c",
        };
        let parts: [&[u8]; 7] =
            [b"{\"before\":", row(step.before), b",\"after\":", row(step.after), b",\"op\":\"", op.as_bytes(), b"\"}"];
        (step.after.or(step.before).unwrap_or_default(), parts.concat())
    };
    Ok(net.steps.iter().map(change).collect())
}

/// Returns what the server said, if it said no.
fn error_code(error: &PublishError) -> Option<&async_nats::jetstream::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

#[async_trait]
impl Sink for NatsSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        if self.spec.debezium {
            self.changes.push(batch);
            return Ok(());
        }
        let messages = insertions(&batch)?;
        crate::blocking::run(|| self.keep(&batch.rows, messages))
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        self.end(epoch).await.map_err(|error| error.at(format!("table {}", self.spec.table)))
    }

    fn take_rejected(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.rejected)
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        if prepared.0.is_null() {
            return Ok(());
        }
        let token: Token = serde_json::from_value(prepared.0.clone())
            .map_err(|error| Error::data(format!("the prepared epoch of '{}': {error}", self.spec.table)))?;
        self.publish(epoch, &token).await.map_err(|error| error.at(format!("table {}", self.spec.table)))
    }
}
