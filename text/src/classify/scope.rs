//! Which phrases of a sentence mean what they say: clauses, negation, contrast, time and wish.
//!
//! Never reads a phrase list; it works on hits and their roles. Keeps nothing between sentences. Work is bounded by the
//! hits of one sentence times the markers of that sentence, at most [`HITS_MAX`] each.

use super::label::{Family, Label};
use super::lexicon::{Lexicon, Role};
use std::ops::Range;

/// How many words may stand between a negator and what it denies.
const REACH_WORDS: usize = 5;
/// How many words may stand between a phrase and a negator that follows it.
const REACH_BACK_WORDS: usize = 2;
/// How many hits of a sentence are read; a sentence with more is no sentence.
const HITS_MAX: usize = 512;

/// What one phrase of a sentence turned out to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// What it is evidence of, or `None` when it was denied, over, wished for or long ago.
    pub label: Option<Label>,
    /// What the phrase alone would say.
    pub literal: Label,
    /// The phrase in the lower-case text.
    pub phrase: Range<usize>,
    /// Its clause in the lower-case text.
    pub clause: Range<usize>,
}

/// Splits a text into sentences: byte ranges without the blanks at their ends.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let ends = match c {
            '\n' => true,
            '.' | '!' | '?' | '\u{2026}' => {
                let next = chars.peek().map(|(_, next)| *next);
                let open = next.is_none_or(|next| next.is_whitespace() || matches!(next, '"' | ')' | '\''));
                open && !(c == '.' && is_abbreviation(&text[start..at]))
            }
            _ => false,
        };
        if ends {
            let mut end = at + c.len_utf8();
            while let Some((quote, _)) = chars.next_if(|(_, next)| matches!(next, '"' | ')' | '\'' | '.' | '!' | '?')) {
                end = quote + 1;
            }
            found.push(trim(text, start..end));
            start = end;
        }
    }
    found.push(trim(text, start..text.len()));
    found.retain(|range| !range.is_empty());
    found
}

fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let word = word.to_lowercase();
    matches!(
        word.as_str(),
        "f.eks"
            | "bl.a"
            | "e.g"
            | "i.e"
            | "kl"
            | "ca"
            | "mr"
            | "mrs"
            | "ms"
            | "dr"
            | "nr"
            | "vs"
            | "т.д"
            | "т.п"
            | "напр"
            | "див"
            | "ім"
            | "грн"
            | "хв"
            | "год"
            | "m.m"
            | "osv"
            | "dvs"
            | "mvh"
            | "approx"
    )
}

fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    start..(start + slice.trim().len())
}

/// Reads one sentence of a lower-case text in normal form.
pub(crate) fn read(text: &str, sentence: Range<usize>, lexicon: &Lexicon) -> Vec<Meaning> {
    let slice = &text[sentence.clone()];
    let shift = |range: Range<usize>| range.start + sentence.start..range.end + sentence.start;
    let (mut labels, mut markers) = (Vec::new(), Vec::new());
    for (role, range) in lexicon.phrases.find(slice).take(HITS_MAX) {
        match role {
            Role::Label(label) => labels.push((label, shift(range))),
            role => markers.push((role, shift(range))),
        }
    }
    if labels.is_empty() {
        return Vec::new();
    }
    let markers = longest(markers, |_, _| true);
    let labels = longest(labels, |a, b| a.family() == b.family() && (a == b || competes(a.family())));
    let exempt: Vec<_> = markers.iter().filter(|(role, _)| *role == Role::Exempt).map(|(_, range)| range).collect();
    let clauses = split(text, &sentence, &markers, |role| matches!(role, Role::Contrast | Role::Boundary), true);
    let thoughts = split(text, &sentence, &markers, |role| matches!(role, Role::Contrast | Role::Present), false);
    let asks = slice.trim_end_matches(['"', ')', '\'', '!']).ends_with('?');
    let mut meanings = Vec::with_capacity(labels.len());
    for (literal, phrase) in labels {
        if exempt.iter().any(|mask| mask.start <= phrase.start && phrase.end <= mask.end) {
            continue;
        }
        let clause = around(&clauses, phrase.start);
        let thought = around(&thoughts, phrase.start);
        let place = Place { text, phrase: &phrase, clause: &clause, thought: &thought };
        let label =
            if unreal(literal, &place, &markers, asks) { None } else { turn(literal, &place, &markers, lexicon) };
        meanings.push(Meaning { label, literal, phrase, clause });
    }
    meanings
}

/// Labels of these families exclude each other on the same words; signals, risks and topics may share them.
fn competes(family: Family) -> bool {
    matches!(family, Family::Confidence | Family::Belonging | Family::Language)
}

/// Keeps, of overlapping hits that compete, the longest; of equals the first.
fn longest<T: Copy>(mut hits: Vec<(T, Range<usize>)>, compete: impl Fn(T, T) -> bool) -> Vec<(T, Range<usize>)> {
    hits.sort_by_key(|(_, range)| (usize::MAX - range.len(), range.start));
    let mut kept: Vec<(T, Range<usize>)> = Vec::new();
    for (value, range) in hits {
        let beaten = |(other, taken): &(T, Range<usize>)| {
            taken.start < range.end && range.start < taken.end && compete(*other, value)
        };
        if !kept.iter().any(beaten) {
            kept.push((value, range));
        }
    }
    kept.sort_by_key(|(_, range)| range.start);
    kept
}

/// Splits a sentence where a marker opens something new and, for clauses, at punctuation.
fn split(
    text: &str,
    sentence: &Range<usize>,
    markers: &[(Role, Range<usize>)],
    opens: impl Fn(Role) -> bool,
    at_punctuation: bool,
) -> Vec<Range<usize>> {
    let mut cuts: Vec<usize> = markers.iter().filter(|(role, _)| opens(*role)).map(|(_, range)| range.start).collect();
    let slice = &text[sentence.clone()];
    for (at, c) in slice.char_indices() {
        let rest = &slice[at + c.len_utf8()..];
        let cut = match c {
            ';' => true,
            ',' => at_punctuation && rest.starts_with(' ') && !continues(rest),
            ':' | '-' => at_punctuation && rest.starts_with(' '),
            '(' | ')' => at_punctuation,
            _ => false,
        };
        if cut {
            cuts.push(sentence.start + at + c.len_utf8());
        }
    }
    cuts.push(sentence.start);
    cuts.push(sentence.end);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| trim(text, pair[0]..pair[1])).filter(|range| !range.is_empty()).collect()
}

/// Returns whether what follows a comma is still said under the same verb: "I do not think, that …".
fn continues(rest: &str) -> bool {
    [" що ", " щоб ", " that ", " at "].iter().any(|word| rest.starts_with(word))
}

fn around(parts: &[Range<usize>], at: usize) -> Range<usize> {
    parts.iter().find(|part| part.contains(&at)).cloned().unwrap_or(at..at)
}

/// Where a phrase stands.
struct Place<'a> {
    text: &'a str,
    phrase: &'a Range<usize>,
    clause: &'a Range<usize>,
    thought: &'a Range<usize>,
}

impl Place<'_> {
    fn words(&self, range: Range<usize>) -> usize {
        let words = self.text[range].split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '_'));
        words.filter(|word| !word.is_empty()).count()
    }

    /// Returns whether a marker stands before the phrase, in its clause and near enough.
    fn governs(&self, marker: &Range<usize>) -> bool {
        self.clause.start <= marker.start
            && marker.end <= self.phrase.start
            && self.words(marker.end..self.phrase.start) <= REACH_WORDS
    }

    /// Returns whether a marker follows the phrase directly, as in "jeg gruer meg ikke".
    fn trails(&self, marker: &Range<usize>) -> bool {
        if marker.start < self.phrase.end || marker.end > self.clause.end {
            return false;
        }
        let between = &self.text[self.phrase.end..marker.start];
        let joined = between.split_whitespace().any(|word| matches!(word, "og" | "eller" | "and" | "or" | "i" | "та"));
        !joined && self.words(self.phrase.end..marker.start) <= REACH_BACK_WORDS
    }
}

/// Returns whether a phrase is asked, wished for or told of earlier days. Plans and topics stay what they are.
fn unreal(label: Label, place: &Place<'_>, markers: &[(Role, Range<usize>)], asks: bool) -> bool {
    if matches!(label.family(), Family::Signal | Family::Topic) {
        return false;
    }
    let outside = |range: &Range<usize>| range.end <= place.phrase.start || range.start >= place.phrase.end;
    asks || markers.iter().any(|(role, range)| match role {
        Role::Past => place.thought.contains(&range.start) && outside(range),
        Role::Irrealis => place.clause.start <= range.start && range.end <= place.phrase.start,
        _ => false,
    })
}

/// Returns what a phrase means under the negators and shifters that govern it: two of them cancel out.
fn turn(literal: Label, place: &Place<'_>, markers: &[(Role, Range<usize>)], lexicon: &Lexicon) -> Option<Label> {
    let (mut denials, mut shifts, mut anymore) = (0, 0, false);
    for (role, range) in markers {
        match role {
            Role::Negator if place.governs(range) || (lexicon.follows && place.trails(range)) => denials += 1,
            Role::Shifter if place.governs(range) || (lexicon.follows && place.trails(range)) => shifts += 1,
            Role::Anymore if place.clause.contains(&range.start) => anymore = true,
            _ => {}
        }
    }
    if lexicon.concord {
        denials = denials.min(1);
    }
    match (denials + shifts) % 2 {
        0 => Some(literal),
        _ if shifts > 0 || anymore => literal.over(),
        _ => literal.denied(),
    }
}
