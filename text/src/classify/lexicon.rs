//! The phrase lexicon of one language: what its words are evidence of, and which words turn a meaning round.
//!
//! Never looks at how phrases relate in a sentence; `scope` does. Immutable once read; one automaton per language.

use super::label::Label;
use crate::Language;
use crate::phrases::Phrases;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a phrase does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is evidence.
    Label(Label),
    /// It denies what follows: `not`, `never`.
    Negator,
    /// It says that what follows is over or lessened: `no longer`, `used to`, `less`.
    Shifter,
    /// With a negator anywhere in the clause it says that something is over: `anymore`.
    Anymore,
    /// It only looks like one of the others: `not only`, `than before`.
    Exempt,
    /// It opens a new thought: `but`.
    Contrast,
    /// It opens a new clause: `because`, `and I`.
    Boundary,
    /// It speaks of earlier days: `at first`.
    Past,
    /// It speaks of today: `now`.
    Present,
    /// It speaks of what is not so, or not yet: `I hope to`, `if`.
    Irrealis,
}

/// The lexicon of one language.
#[derive(Debug)]
pub(crate) struct Lexicon {
    pub(crate) phrases: Phrases<Role>,
    /// Several negators in a clause are one (`ніхто не`).
    pub(crate) concord: bool,
    /// A negator may follow what it denies (`jeg gruer meg ikke`).
    pub(crate) follows: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    concord: bool,
    follows: bool,
    markers: Markers,
    labels: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Markers {
    negators: Vec<String>,
    shifters: Vec<String>,
    anymore: Vec<String>,
    exempt: Vec<String>,
    contrast: Vec<String>,
    boundaries: Vec<String>,
    past: Vec<String>,
    present: Vec<String>,
    irrealis: Vec<String>,
}

impl Lexicon {
    /// Reads a lexicon (TOML). Refuses unknown labels and phrases that could never match.
    fn from_toml(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let markers = &file.markers;
        let mut phrases: Vec<(&str, Role)> = Vec::new();
        for (list, role) in [
            (&markers.negators, Role::Negator),
            (&markers.shifters, Role::Shifter),
            (&markers.anymore, Role::Anymore),
            (&markers.exempt, Role::Exempt),
            (&markers.contrast, Role::Contrast),
            (&markers.boundaries, Role::Boundary),
            (&markers.past, Role::Past),
            (&markers.present, Role::Present),
            (&markers.irrealis, Role::Irrealis),
        ] {
            phrases.extend(list.iter().map(|phrase| (phrase.as_str(), role)));
        }
        for (name, list) in &file.labels {
            let label = Label::from_name(name).ok_or_else(|| format!("no label '{name}'"))?;
            phrases.extend(list.iter().map(|phrase| (phrase.as_str(), Role::Label(label))));
        }
        Ok(Self { phrases: Phrases::new(phrases)?, concord: file.concord, follows: file.follows })
    }
}

fn shipped(text: &str) -> Lexicon {
    Lexicon::from_toml(text).expect("the shipped lexicons are read by a test")
}

static ENGLISH: LazyLock<Lexicon> = LazyLock::new(|| shipped(include_str!("../../data/lexicon.en.toml")));
static NORWEGIAN: LazyLock<Lexicon> = LazyLock::new(|| shipped(include_str!("../../data/lexicon.no.toml")));
static UKRAINIAN: LazyLock<Lexicon> = LazyLock::new(|| shipped(include_str!("../../data/lexicon.uk.toml")));

/// Returns the lexicon of a language. Both written forms of Norwegian share one.
pub(crate) fn of(language: Language) -> &'static Lexicon {
    match language {
        Language::English => &ENGLISH,
        Language::Bokmal | Language::Nynorsk => &NORWEGIAN,
        Language::Ukrainian => &UKRAINIAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 3] = [
        ("en", include_str!("../../data/lexicon.en.toml")),
        ("no", include_str!("../../data/lexicon.no.toml")),
        ("uk", include_str!("../../data/lexicon.uk.toml")),
    ];

    #[test]
    fn the_shipped_lexicons_are_whole() {
        for (code, text) in FILES {
            Lexicon::from_toml(text).unwrap_or_else(|error| panic!("{code}: {error}"));
            let file: File = toml::from_str(text).unwrap();
            for label in Label::ALL {
                let n = file.labels.get(label.name()).map_or(0, Vec::len);
                let least = match label {
                    Label::ConfidenceIncrease | Label::ConfidenceDecrease | Label::BelongingIncrease => 25,
                    Label::BelongingDecrease | Label::Isolation | Label::Anxiety => 25,
                    Label::TopicDev | Label::TopicPm | Label::TopicNetworking | Label::TopicCv => 3,
                    Label::TopicInterview | Label::TopicMentorship => 3,
                    _ => 15,
                };
                assert!(n >= least, "{code}: {} has {n} phrases, fewer than {least}", label.name());
            }
        }
    }

    #[test]
    fn no_phrase_stands_twice_under_one_label() {
        for (code, text) in FILES {
            let file: File = toml::from_str(text).unwrap();
            for (label, phrases) in &file.labels {
                let mut seen = std::collections::BTreeSet::new();
                for phrase in phrases {
                    assert!(seen.insert(phrase), "{code}: {label}: '{phrase}' twice");
                }
            }
        }
    }
}
