//! The event bus in the place of the inbox: what importers and the API hand over is published; and the way back, from
//! the bus into the inbox of a server. State: none but the connection.

use bytes::Bytes;
use headwater_bus::{Bus, Event, Since};
use headwater_connectors::inbox::Inbox;
use headwater_core::Result;
use std::sync::Arc;
use tokio::runtime::Handle;
use uuid::Uuid;

/// The group of servers that take events from the bus into their inbox.
const GROUP: &str = "headwater-serve";

/// Publishes lines of a topic: events as events, everything else as a dead letter of the bus.
pub(crate) async fn publish(bus: &Bus, topic: &str, lines: &[Bytes]) -> Result<()> {
    let mut events = Vec::with_capacity(lines.len());
    for line in lines {
        if line.starts_with(b"{\"rejected\":") {
            // An importer has refused a row.
            bus.reject_line(topic, line.to_vec(), name(line).to_string()).await?;
            continue;
        }
        match Event::parse(line, topic, &name(line).to_string()) {
            Ok(event) => events.push(event),
            Err(letter) => bus.reject(topic, &letter).await?,
        }
    }
    bus.publish_all(&events).await.map(|_| ())
}

/// Names a line by its content, so that the same one has the same name.
fn name(line: &[u8]) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, line)
}

/// As [`publish`], for a caller that blocks a thread.
pub(crate) fn publish_blocking(bus: &Bus, topic: &str, lines: Vec<Vec<u8>>) -> Result<()> {
    let lines: Vec<Bytes> = lines.into_iter().map(Bytes::from).collect();
    tokio::task::block_in_place(|| Handle::current().block_on(publish(bus, topic, &lines)))
}

/// Takes the events of the bus into an inbox, one after the other; each is acknowledged when it is on disk.
pub(crate) async fn into_inbox(bus: &Bus, inbox: Arc<Inbox>) -> Result<()> {
    let mut events = bus.subscribe(&[], GROUP, Since::Start).await?;
    loop {
        let delivery = events.next().await?;
        let (inbox, event) = (inbox.clone(), delivery.event().clone());
        crate::blocking(move || inbox.append(event.event_type(), &[event.line()]).map(|_| ())).await?;
        delivery.ack().await?;
    }
}
