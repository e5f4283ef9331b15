//! From labels to the five dimensions.
//!
//! Never sees text. A dimension that nothing was said about has no score: an average over scores is then an average
//! over what people said, not over their silence. Stateless; scores are thousandths, so there is nothing to round.

use super::label::{Dimension, Label};
use std::collections::BTreeSet;

const INCREASE: u16 = 800;
const DECREASE: u16 = 200;

/// What a text says, as far as scores need it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// What it is evidence of.
    pub labels: BTreeSet<Label>,
    /// The level it states, as a score in thousandths.
    pub stated_level: Option<u16>,
    /// Whether it says that something that weighed on a person does not, or no longer.
    pub relieved: bool,
}

/// Scores the dimensions that a text gives evidence for, in thousandths.
///
/// - confidence, belonging: 0.8 for an increase, 0.2 for a decrease; a decrease wins over an increase.
/// - language: the stated level, else comfort low 0.3, medium 0.6, high 0.9; the lowest wins.
/// - job readiness: min(0.3 + 0.15 · signals, 1), for at least one signal.
/// - well-being: max(0.9 − 0.15 · cues, 0.1), for at least one cue; without a cue 0.9, if the text tells of relief or
///   of more confidence or belonging.
pub(crate) fn score(facts: &Facts) -> Vec<(Dimension, u16)> {
    let has = |label| facts.labels.contains(&label);
    let change = |up, down| if has(down) { Some(DECREASE) } else { has(up).then_some(INCREASE) };
    let count = |is: fn(Label) -> bool| facts.labels.iter().filter(|label| is(**label)).count() as u16;
    let comfort =
        [(Label::LanguageComfortLow, 300), (Label::LanguageComfortMedium, 600), (Label::LanguageComfortHigh, 900)];
    let (signals, cues) = (count(Label::is_signal), count(Label::is_risk));
    let well = facts.relieved || has(Label::ConfidenceIncrease) || has(Label::BelongingIncrease);
    let scores = [
        (Dimension::Confidence, change(Label::ConfidenceIncrease, Label::ConfidenceDecrease)),
        (Dimension::Belonging, change(Label::BelongingIncrease, Label::BelongingDecrease)),
        (
            Dimension::LangLevelProxy,
            facts.stated_level.or_else(|| comfort.into_iter().find(|(label, _)| has(*label)).map(|(_, score)| score)),
        ),
        (Dimension::JobReadiness, (signals > 0).then(|| (300 + 150 * signals).min(1000))),
        (Dimension::WellBeing, (cues > 0 || well).then(|| 900u16.saturating_sub(150 * cues).max(100))),
    ];
    scores.into_iter().filter_map(|(dimension, score)| score.map(|score| (dimension, score))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(labels: &[Label]) -> Vec<(Dimension, u16)> {
        score(&Facts { labels: labels.iter().copied().collect(), ..Facts::default() })
    }

    #[test]
    fn silence_has_no_score() {
        assert_eq!(scored(&[Label::TopicCv]), []);
    }

    #[test]
    fn a_decrease_wins_and_low_comfort_wins() {
        assert_eq!(
            scored(&[Label::BelongingIncrease, Label::BelongingDecrease]),
            [(Dimension::Belonging, 200), (Dimension::WellBeing, 900)]
        );
        assert_eq!(
            scored(&[Label::LanguageComfortHigh, Label::LanguageComfortLow]),
            [(Dimension::LangLevelProxy, 300)]
        );
    }

    #[test]
    fn counts_move_readiness_and_well_being_to_their_limits() {
        let signals: Vec<_> = Label::ALL.into_iter().filter(|label| label.is_signal()).collect();
        let cues: Vec<_> = Label::ALL.into_iter().filter(|label| label.is_risk()).collect();
        assert_eq!((signals.len(), cues.len()), (8, 8));
        assert_eq!(scored(&signals[..1]), [(Dimension::JobReadiness, 450)]);
        assert_eq!(scored(&signals[..4]), [(Dimension::JobReadiness, 900)]);
        assert_eq!(scored(&signals), [(Dimension::JobReadiness, 1000)]);
        assert_eq!(scored(&cues[..2]), [(Dimension::WellBeing, 600)]);
        assert_eq!(scored(&cues), [(Dimension::WellBeing, 100)]);
    }
}
