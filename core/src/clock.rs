//! The wall clock as a dependency, so that a simulation can own time.

use crate::EventTime;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the wall time. Only the engine and the edges hold one; operators never do.
pub trait Clock: Send + Sync {
    /// Returns the wall time.
    fn now(&self) -> EventTime;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may ask the machine for the time")]
    fn now(&self) -> EventTime {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        EventTime(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// Makes a clock that shows `time`.
    #[must_use]
    pub fn new(time: EventTime) -> Self {
        Self(AtomicI64::new(time.0))
    }

    /// Sets the time.
    pub fn set(&self, time: EventTime) {
        self.0.store(time.0, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::SeqCst))
    }
}
