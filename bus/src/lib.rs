//! The event bus of the programme services: events of the contracts, published and subscribed over NATS JetStream
//! (`nats://host:4222`) or Kafka (`kafka://host:9092`).
//!
//! What leaves is valid: an [`Event`] can only be made of a line that fulfils its contract. It is acknowledged only
//! when the broker has it. What comes is valid too: a message that is none goes to the dead letters of the bus with
//! the reason. A broker that is away is asked again, with growing pauses: here, unlike in the engine, there is nobody
//! else who would. It never decodes an event into columns and keeps nothing on disk; what it keeps in memory is the ids
//! of the latest events, a bounded number of them.

mod address;
mod broker;
mod event;
mod kafka;
mod nats;
mod patterns;
mod recent;
mod retry;
mod subscription;

pub use address::ADDRESS_HELP;
pub use broker::{Since, Stored};
pub use event::{Event, faults};
pub use subscription::{Delivery, Subscription, Tail};

use address::Address;
use broker::{Broker, Outgoing};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use headwater_contracts::{find, rejected_line};
use headwater_core::{DeadLetter, Error, Result};
use retry::with_retries;
use std::sync::Arc;

/// What the subjects of dead letters begin with; the event type follows.
const DEAD_LETTERS: &str = "dead_letter";
/// How many events wait for the broker's word at a time: enough to fill a round trip.
const IN_FLIGHT_MAX: usize = 64;

/// A connection to the bus. Clones share it.
#[derive(Clone)]
pub struct Bus(Arc<dyn Broker>);

impl Bus {
    /// Connects to a broker, and makes what the bus needs there where it is missing.
    ///
    /// # Errors
    /// `Invalid` for an address that is none, `Conflict` when what is there does not fit, `Unavailable`.
    pub async fn connect(url: &str) -> Result<Self> {
        let broker: Arc<dyn Broker> = match Address::parse(url)? {
            Address::Nats(address) => Arc::new(nats::Nats::connect(&address).await?),
            Address::Kafka(address) => Arc::new(kafka::Kafka::connect(&address)?),
        };
        Ok(Self(broker))
    }

    /// Publishes an event and returns when the broker has it. Repeating it is harmless.
    ///
    /// # Errors
    /// `Unavailable` when the broker did not take it however often it was asked; `Invalid` when it never will.
    pub async fn publish(&self, event: &Event) -> Result<Stored> {
        let message = event.outgoing();
        with_retries(|| self.0.publish(&message)).await
    }

    /// Publishes events, several at a time, and returns what became of each, in their order.
    ///
    /// # Errors
    /// As for [`Bus::publish`]; events before the one that failed may have been published, and so may some after it.
    pub async fn publish_all(&self, events: &[Event]) -> Result<Vec<Stored>> {
        let (mut stored, mut waiting) = (Vec::with_capacity(events.len()), FuturesOrdered::new());
        for event in events {
            if waiting.len() >= IN_FLIGHT_MAX
                && let Some(result) = waiting.next().await
            {
                stored.push(result?);
            }
            waiting.push_back(self.publish(event));
        }
        while let Some(result) = waiting.next().await {
            stored.push(result?);
        }
        Ok(stored)
    }

    /// Puts a line that is no event among the dead letters of the bus.
    ///
    /// # Errors
    /// As for [`Bus::publish`].
    pub async fn reject(&self, topic: &str, letter: &DeadLetter) -> Result<()> {
        let line = rejected_line(letter);
        let id = format!("{}/{}/{}", letter.source, letter.position, letter.reason);
        self.reject_line(topic, line, id).await
    }

    /// Puts a line that is a dead letter already among those of the bus, under an id that names it.
    ///
    /// # Errors
    /// As for [`Bus::publish`].
    pub async fn reject_line(&self, topic: &str, line: Vec<u8>, id: String) -> Result<()> {
        let topic = format!("{DEAD_LETTERS}.{}", topic.strip_prefix("dead_letter.").unwrap_or(topic));
        let message = Outgoing { topic, key: id.clone(), id, payload: line.into(), headers: Vec::new() };
        with_retries(|| self.0.publish(&message)).await.map(|_| ())
    }

    /// Subscribes to event types; none for all of them. Members of a group share the events and go on where the group
    /// was; the first time it begins at `since`.
    ///
    /// # Errors
    /// `Invalid` for a type that does not exist, `Unavailable`.
    pub async fn subscribe(&self, types: &[&str], group: &str, since: Since) -> Result<Subscription> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if group.is_empty() || !group.chars().all(is_name) {
            return Err(Error::invalid(format!("'{group}' is no name of a group"))
                .with_help("use letters, digits, '_' and '-'"));
        }
        let topics: Result<Vec<String>> = match types {
            [] => Ok(headwater_contracts::catalog().iter().map(|c| c.event_type().to_owned()).collect()),
            types => types.iter().map(|name| Ok(find(name)?.event_type().to_owned())).collect(),
        };
        let topics = topics?;
        let feed = with_retries(|| self.0.subscribe(&topics, group, since)).await?;
        Ok(Subscription::new(self.clone(), feed))
    }

    /// Follows subjects as they are, with `*` for one token and `>` for all that follow: nothing is checked, and nobody
    /// is told what was seen.
    ///
    /// # Errors
    /// `Invalid` for what is no subject, `Unavailable`.
    pub async fn tail(&self, subject: &str, since: Since) -> Result<Tail> {
        patterns::check(subject)?;
        let feed = with_retries(|| self.0.tail(subject, since)).await?;
        Ok(Tail::new(feed))
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bus")
    }
}
