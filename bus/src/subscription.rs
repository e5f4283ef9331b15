//! The reading end: events that are checked, each until it is acknowledged; and subjects as they are. State: the ids of
//! the latest events that were acknowledged, a bounded number.

use crate::Bus;
use crate::broker::{Feed, Incoming, Receipt};
use crate::event::Event;
use crate::recent::Recent;
use crate::retry::{pause, with_retries};
use bytes::Bytes;
use headwater_core::{ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// How many acknowledged events are remembered: a broker delivers again what was on its way when it lost us, far less.
const RECENT_MAX: usize = 100_000;

/// Events of a group.
pub struct Subscription {
    bus: Bus,
    feed: Box<dyn Feed>,
    recent: Arc<Mutex<Recent>>,
}

/// An event that was delivered. Dropped without an acknowledgement it comes again: to this member or another, after a
/// while or after a restart.
pub struct Delivery {
    event: Event,
    position: String,
    receipt: Box<dyn Receipt>,
    recent: Arc<Mutex<Recent>>,
}

impl Subscription {
    pub(crate) fn new(bus: Bus, feed: Box<dyn Feed>) -> Self {
        Self { bus, feed, recent: Arc::new(Mutex::new(Recent::new(RECENT_MAX))) }
    }

    /// Waits for the next event, however long the broker is away. What is no event of a contract is put among the dead
    /// letters of the bus; what was acknowledged before is left out.
    ///
    /// # Errors
    /// What no waiting mends.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            let Incoming { topic, payload, position, receipt } = next(self.feed.as_mut()).await?;
            let source = format!("bus {topic}");
            let parsed = match Event::parse(&payload, &source, &position) {
                Ok(event) if event.event_type() != topic => {
                    let message = format!("the event is a {}, it came as a {topic}", event.event_type());
                    let payload = headwater_contracts::payload_text(&payload);
                    let reason = headwater_core::Reason::UnknownType;
                    let (source, position, path) = (source, position.clone(), "type".to_owned());
                    Err(Box::new(headwater_core::DeadLetter { reason, message, path, source, position, payload }))
                }
                parsed => parsed,
            };
            let event = match parsed {
                Ok(event) => event,
                Err(letter) => {
                    tracing::warn!(position = %letter.position, reason = %letter.reason, "a message is no event");
                    self.bus.reject(&topic, &letter).await?;
                    with_retries(|| receipt.give()).await?;
                    continue;
                }
            };
            if self.recent.lock().unwrap_or_else(PoisonError::into_inner).knows(&event.version_id()) {
                with_retries(|| receipt.give()).await?;
                continue;
            }
            return Ok(Delivery { event, position, receipt, recent: self.recent.clone() });
        }
    }
}

impl Delivery {
    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Returns where it was, for people.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.position
    }

    /// Says that the event is dealt with; returns when the broker knows.
    ///
    /// # Errors
    /// `Unavailable`: it may come again.
    pub async fn ack(self) -> Result<()> {
        // First, so that it is left out when the broker does not hear it and delivers it once more.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).add(self.event.version_id());
        with_retries(|| self.receipt.give()).await
    }
}

/// Messages as they are.
pub struct Tail {
    feed: Box<dyn Feed>,
}

impl Tail {
    pub(crate) fn new(feed: Box<dyn Feed>) -> Self {
        Self { feed }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// What no waiting mends.
    pub async fn next(&mut self) -> Result<Bytes> {
        Ok(next(self.feed.as_mut()).await?.payload)
    }
}

/// Waits for the next message, and for the broker when it is away.
async fn next(feed: &mut dyn Feed) -> Result<Incoming> {
    let mut n_failures = 0;
    loop {
        match feed.next().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                n_failures += 1;
                let pause = pause(n_failures);
                tracing::warn!(%error, n_failures, ?pause, "unavailable, trying again");
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
    }
}
