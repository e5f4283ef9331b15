//! Screening: finds personal data and harm in a text, and makes a text that is safe to store.
//!
//! Never stores, logs or returns a value that it redacted. Its only state is the policy. Work is linear in the text:
//! expressions run on a linear-time engine, and numbers are read in windows of bounded length.
//!
//! Method: a layout gives a score, check digits confirm or reject it, words nearby raise or lower it; what reaches
//! [`THRESHOLD`] is a finding. Where findings overlap the higher score wins, then the longer one. Placeholders are
//! stable inside one text: the same value is the same `[EMAIL_1]`. The result screens to itself.

mod checksum;
mod context;
mod digits;
mod harm;
mod numbers;
mod patterns;
mod policy;

pub use harm::HarmCategory;
pub use policy::{Action, POLICY_FILE, PiiRule, Policy, PolicyError};

use crate::offset_map::OffsetMap;
use crate::{normalize, phrases};
use policy::canonical;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// What a candidate must score to be a finding. A layout alone scores 35 to 90, see `numbers` and `context`.
pub(crate) const THRESHOLD: i32 = 60;
/// Redacting one number can free another that overlapped it, so the result is screened again. Each round finds
/// something or ends; a text that still changes after so many was built to.
const ROUNDS_MAX: usize = 16;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $placeholder:literal;)*) => {
        /// A kind of personal data.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum PiiKind { $($(#[$doc])* $variant,)* }

        impl PiiKind {
            /// All kinds.
            pub const ALL: [Self; 10] = [$(Self::$variant,)*];

            /// Returns the name used in tables and policy files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the word inside a placeholder: `[EMAIL_1]`.
            #[must_use]
            pub fn placeholder(self) -> &'static str {
                match self { $(Self::$variant => $placeholder,)* }
            }
        }
    };
}

kinds! {
    /// An e-mail address.
    Email => "email", "EMAIL";
    /// An international bank account number.
    Iban => "iban", "IBAN";
    /// A payment card.
    Card => "card", "CARD";
    /// Norway: fødselsnummer or D-number.
    NationalIdNo => "national_id_no", "NATIONAL_ID";
    /// Ukraine: RNOKPP.
    NationalIdUa => "national_id_ua", "NATIONAL_ID";
    /// United Kingdom: NHS or national insurance number.
    NationalIdUk => "national_id_uk", "NATIONAL_ID";
    /// United States: SSN or ITIN.
    NationalIdUs => "national_id_us", "NATIONAL_ID";
    /// Norway: bank account.
    AccountNo => "account_no", "ACCOUNT";
    /// Norway: organisation number, which for a sole trader is a person.
    OrganisationNo => "organisation_no", "ORGANISATION";
    /// A telephone number.
    Phone => "phone", "PHONE";
}

/// One piece of personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: PiiKind,
    /// Its first byte in the input.
    pub start: usize,
    /// The byte after its last in the input.
    pub end: usize,
    /// What stands for it in the safe text. With a policy that does not redact its kind, the text keeps the value.
    pub placeholder: String,
}

/// The answer of a screening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screened {
    /// The text with personal data replaced: safe to store.
    pub text: String,
    /// What the policy says should happen to it.
    pub decision: Action,
    /// Whether a person should look at it before anything else, because it may be a cry for help.
    pub priority: bool,
    /// The personal data, in order of appearance.
    pub findings: Vec<Finding>,
    /// The kinds of harm it speaks of, most urgent first.
    pub categories: Vec<HarmCategory>,
    /// Maps byte offsets in `text` to byte offsets in the input.
    pub offsets: OffsetMap,
}

/// Screens texts by one policy.
#[derive(Debug, Clone, Default)]
pub struct Screener {
    policy: Arc<Policy>,
}

static DEFAULT: LazyLock<Screener> = LazyLock::new(Screener::default);

/// Screens a text by the policy that ships with Headwater.
///
/// ```
/// let screened = headwater_text::screen("Write to ola@example.no or call +47 412 34 567");
/// assert_eq!(screened.text, "Write to [EMAIL_1] or call [PHONE_1]");
/// assert_eq!(screened.decision.name(), "flag");
/// ```
#[must_use]
pub fn screen(input: &str) -> Screened {
    DEFAULT.screen(input)
}

impl Screener {
    /// Makes a screener that follows a policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Screens a text. Total: every text has an answer.
    #[must_use]
    pub fn screen(&self, input: &str) -> Screened {
        let mut hits: Vec<(PiiKind, Range<usize>)> = Vec::new();
        let (mut text, mut offsets) = (input.to_owned(), OffsetMap::identity(input.len()));
        for _ in 0..ROUNDS_MAX {
            let fresh: Vec<_> = self
                .detect(&text)
                .into_iter()
                .filter(|(_, range)| offsets.is_copied(range.clone()))
                .map(|(kind, range)| (kind, offsets.source_range(range)))
                .collect();
            if fresh.is_empty() {
                break;
            }
            hits.extend(fresh);
            hits.sort_by_key(|(_, range)| range.start);
            let masked = hits.iter().map(|(kind, range)| (range.clone(), format!("[{}]", kind.placeholder())));
            (text, offsets) = replace(input, masked);
        }
        let findings = number(input, &hits);
        let redacted = findings
            .iter()
            .filter(|finding| self.policy.on_pii(finding.kind).redact)
            .map(|finding| (finding.start..finding.end, finding.placeholder.clone()));
        let (text, offsets) = replace(input, redacted);
        let categories: Vec<_> = harm::find(&phrases::lower(&normalize(input).text).0).into_iter().collect();
        let on_pii = findings.iter().map(|finding| self.policy.on_pii(finding.kind).action);
        let on_harm = categories.iter().map(|category| self.policy.on_harm(*category));
        let decision = on_pii.chain(on_harm).max().unwrap_or(Action::Allow);
        let priority = categories.iter().any(|category| category.is_self_harm());
        Screened { text, decision, priority, findings, categories, offsets }
    }

    /// Returns what a text holds, in order and without overlaps, as byte ranges of the text.
    fn detect(&self, text: &str) -> Vec<(PiiKind, Range<usize>)> {
        if !text.contains(['@', '[', '(', '{']) && !text.bytes().any(|byte| byte.is_ascii_digit()) {
            return Vec::new();
        }
        let normal = normalize(text);
        let lower = lower_in_place(&normal.text);
        let mut candidates = patterns::find(&normal.text);
        for window in digits::windows(&normal.text) {
            let readings = numbers::readings(&window).into_iter();
            candidates.extend(readings.map(|(kind, score)| (kind, score, window.range.clone())));
        }
        for (kind, score, range) in &mut candidates {
            *score += context::adjustment(&lower, range, *kind);
        }
        candidates.retain(|(_, score, range)| {
            *score >= THRESHOLD && !self.policy.allows(&canonical(&normal.text[range.clone()]))
        });
        candidates.sort_by_key(|(kind, score, range)| (-score, usize::MAX - range.len(), range.start, *kind));
        let mut taken: BTreeMap<usize, (usize, PiiKind)> = BTreeMap::new();
        for (kind, _, range) in candidates {
            let before = taken.range(..range.end).next_back();
            if before.is_none_or(|(_, (end, _))| *end <= range.start) {
                taken.insert(range.start, (range.end, kind));
            }
        }
        taken.into_iter().map(|(start, (end, kind))| (kind, normal.offsets.source_range(start..end))).collect()
    }
}

/// Lower-cases what keeps its length, so that byte offsets stay as they are.
fn lower_in_place(text: &str) -> String {
    let lower = |c: char| {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(one), None) if one.len_utf8() == c.len_utf8() => one,
            _ => c,
        }
    };
    text.chars().map(lower).collect()
}

/// Replaces ranges of a text. They come in order and do not overlap.
fn replace(input: &str, parts: impl Iterator<Item = (Range<usize>, String)>) -> (String, OffsetMap) {
    let (mut text, mut offsets, mut done) = (String::with_capacity(input.len()), OffsetMap::default(), 0);
    for (range, placeholder) in parts {
        text.push_str(&input[done..range.start]);
        offsets.copy(range.start - done);
        text.push_str(&placeholder);
        offsets.replace(range.len(), placeholder.len());
        done = range.end;
    }
    text.push_str(&input[done..]);
    offsets.copy(input.len() - done);
    (text, offsets)
}

/// Gives each value its placeholder. Numbers that stand in the input already, from an earlier screening, stay theirs.
fn number(input: &str, hits: &[(PiiKind, Range<usize>)]) -> Vec<Finding> {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let mut known: BTreeMap<(PiiKind, String), String> = BTreeMap::new();
    let mut findings = Vec::with_capacity(hits.len());
    for (kind, range) in hits {
        let word = kind.placeholder();
        let value = canonical(&normalize(&input[range.clone()]).text);
        let placeholder = known.entry((*kind, value)).or_insert_with(|| {
            let last = next.entry(word).or_insert_with(|| last_number(input, word));
            *last += 1;
            format!("[{word}_{last}]")
        });
        findings.push(Finding { kind: *kind, start: range.start, end: range.end, placeholder: placeholder.clone() });
    }
    findings
}

/// Returns the greatest number of a placeholder that a text holds already, else 0.
fn last_number(text: &str, word: &str) -> usize {
    let open = format!("[{word}_");
    let numbers = text.match_indices(&open).filter_map(|(at, _)| {
        let rest = &text[at + open.len()..];
        rest[..rest.find(']')?].parse::<u32>().ok()
    });
    numbers.max().map_or(0, |last| last as usize)
}
