//! The receiving side of a task: many channels, read fairly, with barriers aligned and watermarks merged.
//!
//! A channel whose barrier has come stays unread until the others have caught up. Among the rest the one after the
//! last read comes first, so a busy channel cannot starve a quiet one. It buffers nothing.

use crate::alignment::Alignment;
use crate::channel::Receiver;
use crate::task::Interrupt;
use crate::watermark_merge::WatermarkMerge;
use headwater_core::{Barrier, Batch, Message, Watermark};
use std::future::poll_fn;
use std::task::{Context, Poll};

/// All channels of a task.
pub(crate) struct Inputs {
    channels: Vec<Channel>,
    alignment: Alignment,
    watermark: WatermarkMerge,
    next: usize,
}

struct Channel {
    receiver: Receiver,
    /// The input of the node that it feeds.
    input: usize,
}

/// What a task has to act on.
#[derive(Debug)]
pub(crate) enum Event {
    /// Rows of one input.
    Batch(usize, Batch),
    /// The merged watermark has changed.
    Watermark(Watermark),
    /// All channels have delivered this barrier.
    Barrier(Barrier),
    /// All channels have ended.
    End,
}

impl Inputs {
    /// Makes the receiving side out of channels and the inputs that they feed.
    pub(crate) fn new(channels: Vec<(usize, Receiver)>) -> Self {
        let n_channels = channels.len();
        Self {
            channels: channels.into_iter().map(|(input, receiver)| Channel { receiver, input }).collect(),
            alignment: Alignment::new(n_channels),
            watermark: WatermarkMerge::new(n_channels),
            next: 0,
        }
    }

    /// Returns the next thing to act on.
    pub(crate) async fn next(&mut self) -> Result<Event, Interrupt> {
        loop {
            let (channel, message) = poll_fn(|context| self.poll_any(context)).await.ok_or(Interrupt::Gone)?;
            match message {
                Message::Batch(batch) => return Ok(Event::Batch(self.channels[channel].input, batch)),
                Message::Watermark(watermark) => {
                    if let Some(merged) = self.watermark.update(channel, watermark) {
                        return Ok(Event::Watermark(merged));
                    }
                }
                Message::Barrier(barrier) => {
                    if let Some(aligned) = self.alignment.arrive(channel, barrier)? {
                        return Ok(Event::Barrier(aligned));
                    }
                }
                Message::End => {
                    self.alignment.end(channel)?;
                    if self.alignment.all_ended() {
                        return Ok(Event::End);
                    }
                }
            }
        }
    }

    fn poll_any(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Message)>> {
        let n_channels = self.channels.len();
        for step in 0..n_channels {
            let channel = (self.next + step) % n_channels;
            if !self.alignment.may_read(channel) {
                continue;
            }
            if let Poll::Ready(received) = self.channels[channel].receiver.poll_recv(context) {
                self.next = channel + 1;
                return Poll::Ready(received.map(|message| (channel, message)));
            }
        }
        Poll::Pending
    }
}
