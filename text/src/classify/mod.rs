//! Classification: what a text is evidence of, where exactly, and how the five dimensions score.
//!
//! A phrase lexicon with clause scope: negators, shifters, contrast, earlier days and wishes decide whether a phrase
//! means what it says. It never states a confidence, because none has been measured, and never scores what it did not
//! find evidence for. It abstains on texts of fewer than [`TOKENS_MIN`] words and on languages it does not know.
//!
//! Known limits: it reads sentences one by one, takes every statement as the writer's own, and hears no irony.
//! State: the lexicons, read once. Work is linear in the text for each language's single automaton.

mod label;
mod level;
mod lexicon;
mod scope;
mod score;

pub use label::{Dimension, Label};

use crate::language::{Detected, Language, detect};
use crate::{normalize, phrases};
use score::Facts;
use std::ops::Range;

/// The version of rules and lexicon together. It changes when any answer may change.
pub const MODEL_VERSION: &str = "lexicon/1";
/// How answers are reached.
pub const METHOD: &str = "rule_based";
/// Texts with fewer words are not classified.
pub const TOKENS_MIN: usize = 3;
/// A sentence longer than this many bytes is cited by its clause, and a clause longer than this by its phrase.
pub const SPAN_BYTES_MAX: usize = 300;

/// A place in the text that is evidence of a label: usually a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// The first byte in the given text.
    pub start: usize,
    /// The byte after the last in the given text.
    pub end: usize,
    /// What it is evidence of.
    pub label: Label,
}

impl Evidence {
    /// Returns the bytes of the text that was classified.
    #[must_use]
    pub fn snippet<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }
}

/// The answer of a classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classification {
    /// The language it was read in; `None` if unknown.
    pub language: Option<Language>,
    /// Whether no answer was attempted. Then there is neither evidence nor a score.
    pub abstained: bool,
    /// The evidence, in order of appearance. A label occurs once per place.
    pub evidence: Vec<Evidence>,
    /// The dimensions that there is evidence for, in thousandths.
    pub scores: Vec<(Dimension, u16)>,
}

/// Classifies texts with the shipped lexicons.
#[derive(Debug, Clone, Copy, Default)]
pub struct Classifier;

/// Classifies a text. `declared` is the language its writer is known to use; it decides only where the text itself
/// says too little.
///
/// ```
/// let answer = headwater_text::classify("I was nervous. Now I feel much more confident!", None);
/// let last = answer.evidence.last().unwrap();
/// assert_eq!(last.label.name(), "confidence_increase");
/// assert_eq!(last.snippet("I was nervous. Now I feel much more confident!"), "Now I feel much more confident!");
/// ```
#[must_use]
pub fn classify(text: &str, declared: Option<Language>) -> Classification {
    Classifier.classify(text, declared)
}

impl Classifier {
    /// Classifies a text; see [`classify`].
    #[must_use]
    pub fn classify(&self, text: &str, declared: Option<Language>) -> Classification {
        let language = match detect(text) {
            Detected::Known(language) => Some(language),
            Detected::Foreign => None,
            Detected::Unclear => declared,
        };
        let abstained = Classification { language, abstained: true, evidence: Vec::new(), scores: Vec::new() };
        let normal = normalize(text);
        let (lower, case) = phrases::lower(&normal.text);
        let Some(language) = language.filter(|_| n_tokens(&lower) >= TOKENS_MIN) else { return abstained };
        let lexicon = lexicon::of(language);
        let origin = |range: Range<usize>| normal.offsets.source_range(case.source_range(range));
        let mut facts = Facts::default();
        let mut evidence = Vec::new();
        for sentence in scope::sentences(&lower) {
            let meanings = scope::read(&lower, sentence.clone(), lexicon);
            let mut cite = |label: Label, phrase: Range<usize>, clause: Range<usize>| {
                let spans = [sentence.clone(), clause];
                let span = spans.into_iter().find(|span| span.len() <= SPAN_BYTES_MAX).unwrap_or(phrase);
                let Range { start, end } = origin(span);
                evidence.push(Evidence { start, end, label });
                facts.labels.insert(label);
            };
            let mut relieved = false;
            for meaning in meanings {
                match meaning.label {
                    Some(label) => cite(label, meaning.phrase, meaning.clause),
                    None => relieved |= meaning.literal.is_risk() && !lower[sentence.clone()].contains('?'),
                }
            }
            if let Some((level, place)) = level::stated(&lower, sentence.clone()) {
                cite(level.comfort(), place.clone(), place);
                facts.stated_level = Some(facts.stated_level.map_or(level.score(), |other| other.max(level.score())));
            }
            facts.relieved |= relieved;
        }
        evidence.sort_unstable();
        evidence.dedup();
        let scores = score::score(&facts);
        Classification { language: Some(language), abstained: false, evidence, scores }
    }
}

fn n_tokens(lower: &str) -> usize {
    let words = lower.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '_'));
    words.filter(|word| word.chars().any(char::is_alphabetic)).count()
}
