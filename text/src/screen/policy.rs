//! The policy file: what happens to a text in which something was found.
//!
//! Never finds anything itself. Immutable once read; a file is bounded by the number of kinds and categories.

use super::{HarmCategory, PiiKind};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What happens to a text, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    Allow,
    /// It is stored, and marked.
    Flag,
    /// It is stored, and a person looks at it.
    Review,
    /// It is not stored.
    Block,
}

impl Action {
    /// Returns the name used in tables: `allow`, `flag`, `review` or `block`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Review => "review",
            Self::Block => "block",
        }
    }
}

/// The policy file that ships with Headwater.
pub const POLICY_FILE: &str = include_str!("../../data/policy.toml");

/// Why a policy file was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

/// What happens to personal data of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiiRule {
    /// What happens to the text.
    pub action: Action,
    /// Whether the value is replaced by a placeholder.
    pub redact: bool,
}

/// A policy: actions per kind of personal data and per category of harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    version: String,
    pii_default: PiiRule,
    pii: BTreeMap<PiiKind, PiiRule>,
    harm_default: Action,
    harm: BTreeMap<HarmCategory, Action>,
    allowed: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    pii: PiiFile,
    harm: HarmFile,
    #[serde(default)]
    allow: AllowFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PiiFile {
    default: PiiRule,
    #[serde(default)]
    kinds: BTreeMap<String, PiiRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HarmFile {
    default: Action,
    #[serde(default)]
    categories: BTreeMap<String, Action>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct AllowFile {
    #[serde(default)]
    values: Vec<String>,
}

impl Policy {
    /// Reads a policy file (TOML, the layout of [`POLICY_FILE`]).
    ///
    /// Refuses unknown kinds and categories, and `block` for self-harm: a cry for help must reach a person.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let file: File = toml::from_str(text).map_err(|error| PolicyError(format!("policy file: {error}")))?;
        let mut pii = BTreeMap::new();
        for (name, rule) in file.pii.kinds {
            let kind = PiiKind::ALL.into_iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or_else(|| PolicyError(format!("policy file: no kind of personal data '{name}'")))?;
            pii.insert(kind, rule);
        }
        let mut harm = BTreeMap::new();
        for (name, action) in file.harm.categories {
            let category = HarmCategory::from_name(&name);
            let category = category.ok_or_else(|| PolicyError(format!("policy file: no harm category '{name}'")))?;
            harm.insert(category, action);
        }
        let allowed = file.allow.values.iter().map(|value| canonical(value)).collect();
        let policy = Self {
            version: file.version,
            pii_default: file.pii.default,
            pii,
            harm_default: file.harm.default,
            harm,
            allowed,
        };
        for category in HarmCategory::ALL {
            if category.is_self_harm() && policy.on_harm(category) == Action::Block {
                let name = category.name();
                return Err(PolicyError(format!("policy file: '{name}' must reach a person: use review, not block")));
            }
        }
        Ok(policy)
    }

    /// Returns the policy's own version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns what happens to personal data of a kind.
    #[must_use]
    pub fn on_pii(&self, kind: PiiKind) -> PiiRule {
        self.pii.get(&kind).copied().unwrap_or(self.pii_default)
    }

    /// Returns what happens to a text that speaks of a kind of harm.
    #[must_use]
    pub fn on_harm(&self, category: HarmCategory) -> Action {
        self.harm.get(&category).copied().unwrap_or(self.harm_default)
    }

    /// Returns whether a value is public.
    pub(crate) fn allows(&self, canonical: &str) -> bool {
        self.allowed.contains(canonical)
    }
}

impl Default for Policy {
    /// Returns the policy that ships with Headwater.
    fn default() -> Self {
        Self::from_toml(POLICY_FILE).expect("the shipped policy is read by a test")
    }
}

/// Returns a value without layout, so that one number written in two ways is one value.
pub(crate) fn canonical(value: &str) -> String {
    if value.contains('@') {
        return value.to_lowercase();
    }
    value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_flags_and_redacts_and_sends_harm_to_people() {
        let policy = Policy::default();
        assert_eq!(policy.version(), "policy/1");
        for kind in PiiKind::ALL {
            assert_eq!(policy.on_pii(kind), PiiRule { action: Action::Flag, redact: true });
        }
        for category in HarmCategory::ALL {
            assert_eq!(policy.on_harm(category), Action::Review);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let with = |extra: &str| {
            let text =
                format!("version='x'\n[pii.default]\naction='flag'\nredact=true\n[harm]\ndefault='review'\n{extra}");
            Policy::from_toml(&text).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(with(""), Ok(()));
        assert_eq!(
            with("[pii.kinds.shoe_size]\naction='flag'\nredact=true").unwrap_err(),
            "policy file: no kind of personal data 'shoe_size'"
        );
        assert_eq!(
            with("[harm.categories]\n'self-harm/intent'='block'").unwrap_err(),
            "policy file: 'self-harm/intent' must reach a person: use review, not block"
        );
        assert!(with("[harm.categories]\n'rudeness'='block'").unwrap_err().contains("no harm category 'rudeness'"));
    }
}
