//! Barrier alignment: when a task that reads several channels may let a barrier pass.
//!
//! A channel that has delivered the barrier is blocked until all others have delivered it too; what follows on it
//! belongs to the next epoch and stays unread in the channel, so alignment buffers nothing itself. A channel that has
//! ended counts as delivered. Its state is one flag per channel. It never reads a channel.

use headwater_core::{Barrier, Error, Result};

/// Which channels have delivered the barrier that a task is waiting for.
#[derive(Debug)]
pub struct Alignment {
    channels: Vec<Channel>,
    n_open: usize,
    n_blocked: usize,
    waiting_for: Option<Barrier>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    Blocked,
    Ended,
}

impl Alignment {
    /// Makes the alignment of a task with this many channels.
    #[must_use]
    pub fn new(n_channels: usize) -> Self {
        Self { channels: vec![Channel::Open; n_channels], n_open: n_channels, n_blocked: 0, waiting_for: None }
    }

    /// Takes the barrier that a channel delivered, and returns it when it is the last one missing: then all blocked
    /// channels are open again.
    ///
    /// # Errors
    /// `Internal` when the channel was not to be read, or when two channels disagree about the barrier.
    pub fn arrive(&mut self, channel: usize, barrier: Barrier) -> Result<Option<Barrier>> {
        if !self.may_read(channel) {
            return Err(Error::internal(format!("channel {channel} was read while it was blocked or had ended")));
        }
        let expected = *self.waiting_for.get_or_insert(barrier);
        if expected != barrier {
            return Err(Error::internal(format!("barriers {expected:?} and {barrier:?} meet in one task")));
        }
        self.channels[channel] = Channel::Blocked;
        self.n_open -= 1;
        self.n_blocked += 1;
        Ok(self.release())
    }

    /// Notes that nothing follows on a channel.
    ///
    /// # Errors
    /// `Internal` when the channel was not to be read, or ended in the middle of an alignment: a stop barrier
    /// precedes every end.
    pub fn end(&mut self, channel: usize) -> Result<()> {
        if !self.may_read(channel) || self.waiting_for.is_some() {
            return Err(Error::internal(format!("channel {channel} ended before the stop barrier")));
        }
        self.channels[channel] = Channel::Ended;
        self.n_open -= 1;
        Ok(())
    }

    /// Returns whether a channel may be read now.
    #[must_use]
    pub fn may_read(&self, channel: usize) -> bool {
        self.channels[channel] == Channel::Open
    }

    /// Returns whether all channels have ended.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.n_open == 0 && self.n_blocked == 0
    }

    fn release(&mut self) -> Option<Barrier> {
        if self.n_open > 0 {
            return None;
        }
        for channel in &mut self.channels {
            if *channel == Channel::Blocked {
                *channel = Channel::Open;
                self.n_open += 1;
            }
        }
        self.n_blocked = 0;
        self.waiting_for.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::{BarrierKind, Epoch, EventTime};
    use proptest::prelude::*;

    fn barrier(epoch: u64) -> Barrier {
        Barrier { epoch: Epoch(epoch), kind: BarrierKind::Flush, time: EventTime(0) }
    }

    #[test]
    fn a_single_channel_never_waits() {
        let mut alignment = Alignment::new(1);
        assert_eq!(alignment.arrive(0, barrier(1)).unwrap(), Some(barrier(1)));
        assert!(alignment.may_read(0));
    }

    #[test]
    fn a_channel_that_delivered_is_blocked_until_the_last_one_has() {
        let mut alignment = Alignment::new(2);
        assert_eq!(alignment.arrive(1, barrier(1)).unwrap(), None);
        assert!(alignment.may_read(0) && !alignment.may_read(1));
        assert_eq!(alignment.arrive(0, barrier(1)).unwrap(), Some(barrier(1)));
        assert!(alignment.may_read(0) && alignment.may_read(1));
    }

    #[test]
    fn two_different_barriers_are_our_own_fault() {
        let mut alignment = Alignment::new(2);
        alignment.arrive(0, barrier(1)).unwrap();
        let error = alignment.arrive(1, barrier(2)).unwrap_err();
        assert_eq!(error.kind(), headwater_core::ErrorKind::Internal);
    }

    #[test]
    fn an_end_in_the_middle_of_an_alignment_is_our_own_fault() {
        let mut alignment = Alignment::new(2);
        alignment.arrive(0, barrier(1)).unwrap();
        alignment.end(1).unwrap_err();
    }

    proptest! {
        /// Channels deliver numbered items and barriers at their own pace. Whatever the interleaving, between two
        /// released barriers exactly the items of that epoch are read, from every channel.
        #[test]
        fn an_epoch_is_read_whole_and_nothing_else(
            sizes in prop::collection::vec(prop::collection::vec(0_usize..4, 3), 1..6),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let n_channels = sizes.len();
            // A channel's script: the epoch of each item, `None` for the barrier after it.
            let mut scripts: Vec<std::collections::VecDeque<(u64, bool)>> = sizes.iter().map(|epochs| {
                (1..).zip(epochs).flat_map(|(epoch, n)| {
                    std::iter::repeat_n((epoch, false), *n).chain([(epoch, true)])
                }).collect()
            }).collect();
            let mut alignment = Alignment::new(n_channels);
            let mut seen = 0;
            let mut epoch = 1;
            for choice in choices {
                let readable: Vec<usize> = (0..n_channels)
                    .filter(|channel| alignment.may_read(*channel) && !scripts[*channel].is_empty()).collect();
                if readable.is_empty() {
                    break;
                }
                let channel = readable[choice.index(readable.len())];
                let (of_epoch, is_barrier) = scripts[channel].pop_front().unwrap();
                prop_assert_eq!(of_epoch, epoch);
                if !is_barrier {
                    seen += 1;
                } else if let Some(released) = alignment.arrive(channel, barrier(of_epoch)).unwrap() {
                    prop_assert_eq!(released.epoch.0, epoch);
                    let expected: usize = sizes.iter().map(|epochs| epochs[usize::try_from(epoch - 1).unwrap()]).sum();
                    prop_assert_eq!(seen, expected);
                    seen = 0;
                    epoch += 1;
                }
            }
            prop_assert_eq!(epoch, 4, "all three epochs pass: an alignment never gets stuck");
            for channel in 0..n_channels {
                alignment.end(channel).unwrap();
            }
            prop_assert!(alignment.all_ended());
        }
    }
}
