//! The bus over Kafka: a topic for each event type, and one for its dead letters. The key of a message is the id of its
//! event, so that a correction comes after what it corrects.
//!
//! The producer is idempotent: what it sends again within a connection is stored once. What is published again later is
//! stored again, and left out by who reads. A group's offset moves over what is acknowledged without a gap. State:
//! the producer, and for each subscription the offsets that are not acknowledged.

use crate::broker::{Broker, Feed, Incoming, Outgoing, Receipt, Since, Stored};
use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How long the broker may take to store a message.
const STORE_TIME_MAX: Duration = Duration::from_secs(10);
/// After which time without a sign of a member others get its partitions.
const SESSION_TIME_MAX: Duration = Duration::from_secs(10);

/// A producer and where it sends.
pub(crate) struct Kafka {
    brokers: String,
    producer: FutureProducer,
}

impl Kafka {
    pub(crate) fn connect(brokers: &str) -> Result<Self> {
        let mut config = base(brokers);
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "2");
        config.set("message.timeout.ms", STORE_TIME_MAX.as_millis().to_string());
        let producer = config.create().map_err(|error| failure(brokers, "connecting", &error))?;
        Ok(Self { brokers: brokers.to_owned(), producer })
    }

    fn consumer(&self, group: &str, since: Since) -> Result<StreamConsumer> {
        let mut config = base(&self.brokers);
        config.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("session.timeout.ms", SESSION_TIME_MAX.as_millis().to_string());
        config.set("allow.auto.create.topics", "true").set("topic.metadata.refresh.interval.ms", "2000");
        config.set(
            "auto.offset.reset",
            match since {
                Since::Start => "earliest",
                Since::End => "latest",
            },
        );
        config.create().map_err(|error| failure(&self.brokers, "subscribing", &error))
    }

    fn feed(&self, consumer: StreamConsumer, commits: bool, topics: &[&str]) -> Result<Box<dyn Feed>> {
        consumer.subscribe(topics).map_err(|error| failure(&self.brokers, "subscribing", &error))?;
        let group = Group { consumer, commits, brokers: self.brokers.clone(), reached: Mutex::default() };
        Ok(Box::new(KafkaFeed(Arc::new(group))))
    }
}

fn base(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "headwater-bus");
    config
}

/// Makes the error of a failed call, by whether asking again may help.
fn failure(brokers: &str, what: &str, error: &KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    let message = format!("Kafka at {brokers}: {what}: {error}");
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessage | Code::InvalidMessageSize | Code::InvalidTopic) => {
            Error::invalid(message)
        }
        Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            Error::invalid(message).with_help("ask for the rights to the topics of the events and to dead_letter.*")
        }
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => Error::unavailable(message)
            .with_help("make the topic, or let the broker make topics (auto.create.topics.enable)"),
        None if matches!(error, KafkaError::ClientConfig(..)) => Error::invalid(message),
        _ => Error::unavailable(message),
    }
}

#[async_trait]
impl Broker for Kafka {
    async fn publish(&self, message: &Outgoing) -> Result<Stored> {
        let mut headers = OwnedHeaders::new().insert(Header { key: "Message-Id", value: Some(&message.id) });
        for (name, value) in &message.headers {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let payload: &[u8] = &message.payload;
        let record = FutureRecord::to(&message.topic).key(&message.key).payload(payload).headers(headers);
        let sent = self.producer.send(record, Timeout::After(STORE_TIME_MAX)).await;
        sent.map(|_| Stored::New).map_err(|(error, _)| failure(&self.brokers, "publishing", &error))
    }

    async fn subscribe(&self, topics: &[String], group: &str, since: Since) -> Result<Box<dyn Feed>> {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.feed(self.consumer(group, since)?, true, &topics)
    }

    async fn tail(&self, subject: &str, since: Since) -> Result<Box<dyn Feed>> {
        // A group of its own, which is never told what was seen.
        let consumer = self.consumer(&format!("headwater-tail-{}", Uuid::new_v4()), since)?;
        let pattern = crate::patterns::regex(subject);
        let is_name = !subject.contains(['*', '>']);
        self.feed(consumer, false, &[if is_name { subject } else { &pattern }])
    }
}

/// A member of a group.
struct Group {
    consumer: StreamConsumer,
    commits: bool,
    brokers: String,
    reached: Mutex<HashMap<(String, i32), Reached>>,
}

/// How far a partition was delivered, and what of it is not acknowledged.
#[derive(Default)]
struct Reached {
    next: i64,
    open: BTreeSet<i64>,
}

impl Reached {
    /// Notes a delivery. One that goes back means that the partition came back to us.
    fn delivered(&mut self, offset: i64) {
        if offset < self.next {
            self.open.clear();
        }
        self.open.insert(offset);
        self.next = offset + 1;
    }

    /// Notes an acknowledgement, and returns where the group is.
    fn acknowledged(&mut self, offset: i64) -> i64 {
        self.open.remove(&offset);
        self.open.first().copied().unwrap_or(self.next)
    }
}

impl Group {
    fn commit(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let next = reached.entry((topic.to_owned(), partition)).or_default().acknowledged(offset);
        drop(reached);
        let mut offsets = TopicPartitionList::new();
        let added = offsets.add_partition_offset(topic, partition, Offset::Offset(next));
        added.map_err(|error| failure(&self.brokers, "acknowledging", &error))?;
        use RDKafkaErrorCode as Code;
        match self.consumer.commit(&offsets, CommitMode::Sync) {
            // Another member has the partition now, and gets the event once more.
            Err(error)
                if matches!(
                    error.rdkafka_error_code(),
                    Some(Code::IllegalGeneration | Code::UnknownMemberId | Code::RebalanceInProgress)
                ) =>
            {
                tracing::warn!(topic, partition, offset, %error, "an event that was acknowledged may come again");
                Ok(())
            }
            result => result.map_err(|error| failure(&self.brokers, "acknowledging", &error)),
        }
    }
}

struct KafkaFeed(Arc<Group>);

impl Drop for KafkaFeed {
    /// Leaves the group, so that others need not wait until it is noticed.
    fn drop(&mut self) {
        self.0.consumer.unsubscribe();
    }
}

#[async_trait]
impl Feed for KafkaFeed {
    async fn next(&mut self) -> Result<Incoming> {
        loop {
            let message = match self.0.consumer.recv().await {
                Ok(message) => message,
                // A topic that nobody has written to yet.
                Err(error)
                    if matches!(
                        error.rdkafka_error_code(),
                        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
                    ) =>
                {
                    tracing::debug!(%error, "not there yet");
                    continue;
                }
                Err(error) => return Err(failure(&self.0.brokers, "reading", &error)),
            };
            let (topic, partition, offset) = (message.topic().to_owned(), message.partition(), message.offset());
            let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            let mut reached = self.0.reached.lock().unwrap_or_else(PoisonError::into_inner);
            reached.entry((topic.clone(), partition)).or_default().delivered(offset);
            drop(reached);
            let position = format!("{topic}/{partition}:{offset}");
            let receipt = KafkaReceipt { group: self.0.clone(), topic: topic.clone(), partition, offset };
            return Ok(Incoming { topic, payload, position, receipt: Box::new(receipt) });
        }
    }
}

struct KafkaReceipt {
    group: Arc<Group>,
    topic: String,
    partition: i32,
    offset: i64,
}

#[async_trait]
impl Receipt for KafkaReceipt {
    async fn give(&self) -> Result<()> {
        if !self.group.commits {
            return Ok(());
        }
        let (group, topic, partition, offset) = (self.group.clone(), self.topic.clone(), self.partition, self.offset);
        let told = tokio::task::spawn_blocking(move || group.commit(&topic, partition, offset)).await;
        told.map_err(|error| Error::internal(format!("acknowledging ended early: {error}")))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_where_nothing_before_is_open() {
        let mut reached = Reached::default();
        (5..9).for_each(|offset| reached.delivered(offset));
        assert_eq!(reached.acknowledged(6), 5);
        assert_eq!(reached.acknowledged(5), 7);
        assert_eq!(reached.acknowledged(8), 7);
        assert_eq!(reached.acknowledged(7), 9);
        reached.delivered(7);
        assert_eq!(reached.acknowledged(7), 8);
    }
}
