//! CEFR levels that a text states outright: "I passed B1", "nivå A2", "рівень B2".
//!
//! Never guesses a level from how someone writes, and never from liking a language. Stateless.

use super::label::Label;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A level of the Common European Framework of Reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    A1,
    A2,
    B1,
    B2,
    C1,
    C2,
}

impl Level {
    /// Returns the score in thousandths: .17, .33, .50, .67, .83, 1.0.
    pub(crate) fn score(self) -> u16 {
        match self {
            Self::A1 => 170,
            Self::A2 => 330,
            Self::B1 => 500,
            Self::B2 => 670,
            Self::C1 => 830,
            Self::C2 => 1000,
        }
    }

    /// Returns the comfort that goes with the level.
    pub(crate) fn comfort(self) -> Label {
        match self {
            Self::A1 | Self::A2 => Label::LanguageComfortLow,
            Self::B1 | Self::B2 => Label::LanguageComfortMedium,
            Self::C1 | Self::C2 => Label::LanguageComfortHigh,
        }
    }
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the expression is a constant that the tests compile")
}

/// Latin letters, and the Cyrillic ones that look like them.
static LEVEL: LazyLock<Regex> = LazyLock::new(|| compile(r"\b([abcавс])([12])\b"));
/// Words that make it a statement about the writer's level.
static STATES: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"\b(passed|pass|reached|achieved|completed|finished|i am at|i'm at|i'm now|i am now|my level|level is|level was|tested at|scored|moved up|moved from|got my|now at|bestod|bestått|har nådd|nådde|fullført|fullførte|er på nivå|ligger på|nivået mitt|mitt nivå|kommet til|kom opp på|склала|склав|здала|здав|досяг|досягла|мій рівень|маю рівень|у мене рівень|у мене вже рівень|отримала|отримав|закінчила|закінчив|перейшла|перейшов)\b",
    )
});
/// Words that make it a plan, a failure or somebody's requirement.
static UNREAL: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"\b(not|n't|never|didn't|haven't|hasn't|couldn't|failed|want|wants|hope|hopes|plan|goal|aim|need|needs|would|if|next|before|my buddy|course for|ikke|ikkje|aldri|strøk|vil|ønsker|ønskjer|håper|håpar|mål|trenger|må|skal|не|хочу|планую|мрію|мета|якщо|треба|потрібен|провалила|провалив)\b",
    )
});

/// Returns the highest level that a sentence of a lower-case text states as reached, and where.
pub(crate) fn stated(text: &str, sentence: Range<usize>) -> Option<(Level, Range<usize>)> {
    let slice = &text[sentence.clone()];
    let level = |group: regex::Captures<'_>| {
        let level = match (&group[1], &group[2]) {
            ("a" | "а", "1") => Level::A1,
            ("a" | "а", _) => Level::A2,
            ("b" | "в", "1") => Level::B1,
            ("b" | "в", _) => Level::B2,
            (_, "1") => Level::C1,
            _ => Level::C2,
        };
        let whole = group.get(0).map_or(0..0, |whole| whole.range());
        (level, sentence.start + whole.start..sentence.start + whole.end)
    };
    let highest = LEVEL.captures_iter(slice).map(level).max_by_key(|(level, _)| *level)?;
    (STATES.is_match(slice) && !UNREAL.is_match(slice) && !slice.contains('?')).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_count_when_they_are_reached() {
        let read = |text: &str| stated(text, 0..text.len()).map(|(level, range)| (level, text[range].to_owned()));
        assert_eq!(read("i passed the b1 exam"), Some((Level::B1, "b1".to_owned())));
        assert_eq!(read("moved from a2 to b1 in spring"), Some((Level::B1, "b1".to_owned())));
        assert_eq!(read("jeg har bestått norskprøven på nivå b2"), Some((Level::B2, "b2".to_owned())));
        assert_eq!(read("я склала іспит на рівень в1"), Some((Level::B1, "в1".to_owned())));
        for text in [
            "i want to reach b2",
            "we met in room b1",
            "vitamin b1 is good",
            "jeg bestod ikke b1",
            "хочу здати b2",
            "i didn't pass b1",
            "have you passed b1?",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
