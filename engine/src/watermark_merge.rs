//! The watermark of a task that reads several channels: the minimum over those that are not idle.
//!
//! What comes out only grows. A channel that says nothing holds the others back; one that is idle does not; when all
//! are idle, so is the task. Its state is one watermark per channel. It knows neither rows nor time.

use headwater_core::{EventTime, Watermark};

/// Merges the watermarks of several channels into one that only grows.
#[derive(Debug)]
pub struct WatermarkMerge {
    channels: Vec<Watermark>,
    /// The greatest time that came out.
    reached: EventTime,
    /// Whether the last that came out was [`Watermark::Idle`].
    idle: bool,
}

impl WatermarkMerge {
    /// Makes the merge of this many channels, of which none has promised anything yet.
    #[must_use]
    pub fn new(n_channels: usize) -> Self {
        Self { channels: vec![Watermark::At(EventTime::MIN); n_channels], reached: EventTime::MIN, idle: false }
    }

    /// Takes the watermark of a channel and returns that of the task when it has changed.
    pub fn update(&mut self, channel: usize, watermark: Watermark) -> Option<Watermark> {
        self.channels[channel] = watermark;
        let active = self.channels.iter().filter_map(|watermark| match watermark {
            Watermark::At(time) => Some(*time),
            Watermark::Idle => None,
        });
        let merged = match active.min() {
            Some(time) => Watermark::At(time.max(self.reached)),
            None => Watermark::Idle,
        };
        if merged == self.last() {
            return None;
        }
        match merged {
            Watermark::At(time) => (self.reached, self.idle) = (time, false),
            Watermark::Idle => self.idle = true,
        }
        Some(merged)
    }

    fn last(&self) -> Watermark {
        if self.idle { Watermark::Idle } else { Watermark::At(self.reached) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(time: i64) -> Watermark {
        Watermark::At(EventTime(time))
    }

    #[test]
    fn the_slowest_channel_decides() {
        let mut merge = WatermarkMerge::new(2);
        assert_eq!(merge.update(0, at(5)), None);
        assert_eq!(merge.update(1, at(3)), Some(at(3)));
        assert_eq!(merge.update(1, at(9)), Some(at(5)));
    }

    #[test]
    fn an_idle_channel_holds_nobody_back_and_all_idle_is_idle() {
        let mut merge = WatermarkMerge::new(2);
        assert_eq!(merge.update(0, at(5)), None);
        assert_eq!(merge.update(1, Watermark::Idle), Some(at(5)));
        assert_eq!(merge.update(0, Watermark::Idle), Some(Watermark::Idle));
        assert_eq!(merge.update(0, at(4)), Some(at(5)), "awake again, and never backwards");
    }

    fn watermark() -> impl Strategy<Value = Watermark> {
        prop_oneof![4 => (0_i64..20).prop_map(at), 1 => Just(Watermark::Idle)]
    }

    proptest! {
        #[test]
        fn grows_and_never_passes_the_slowest_channel_that_is_awake(
            updates in prop::collection::vec((0_usize..4, watermark()), 0..60),
        ) {
            let mut merge = WatermarkMerge::new(4);
            let mut channels = [at(i64::MIN); 4];
            let mut last = at(i64::MIN);
            let mut reached = i64::MIN;
            for (channel, watermark) in updates {
                channels[channel] = watermark;
                let times: Vec<i64> =
                    channels.iter().filter_map(|w| if let Watermark::At(t) = w { Some(t.0) } else { None }).collect();
                let changed = merge.update(channel, watermark);
                last = changed.unwrap_or(last);
                match last {
                    Watermark::Idle => prop_assert!(times.is_empty()),
                    Watermark::At(time) => {
                        prop_assert!(time.0 >= reached);
                        let slowest = *times.iter().min().expect("somebody is awake");
                        // It stands at the slowest channel, or where it already was.
                        prop_assert_eq!(time.0, slowest.max(reached));
                        reached = time.0;
                    }
                }
            }
        }
    }
}
