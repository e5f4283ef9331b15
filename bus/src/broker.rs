//! What the bus asks of a broker. Each call is one try: who calls asks again.

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::Result;

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With the oldest event that is there.
    Start,
    /// With the next one that is published.
    End,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The broker has it now.
    New,
    /// The broker had it before.
    Before,
}

/// A message on its way to the broker.
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    /// Messages of one key keep their order.
    pub(crate) key: String,
    /// The same for the same message, however often it is sent.
    pub(crate) id: String,
    pub(crate) payload: Bytes,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// A message that came.
pub(crate) struct Incoming {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// Where it was, for people: `stream:sequence`, `topic/partition:offset`.
    pub(crate) position: String,
    pub(crate) receipt: Box<dyn Receipt>,
}

/// Tells the broker that a message is dealt with.
#[async_trait]
pub(crate) trait Receipt: Send + Sync {
    /// Tells it, and returns when it knows.
    async fn give(&self) -> Result<()>;
}

/// Messages, one after the other.
#[async_trait]
pub(crate) trait Feed: Send {
    /// Waits for the next message. It is cancel-safe.
    async fn next(&mut self) -> Result<Incoming>;
}

/// A broker.
#[async_trait]
pub(crate) trait Broker: Send + Sync {
    /// Publishes a message and returns when it is durable.
    async fn publish(&self, message: &Outgoing) -> Result<Stored>;

    /// Reads topics as a member of a group.
    async fn subscribe(&self, topics: &[String], group: &str, since: Since) -> Result<Box<dyn Feed>>;

    /// Reads subjects for itself alone.
    async fn tail(&self, subject: &str, since: Since) -> Result<Box<dyn Feed>>;
}
