//! Evidence points at exact slices of the text that was given, whatever that text holds.

use headwater_text::classify::SPAN_BYTES_MAX;
use headwater_text::{Dimension, Label, classify, screen};
use proptest::prelude::*;

#[test]
fn a_span_is_the_sentence_as_it_was_written() {
    let text = "Thanks, Ola!  I don\u{2019}t feel con\u{200b}fident\u{a0}yet. See you.";
    let answer = classify(text, None);
    let [evidence] = answer.evidence[..] else { panic!("{answer:?}") };
    assert_eq!(evidence.label, Label::ConfidenceDecrease);
    assert_eq!(evidence.snippet(text), "I don\u{2019}t feel con\u{200b}fident\u{a0}yet.");
    assert_eq!(answer.scores, [(Dimension::Confidence, 200)]);
}

#[test]
fn a_long_sentence_is_cited_by_its_clause() {
    let text = format!("We talked about {}, and then I felt confident, as I said.", "bread and butter ".repeat(30));
    let answer = classify(&text, None);
    assert_eq!(answer.evidence[0].snippet(&text), "and then I felt confident,");
}

#[test]
fn relief_counts_for_well_being_and_levels_for_language() {
    let answer = classify("I no longer feel anxious. I passed the B1 exam!", None);
    assert_eq!(answer.scores, [(Dimension::LangLevelProxy, 500), (Dimension::WellBeing, 900)]);
}

fn words() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "I",
        "not",
        "feel",
        "confident",
        "but",
        "never",
        "alone",
        "Jeg",
        "ikke",
        "trygg",
        "lenger",
        "men",
        "Я",
        "не",
        "впевнена",
        "але",
        "самотньо",
        "now",
        "at first",
        "if",
        "B1",
        "passed",
        "\u{200b}",
        "\u{2019}",
        "İ",
        "e\u{301}",
        "CV",
        "?",
        ".",
        ",",
        "\n",
        "😀",
        "[EMAIL_1]",
        "\"",
        "(",
        ")",
        "-",
        "ﬁ",
        "ẞ",
    ]);
    prop::collection::vec((words, prop::sample::select(vec![" ", "", "  ", "\u{a0}"])), 0..60)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, gap)| [word, gap]).collect())
}

proptest! {
    #[test]
    fn every_span_is_a_slice_within_bounds(text in words()) {
        let answer = classify(&text, None);
        prop_assert_eq!(&answer, &classify(&text, None));
        prop_assert!(!answer.abstained || answer.evidence.is_empty() && answer.scores.is_empty());
        for evidence in &answer.evidence {
            let snippet = evidence.snippet(&text);
            prop_assert!(!snippet.is_empty() && snippet == snippet.trim());
            prop_assert!(evidence.end - evidence.start <= 3 * SPAN_BYTES_MAX);
        }
        let scores: Vec<_> = answer.scores.iter().map(|(_, score)| *score).collect();
        prop_assert!(scores.iter().all(|score| (100..=1000).contains(score)));
    }

    #[test]
    fn what_is_screened_can_be_classified(text in "\\PC{0,80}") {
        let stored = screen(&text).text;
        for evidence in classify(&stored, None).evidence {
            prop_assert!(stored.contains(evidence.snippet(&stored)));
        }
    }
}
