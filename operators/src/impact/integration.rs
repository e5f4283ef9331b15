//! The integration score, `integration/1`: 0.4 · language + 0.3 · social + 0.3 · job, each from 0 to 100.
//!
//! Never estimates a level: the language part is a level that somebody assessed. No state.

use super::{add, mul, share};
use headwater_core::{Error, Result};
use rust_decimal::Decimal;

/// The version that rows computed by this formula carry.
pub const FORMULA_VERSION: &str = "integration/1";

/// What is known of one participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    /// The language level as a score from 0 to 1; see [`cefr_score`].
    pub level_score: Decimal,
    /// Buddy matches.
    pub matches: i64,
    /// Events attended.
    pub events: i64,
    /// Check-ins completed.
    pub checkins: i64,
    /// Whether the participant has work.
    pub employed: bool,
    /// Courses completed.
    pub completed: i64,
    /// Courses in progress.
    pub in_progress: i64,
}

/// Returns the score of a CEFR level, `A1` to `C2` in any case: .17, .33, .50, .67, .83, 1.0. `None` for all else.
#[must_use]
pub fn cefr_score(level: &str) -> Option<Decimal> {
    let hundredths = match level.trim().to_ascii_uppercase().as_str() {
        "A1" => 17,
        "A2" => 33,
        "B1" => 50,
        "B2" => 67,
        "C1" => 83,
        "C2" => 100,
        _ => return None,
    };
    Some(Decimal::new(hundredths, 2))
}

/// Returns the score from 0 to 100, unrounded.
///
/// Social is .4 for a match, .3 · min(events / 5, 1) and .3 · min(check-ins / 10, 1); job is 1 with work, else
/// min(.15 · completed, .6) + min(.1 · in progress, .4).
pub fn integration_score(participant: &Participant) -> Result<Decimal> {
    let Participant { matches, events, checkins, completed, in_progress, .. } = *participant;
    for (name, count) in [
        ("matches", matches),
        ("events", events),
        ("checkins", checkins),
        ("completed", completed),
        ("in_progress", in_progress),
    ] {
        if count < 0 {
            return Err(Error::invalid(format!("{name} is a count, not {count}")));
        }
    }
    let part = |count: i64, most: i64, each: Decimal| Decimal::from(count.min(most)) * each;
    let matched = if matches > 0 { Decimal::new(4, 1) } else { Decimal::ZERO };
    let social = matched + part(events, 5, Decimal::new(6, 2)) + part(checkins, 10, Decimal::new(3, 2));
    let job = if participant.employed {
        Decimal::ONE
    } else {
        part(completed, 4, Decimal::new(15, 2)) + part(in_progress, 4, Decimal::new(1, 1))
    };
    let language = mul(share("level_score", participant.level_score)?, Decimal::from(40))?;
    add(language, (social + job) * Decimal::from(30))
}

/// Returns the band of a score: low below 34, medium below 67, else high.
#[must_use]
pub fn band(score: Decimal) -> &'static str {
    if score < Decimal::from(34) {
        "low"
    } else if score < Decimal::from(67) {
        "medium"
    } else {
        "high"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Participant {
        let level_score = cefr_score("b1").unwrap();
        Participant { level_score, matches: 1, events: 3, checkins: 3, employed: false, completed: 2, in_progress: 1 }
    }

    #[test]
    fn the_worked_example_is_52_1() {
        let score = integration_score(&example()).unwrap();
        assert_eq!(score, Decimal::new(521, 1));
        assert_eq!(band(score), "medium");
    }

    #[test]
    fn parts_are_capped_and_work_counts_in_full() {
        let all = Participant {
            level_score: Decimal::ONE,
            events: i64::MAX,
            checkins: i64::MAX,
            employed: true,
            ..example()
        };
        assert_eq!(integration_score(&all).unwrap(), Decimal::from(100));
        let busy = Participant { completed: i64::MAX, in_progress: i64::MAX, ..example() };
        let working = Participant { employed: true, ..example() };
        assert_eq!(integration_score(&busy).unwrap(), integration_score(&working).unwrap());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(integration_score(&Participant { events: -1, ..example() }).is_err());
        assert!(integration_score(&Participant { level_score: Decimal::TWO, ..example() }).is_err());
        assert_eq!(cefr_score("B3"), None);
    }
}
