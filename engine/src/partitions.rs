//! The watermark of one source task: the minimum over its partitions, of which idle ones do not count.
//!
//! A partition is known from its first row on. It is idle when it had no row for `idle_timeout` of reading time: time
//! during which the task was held up by those that read from it does not count, so backpressure makes nobody idle.
//! Its state is one entry per partition. It never asks a clock: the task passes the reading time in.

use headwater_core::{EventTime, Watermark};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of the partitions of one source task.
#[derive(Debug)]
pub struct Partitions {
    idle_timeout: Duration,
    known: BTreeMap<u32, Partition>,
    reached: EventTime,
    last: Watermark,
}

#[derive(Debug)]
struct Partition {
    watermark: EventTime,
    last_row_at: Duration,
    idle: bool,
}

impl Partitions {
    /// Makes the state of a task that has read nothing.
    #[must_use]
    pub fn new(idle_timeout: Duration) -> Self {
        Self::going_on(idle_timeout, EventTime::MIN)
    }

    /// Makes the state of a task that goes on where an earlier one had promised this watermark.
    #[must_use]
    pub fn going_on(idle_timeout: Duration, reached: EventTime) -> Self {
        Self { idle_timeout, known: BTreeMap::new(), reached, last: Watermark::At(reached) }
    }

    /// Returns the greatest watermark so far.
    #[must_use]
    pub fn reached(&self) -> EventTime {
        self.reached
    }

    /// Notes that rows of a partition came, before they are sent, and returns the watermark to send ahead of them:
    /// one that wakes the readers when they have been told that nothing comes.
    pub fn wake(&mut self, partition: u32, now: Duration) -> Option<Watermark> {
        let new = Partition { watermark: EventTime::MIN, last_row_at: now, idle: false };
        let entry = self.known.entry(partition).or_insert(new);
        entry.last_row_at = now;
        entry.idle = false;
        match self.last {
            Watermark::Idle => {
                self.last = Watermark::At(self.reached);
                Some(self.last)
            }
            Watermark::At(_) => None,
        }
    }

    /// Notes the watermark that the rows of a partition allow. It only grows.
    pub fn advance(&mut self, partition: u32, watermark: EventTime) {
        if let Some(entry) = self.known.get_mut(&partition) {
            entry.watermark = entry.watermark.max(watermark);
        }
    }

    /// Puts partitions without rows to rest and returns the task's watermark when it has changed.
    pub fn changed(&mut self, now: Duration) -> Option<Watermark> {
        for partition in self.known.values_mut() {
            partition.idle |= partition.last_row_at + self.idle_timeout <= now;
        }
        let merged = match self.known.values().filter(|partition| !partition.idle).map(|p| p.watermark).min() {
            Some(time) => Watermark::At(time.max(self.reached)),
            // Before the first row the task is idle once it has waited as long as a partition would.
            None if self.known.is_empty() && now < self.idle_timeout => return None,
            None => Watermark::Idle,
        };
        if merged == self.last {
            return None;
        }
        if let Watermark::At(time) = merged {
            self.reached = time;
        }
        self.last = merged;
        Some(merged)
    }

    /// Returns the reading time at which the next partition goes idle if nothing comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.known.is_empty() {
            return (self.last != Watermark::Idle).then_some(self.idle_timeout);
        }
        self.known.values().filter(|partition| !partition.idle).map(|p| p.last_row_at + self.idle_timeout).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn at(time: i64) -> Watermark {
        Watermark::At(EventTime(time))
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rows(partitions: &mut Partitions, partition: u32, watermark: i64, now: Duration) -> Option<Watermark> {
        assert_eq!(partitions.wake(partition, now), None);
        partitions.advance(partition, EventTime(watermark));
        partitions.changed(now)
    }

    #[test]
    fn the_slowest_partition_decides_until_it_goes_idle() {
        let mut partitions = Partitions::new(TIMEOUT);
        assert_eq!(rows(&mut partitions, 0, 10, s(0)), Some(at(10)));
        assert_eq!(rows(&mut partitions, 1, 4, s(1)), None, "the promise of 10 stands");
        assert_eq!(rows(&mut partitions, 0, 30, s(4)), None);
        assert_eq!(partitions.next_deadline(), Some(s(6)));
        assert_eq!(partitions.changed(s(5)), None);
        assert_eq!(partitions.changed(s(6)), Some(at(30)));
    }

    #[test]
    fn all_idle_is_idle_and_a_row_wakes_the_readers_first() {
        let mut partitions = Partitions::new(TIMEOUT);
        assert_eq!(rows(&mut partitions, 7, 10, s(0)), Some(at(10)));
        assert_eq!(partitions.changed(s(5)), Some(Watermark::Idle));
        assert_eq!(partitions.next_deadline(), None);
        assert_eq!(partitions.wake(7, s(9)), Some(at(10)));
        partitions.advance(7, EventTime(11));
        assert_eq!(partitions.changed(s(9)), Some(at(11)));
    }

    #[test]
    fn a_task_that_never_had_a_row_is_idle_after_the_timeout() {
        let mut partitions = Partitions::new(TIMEOUT);
        assert_eq!(partitions.next_deadline(), Some(TIMEOUT));
        assert_eq!(partitions.changed(s(4)), None);
        assert_eq!(partitions.changed(s(5)), Some(Watermark::Idle));
        assert_eq!(partitions.next_deadline(), None);
    }

    #[test]
    fn a_row_in_the_past_does_not_turn_the_watermark_back() {
        let mut partitions = Partitions::new(TIMEOUT);
        assert_eq!(rows(&mut partitions, 0, 10, s(0)), Some(at(10)));
        assert_eq!(rows(&mut partitions, 0, 3, s(0)), None);
    }
}
