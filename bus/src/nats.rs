//! The bus over NATS JetStream: one stream for the events of all types, whose subjects are the types, and one for dead
//! letters. A message's id is its event's, and the stream drops one that it has seen within a day.
//!
//! A group is a durable consumer of its name; what it does not acknowledge comes again after half a minute. State: the
//! connection.

use crate::address::NatsAddress;
use crate::broker::{Broker, Feed, Incoming, Outgoing, Receipt, Since, Stored};
use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config as StreamConfig, ConsumerErrorKind, Info, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{ConnectErrorKind, ConnectOptions};
use async_trait::async_trait;
use futures::StreamExt;
use headwater_contracts::catalog;
use headwater_core::{Error, Result};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

/// How long the streams remember the ids of messages.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// After which time an event that is not acknowledged comes again.
const ACK_TIME_MAX: Duration = Duration::from_secs(30);
/// How many events of a group may be on their way.
const PENDING_MAX: i64 = 1024;
/// How many messages are asked for at once.
const PULL_MESSAGES: usize = 256;
/// How often a server that has nothing says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Clone)]
pub(crate) struct Nats {
    context: Context,
    stream: String,
    server: String,
}

impl Nats {
    pub(crate) async fn connect(address: &NatsAddress) -> Result<Self> {
        let options = match address.user.clone() {
            None => ConnectOptions::new(),
            Some((user, Some(password))) => ConnectOptions::with_user_and_password(user, password),
            Some((token, None)) => ConnectOptions::with_token(token),
        };
        let servers: Vec<&str> = address.server.split(',').collect();
        let connected = options.name("headwater bus").connection_timeout(ANSWER_TIME_MAX).connect(&servers[..]).await;
        let client = connected.map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Error::invalid(format!("NATS at {} does not let us in", address.server))
                    .with_help("write nats://user:password@host, or nats://token@host")
            }
            _ => Error::unavailable(format!("NATS at {}: {error}", address.server)),
        })?;
        let context = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER_TIME_MAX)
            .ack_timeout(ANSWER_TIME_MAX)
            .build(client);
        let nats = Self { context, stream: address.stream.clone(), server: address.server.clone() };
        let domains: BTreeSet<&str> =
            catalog().iter().filter_map(|contract| contract.event_type().split('.').next()).collect();
        let subjects: Vec<String> = domains.into_iter().map(|domain| format!("{domain}.>")).collect();
        nats.ensure(&nats.stream, subjects).await?;
        nats.ensure(&nats.dead_letters(), vec![format!("{}.>", crate::DEAD_LETTERS)]).await?;
        Ok(nats)
    }

    fn dead_letters(&self) -> String {
        format!("{}_DEAD_LETTERS", self.stream)
    }

    fn unavailable(&self, what: &str, error: impl Display) -> Error {
        Error::unavailable(format!("NATS at {}: {what}: {error}", self.server))
    }

    fn refused(&self, what: &str, error: &jetstream::Error) -> Error {
        let message = format!("NATS at {}: {what}: {error}", self.server);
        if error.code() >= 500 && error.error_code() != ErrorCode::JETSTREAM_NOT_ENABLED {
            return Error::unavailable(message);
        }
        Error::invalid(message)
    }

    /// Makes a stream where it is missing, and checks that it captures the subjects.
    async fn ensure(&self, name: &str, subjects: Vec<String>) -> Result<()> {
        let Some(stream) = self.find(name).await? else {
            let config = StreamConfig {
                name: name.to_owned(),
                subjects,
                duplicate_window: DUPLICATE_WINDOW,
                ..StreamConfig::default()
            };
            return match self.context.create_stream(config).await {
                Ok(_) => Ok(()),
                Err(error) => Err(match error.kind() {
                    CreateStreamErrorKind::JetStream(error) => {
                        self.refused(&format!("making the stream '{name}'"), &error)
                    }
                    _ => self.unavailable(&format!("making the stream '{name}'"), error),
                }),
            };
        };
        let own = &stream.cached_info().config.subjects;
        match subjects.iter().find(|subject| !own.contains(subject) && !own.iter().any(|own| own == ">")) {
            None => Ok(()),
            Some(missing) => {
                let message = format!("the stream '{name}' in NATS does not capture '{missing}'");
                Err(Error::conflict(message).with_help(format!(
                    "it captures: {}; add the subject, or name another stream in the address: nats://host/STREAM",
                    own.join(", ")
                )))
            }
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Stream<Info>>> {
        match self.context.get_stream(name).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                GetStreamErrorKind::JetStream(error) => Err(self.refused("asking for the stream", &error)),
                _ => Err(self.unavailable("asking for the stream (is JetStream enabled, with -js?)", error)),
            },
        }
    }

    async fn existing(&self, name: &str) -> Result<Stream<Info>> {
        self.find(name).await?.ok_or_else(|| Error::not_found(format!("there is no stream '{name}' in NATS any more")))
    }

    async fn make(&self, stream: &Stream<Info>, config: Config) -> Result<Consumer<Config>> {
        stream.create_consumer(config).await.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error) => self.refused("making a consumer", &error),
            _ => self.unavailable("making a consumer", error),
        })
    }

    async fn group(&self, topics: &[String], group: &str, since: Since) -> Result<Consumer<Config>> {
        let stream = self.existing(&self.stream).await?;
        if let Ok(consumer) = stream.get_consumer::<Config>(group).await {
            let config = &consumer.cached_info().config;
            let read: BTreeSet<&String> = match config.filter_subject.is_empty() {
                true => config.filter_subjects.iter().collect(),
                false => BTreeSet::from([&config.filter_subject]),
            };
            if read == topics.iter().collect() {
                return Ok(consumer);
            }
            let read: Vec<&str> = read.into_iter().map(String::as_str).collect();
            return Err(Error::conflict(format!("the group '{group}' reads other events: {}", read.join(", ")))
                .with_help("subscribe with another group, or to the same events"));
        }
        let config = Config {
            durable_name: Some(group.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_TIME_MAX,
            max_ack_pending: PENDING_MAX,
            filter_subjects: topics.to_vec(),
            deliver_policy: match since {
                Since::Start => DeliverPolicy::All,
                Since::End => DeliverPolicy::New,
            },
            ..Config::default()
        };
        self.make(&stream, config).await
    }
}

#[async_trait]
impl Broker for Nats {
    async fn publish(&self, message: &Outgoing) -> Result<Stored> {
        let mut publish = PublishMessage::build().payload(message.payload.clone()).message_id(&message.id);
        for (name, value) in &message.headers {
            publish = publish.header(*name, value.as_str());
        }
        let failed = |error: async_nats::jetstream::context::PublishError| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                Error::invalid(format!("the event {} is longer than NATS takes: {error}", message.id))
            }
            _ => self.unavailable("publishing", error),
        };
        let sent = self.context.send_publish(message.topic.clone(), publish).await.map_err(failed)?;
        let stored = sent.await.map_err(failed)?;
        Ok(if stored.duplicate { Stored::Before } else { Stored::New })
    }

    async fn subscribe(&self, topics: &[String], group: &str, since: Since) -> Result<Box<dyn Feed>> {
        let consumer = self.group(topics, group, since).await?;
        let again = Again::Group { topics: topics.to_vec(), group: group.to_owned() };
        Ok(Box::new(NatsFeed { nats: self.clone(), again, consumer: Some(consumer), messages: None, next: 1 }))
    }

    async fn tail(&self, subject: &str, since: Since) -> Result<Box<dyn Feed>> {
        let of_letters = subject == crate::DEAD_LETTERS || subject.starts_with("dead_letter.");
        let name = if of_letters { self.dead_letters() } else { self.stream.clone() };
        let stream = self.existing(&name).await?;
        let state = &stream.cached_info().state;
        let next = match since {
            Since::Start => 1,
            Since::End => state.last_sequence + 1,
        };
        let again = Again::Tail { stream: name, subject: subject.to_owned() };
        Ok(Box::new(NatsFeed { nats: self.clone(), again, consumer: None, messages: None, next }))
    }
}

/// How reading goes on after a loss.
enum Again {
    Group { topics: Vec<String>, group: String },
    Tail { stream: String, subject: String },
}

struct NatsFeed {
    nats: Nats,
    again: Again,
    consumer: Option<Consumer<Config>>,
    messages: Option<Messages>,
    /// The sequence at which a tail goes on.
    next: u64,
}

impl NatsFeed {
    async fn attach(&self) -> Result<Consumer<Config>> {
        match &self.again {
            Again::Group { topics, group } => self.nats.group(topics, group, Since::Start).await,
            Again::Tail { stream, subject } => {
                let stream = self.nats.existing(stream).await?;
                let config = Config {
                    ack_policy: AckPolicy::None,
                    deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next },
                    filter_subject: subject.clone(),
                    memory_storage: true,
                    num_replicas: 1,
                    ..Config::default()
                };
                self.nats.make(&stream, config).await
            }
        }
    }
}

#[async_trait]
impl Feed for NatsFeed {
    async fn next(&mut self) -> Result<Incoming> {
        if self.consumer.is_none() {
            self.consumer = Some(self.attach().await?);
        }
        if self.messages.is_none()
            && let Some(consumer) = &self.consumer
        {
            let asked = consumer.stream().max_messages_per_batch(PULL_MESSAGES).heartbeat(HEARTBEAT).messages().await;
            self.messages = Some(asked.map_err(|error| self.nats.unavailable("reading", error))?);
        }
        let Some(messages) = &mut self.messages else { return Err(Error::internal("nothing is read")) };
        let message = match messages.next().await {
            Some(Ok(message)) => message,
            lost => {
                (self.consumer, self.messages) = (None, None);
                let why = lost.and_then(Result::err).map_or_else(|| "the end".to_owned(), |error| error.to_string());
                return Err(self.nats.unavailable("reading", why));
            }
        };
        let info = message.info().map_err(|error| self.nats.unavailable("reading", error))?;
        let (sequence, position) = (info.stream_sequence, format!("{}:{}", info.stream, info.stream_sequence));
        self.next = sequence + 1;
        let is_acknowledged = matches!(self.again, Again::Group { .. });
        let receipt = NatsReceipt { message: is_acknowledged.then(|| message.clone()), nats: self.nats.clone() };
        let (message, _) = message.split();
        let topic = message.subject.to_string();
        Ok(Incoming { topic, payload: message.payload, position, receipt: Box::new(receipt) })
    }
}

struct NatsReceipt {
    message: Option<jetstream::Message>,
    nats: Nats,
}

#[async_trait]
impl Receipt for NatsReceipt {
    async fn give(&self) -> Result<()> {
        let Some(message) = &self.message else { return Ok(()) };
        // The client waits for the answer for ever, which a server that was killed does not give.
        let told = tokio::time::timeout(ANSWER_TIME_MAX, message.double_ack()).await;
        let told = told.map_err(|_| self.nats.unavailable("acknowledging", "there is no answer"))?;
        told.map_err(|error| self.nats.unavailable("acknowledging", error))
    }
}
