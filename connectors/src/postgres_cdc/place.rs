//! Where a source is: after a commit in the server's log, and, until the log has passed it, what the copy of the table
//! had seen. Pure.

use super::pgoutput::Lsn;
use headwater_core::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Which transactions a copy had seen, as `pg_current_snapshot()` says it: `xmin:xmax:running,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Whether the copy had seen a transaction that lies near it in the log.
    pub(super) fn has_seen(&self, xid: u32) -> bool {
        // The log has the lower half of the number: the whole one is the nearest of those with this half.
        let half = 1_u64 << 32;
        let near = self.xmax & !(half - 1) | u64::from(xid);
        let whole = match near {
            near if near > self.xmax + half / 2 => near.saturating_sub(half),
            near if near + half / 2 < self.xmax => near + half,
            near => near,
        };
        whole < self.xmax && !self.running.contains(&whole)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, running.join(","))
    }
}

impl FromStr for Snapshot {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split(':');
            let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let running = parts.next()?.split(',').filter(|number| !number.is_empty());
            let running = running.map(|number| number.parse().ok()).collect::<Option<_>>()?;
            Some(Self { xmin, xmax, running })
        };
        parse().ok_or_else(|| Error::data(format!("'{text}' is no snapshot of PostgreSQL")))
    }
}

/// What a copy had seen, and up to where in the log that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) snapshot: Snapshot,
    /// Whatever committed after this place was not seen.
    pub(super) until: Lsn,
}

/// A place in the changes of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// After the last commit that was returned.
    pub(super) lsn: Lsn,
    pub(super) copied: Option<Copied>,
}

impl Place {
    /// Whether a transaction was returned, as one of the log or with the copy.
    pub(super) fn is_past(&self, xid: u32, end: Lsn) -> bool {
        let in_copy = |copied: &Copied| end <= copied.until && copied.snapshot.has_seen(xid);
        end <= self.lsn || self.copied.as_ref().is_some_and(in_copy)
    }

    /// Moves past a commit.
    pub(super) fn advance(&mut self, lsn: Lsn) {
        self.lsn = self.lsn.max(lsn);
        if self.copied.as_ref().is_some_and(|copied| copied.until < self.lsn) {
            self.copied = None;
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.lsn)?;
        let Some(Copied { snapshot, until }) = &self.copied else { return Ok(()) };
        write!(f, " copied {snapshot} until {until}")
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::data(format!("'{text}' is no place in the changes of a table"));
        let parts: Vec<&str> = text.split(' ').collect();
        match parts.as_slice() {
            [lsn] => Ok(Self { lsn: lsn.parse()?, copied: None }),
            [lsn, "copied", snapshot, "until", until] => {
                let copied = Copied { snapshot: snapshot.parse()?, until: until.parse()? };
                Ok(Self { lsn: lsn.parse()?, copied: Some(copied) })
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_seen_what_had_ended() {
        let snapshot: Snapshot = "10:20:12,15".parse().expect("is one");
        let seen: Vec<u32> = (8..24).filter(|xid| snapshot.has_seen(*xid)).collect();
        assert_eq!(seen, [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]);
        // Numbers that have run over once: 4294967290 is before it, 5 is after.
        let late: Snapshot = format!("{0}:{0}:", (1_u64 << 32) + 3).parse().expect("is one");
        assert!(late.has_seen(4_294_967_290) && late.has_seen(2));
        assert!(!late.has_seen(3) && !late.has_seen(5));
        let before: Snapshot = format!("{0}:{0}:", (1_u64 << 32) - 2).parse().expect("is one");
        assert!(!before.has_seen(1) && before.has_seen(4_294_967_293));
    }

    #[test]
    fn a_place_forgets_the_copy_when_the_log_has_passed_it() {
        let mut place: Place = "0/10 copied 10:20:12 until 0/50".parse().expect("is one");
        assert_eq!(place.to_string(), "0/10 copied 10:20:12 until 0/50");
        assert!(place.is_past(11, Lsn(0x40)) && !place.is_past(12, Lsn(0x40)) && !place.is_past(11, Lsn(0x51)));
        place.advance(Lsn(0x50));
        assert!(place.copied.is_some());
        place.advance(Lsn(0x51));
        assert_eq!(place.to_string(), "0/51");
        place.advance(Lsn(0x20));
        assert_eq!(place, "0/51".parse().expect("is one"));
        "0/51 x".parse::<Place>().expect_err("is none");
    }
}
