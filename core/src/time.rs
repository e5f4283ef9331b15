//! Event time: when something happened, as opposed to when it was read.

use std::fmt;

/// A point in event time: nanoseconds since the Unix epoch, UTC. The same unit as the Arrow type
/// `Timestamp(Nanosecond, _)`, so no column is converted on its way through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event.
    pub const MIN: Self = Self(i64::MIN);
    /// After every event: the watermark of an input that has ended.
    pub const MAX: Self = Self(i64::MAX);
    /// Nanoseconds in a second.
    pub const SECOND: i64 = 1_000_000_000;

    /// Returns this time moved by a number of nanoseconds, stopping at the ends of the range.
    #[must_use]
    pub fn saturating_add(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for EventTime {
    /// Seconds since the epoch with nine decimals; `-inf` and `+inf` for the ends. Calendar forms belong to the edges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-inf"),
            Self::MAX => f.write_str("+inf"),
            Self(nanos) => {
                write!(f, "{}.{:09}", nanos.div_euclid(Self::SECOND), nanos.rem_euclid(Self::SECOND))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_seconds_and_the_ends_of_the_range() {
        assert_eq!(EventTime(1_500_000_000).to_string(), "1.500000000");
        assert_eq!(EventTime(-1).to_string(), "-1.999999999");
        assert_eq!(EventTime::MAX.to_string(), "+inf");
    }
}
