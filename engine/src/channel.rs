//! A channel between two tasks that is bounded by rows. That is all of backpressure.
//!
//! A batch takes as much room as it has rows, everything else the room of one row. A batch that is larger than the
//! whole channel takes all of it, so it passes once the channel is empty and nothing can get stuck. Room is given
//! back when a message is taken out. A channel has one sender and one receiver; it never reorders.

use headwater_core::Message;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{Semaphore, mpsc};

/// The task at the other end is gone. It is never a cause, only a consequence: the cause is what ended that task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The end that sends.
#[derive(Debug)]
pub(crate) struct Sender {
    queue: mpsc::UnboundedSender<(Message, u32)>,
    room: Arc<Semaphore>,
    rows_max: u32,
}

/// The end that receives.
#[derive(Debug)]
pub(crate) struct Receiver {
    queue: mpsc::UnboundedReceiver<(Message, u32)>,
    room: Arc<Semaphore>,
}

/// Makes a channel with room for this many rows, at least one.
pub(crate) fn channel(rows_max: usize) -> (Sender, Receiver) {
    let rows_max = u32::try_from(rows_max.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new(rows_max as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sender { queue: sender, room: room.clone(), rows_max }, Receiver { queue: receiver, room })
}

impl Sender {
    /// Sends a message, waiting for room.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Gone> {
        let rows = match &message {
            Message::Batch(batch) => u32::try_from(batch.n_rows()).unwrap_or(u32::MAX),
            Message::Watermark(_) | Message::Barrier(_) | Message::End => 1,
        };
        let cost = rows.clamp(1, self.rows_max);
        self.room.acquire_many(cost).await.map_err(|_| Gone)?.forget();
        self.queue.send((message, cost)).map_err(|_| Gone)
    }
}

impl Receiver {
    /// Takes the next message out; `None` when the sender is gone.
    pub(crate) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.queue.poll_recv(context).map(|received| {
            let (message, cost) = received?;
            self.room.add_permits(cost as usize);
            Some(message)
        })
    }
}

impl Drop for Receiver {
    /// Wakes a sender that waits for room.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::numbers;
    use futures_poll::{poll_once, recv};
    use headwater_core::{Batch, EventTime, Watermark};
    use std::pin::pin;

    /// Polling by hand, so that "is waiting" can be asserted.
    mod futures_poll {
        use super::{Message, Receiver};
        use std::future::{Future, poll_fn};
        use std::pin::Pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(Waker::noop()))
        }

        pub(super) async fn recv(receiver: &mut Receiver) -> Option<Message> {
            poll_fn(|context| receiver.poll_recv(context)).await
        }
    }

    fn batch(n_rows: i64) -> Message {
        Message::Batch(Batch::append_only(numbers(0..n_rows)))
    }

    #[tokio::test]
    async fn a_sender_waits_until_there_is_room_for_all_rows() {
        let (sender, mut receiver) = channel(10);
        sender.send(batch(8)).await.unwrap();
        let mut second = pin!(sender.send(batch(3)));
        assert!(poll_once(second.as_mut()).is_pending(), "8 + 3 rows are more than 10");
        assert!(matches!(recv(&mut receiver).await, Some(Message::Batch(b)) if b.n_rows() == 8));
        assert!(poll_once(second.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_channel_passes_when_it_is_empty() {
        let (sender, mut receiver) = channel(10);
        sender.send(batch(1_000)).await.unwrap();
        let mut next = pin!(sender.send(Message::Watermark(Watermark::At(EventTime(1)))));
        assert!(poll_once(next.as_mut()).is_pending());
        assert!(matches!(recv(&mut receiver).await, Some(Message::Batch(b)) if b.n_rows() == 1_000));
        assert!(poll_once(next.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_waiting_sender_learns_that_the_receiver_is_gone() {
        let (sender, receiver) = channel(1);
        sender.send(batch(1)).await.unwrap();
        let mut second = pin!(sender.send(batch(1)));
        assert!(poll_once(second.as_mut()).is_pending());
        drop(receiver);
        assert_eq!(second.await, Err(Gone));
    }

    #[tokio::test]
    async fn what_was_sent_is_received_before_the_sender_is_missed() {
        let (sender, mut receiver) = channel(4);
        sender.send(Message::End).await.unwrap();
        drop(sender);
        assert!(matches!(recv(&mut receiver).await, Some(Message::End)));
        assert!(recv(&mut receiver).await.is_none());
    }
}
