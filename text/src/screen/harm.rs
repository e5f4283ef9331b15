//! A keyword screen for harm, in the thirteen categories that moderation services share.
//!
//! Never judges: it points a person to a text, and it misses what is not on its list (`data/harm.toml`). Its state is
//! that list, read once.

use crate::phrases::Phrases;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

macro_rules! categories {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// A category of harm.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HarmCategory { $($(#[$doc])* $variant,)* }

        impl HarmCategory {
            /// All categories; the ones that must be looked at first come first.
            pub const ALL: [Self; 13] = [$(Self::$variant,)*];

            /// Returns the name used in tables and policy files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

categories! {
    /// Someone means to hurt themselves.
    SelfHarmIntent => "self-harm/intent",
    /// How to hurt oneself.
    SelfHarmInstructions => "self-harm/instructions",
    /// Hurting oneself is the subject.
    SelfHarm => "self-harm",
    /// Sexual content with children.
    SexualMinors => "sexual/minors",
    /// Violence, or the wish for it.
    Violence => "violence",
    /// Violence in detail.
    ViolenceGraphic => "violence/graphic",
    /// Harassment with a threat.
    HarassmentThreatening => "harassment/threatening",
    /// Harassment.
    Harassment => "harassment",
    /// Hate with a threat.
    HateThreatening => "hate/threatening",
    /// Hate against a group.
    Hate => "hate",
    /// Crime.
    Illicit => "illicit",
    /// Violent crime.
    IllicitViolent => "illicit/violent",
    /// Sexual content.
    Sexual => "sexual",
}

impl HarmCategory {
    /// Returns the category of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }

    /// Returns whether a text of this category may be a cry for help. Such a text goes to the head of the queue.
    #[must_use]
    pub fn is_self_harm(self) -> bool {
        matches!(self, Self::SelfHarmIntent | Self::SelfHarmInstructions | Self::SelfHarm)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    categories: BTreeMap<String, Vec<String>>,
}

static KEYWORDS: LazyLock<Phrases<HarmCategory>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("../../data/harm.toml")).expect("the shipped list is read by a test");
    let mut phrases = Vec::new();
    for (name, list) in &file.categories {
        let category = HarmCategory::from_name(name).expect("the shipped list names categories that exist");
        phrases.extend(list.iter().map(|phrase| (phrase.as_str(), category)));
    }
    Phrases::new(phrases).expect("the shipped list holds phrases in normal form")
});

/// Returns the categories that a text in lower case and normal form touches.
pub(crate) fn find(lower: &str) -> BTreeSet<HarmCategory> {
    KEYWORDS.find(lower).map(|(category, _)| category).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        find(&text.to_lowercase()).into_iter().map(HarmCategory::name).collect()
    }

    #[test]
    fn cries_for_help_are_heard_in_three_languages() {
        for text in [
            "I just want to die",
            "Sometimes I think about killing myself.",
            "Jeg orker ikke leve lenger",
            "jeg vil ta livet mitt",
            "Я не хочу більше жити",
            "думаю про самогубство",
            "Eg vil ikkje leve lenger",
        ] {
            assert!(find(&text.to_lowercase()).iter().any(|category| category.is_self_harm()), "{text}");
        }
    }

    #[test]
    fn ordinary_feedback_touches_nothing() {
        for text in [
            "This deadline is killing me, but the mentor is great",
            "Vi lo så vi holdt på å dø av latter",
            "I would die for this cake",
            "The course killed my fear of speaking",
            "Ми дивилися бойовик про війну",
        ] {
            assert_eq!(names(text), Vec::<&str>::new(), "{text}");
        }
        assert_eq!(names("he said he will kill you"), ["harassment/threatening"]);
    }
}
