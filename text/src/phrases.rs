//! Many phrases found in one pass, whole words only.
//!
//! Never reads the same byte twice per phrase set: one Aho-Corasick automaton holds them all. Its state is that
//! automaton, built once. A phrase that ends in `*` also matches longer words: `confiden*` finds `confidence`.

use crate::offset_map::OffsetMap;
use aho_corasick::{AhoCorasick, MatchKind};
use std::ops::Range;

/// A set of phrases, each carrying a value.
#[derive(Debug)]
pub(crate) struct Phrases<T> {
    automaton: AhoCorasick,
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    open: bool,
}

impl<T: Copy> Phrases<T> {
    /// Builds the set. Phrases must be lower-case and in normal form.
    pub(crate) fn new<'a>(phrases: impl IntoIterator<Item = (&'a str, T)>) -> Result<Self, String> {
        let (mut patterns, mut entries) = (Vec::new(), Vec::new());
        for (phrase, value) in phrases {
            let stem = phrase.strip_suffix('*');
            let pattern = stem.unwrap_or(phrase);
            if pattern.trim().is_empty() || pattern != lower(&crate::normalize(pattern).text).0 {
                return Err(format!("phrase '{phrase}' is empty, not lower-case or not in normal form"));
            }
            patterns.push(pattern.to_owned());
            entries.push(Entry { value, open: stem.is_some() });
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .map_err(|error| format!("too many phrases: {error}"))?;
        Ok(Self { automaton, entries })
    }

    /// Returns every occurrence of every phrase, overlapping ones included, in order of their ends. The text must be
    /// lower-case and in normal form. The range of an open phrase reaches to the end of the word.
    pub(crate) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (T, Range<usize>)> + 'a {
        self.automaton.find_overlapping_iter(text).filter_map(move |hit| {
            let entry = &self.entries[hit.pattern().as_usize()];
            let (start, mut end) = (hit.start(), hit.end());
            if text[..start].chars().next_back().is_some_and(is_word) {
                return None;
            }
            if entry.open {
                end += text[end..].chars().take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
            } else if text[end..].chars().next().is_some_and(is_word) {
                return None;
            }
            Some((entry.value, start..end))
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Lower-cases a text and tells where each byte came from.
pub(crate) fn lower(text: &str) -> (String, OffsetMap) {
    let mut out = String::with_capacity(text.len());
    let mut offsets = OffsetMap::default();
    for c in text.chars() {
        let before = out.len();
        out.extend(c.to_lowercase());
        let length = out.len() - before;
        if length == c.len_utf8() {
            offsets.copy(length);
        } else {
            offsets.replace(c.len_utf8(), length);
        }
    }
    (out, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(phrases: &[&str], text: &str) -> Vec<String> {
        let set = Phrases::new(phrases.iter().map(|phrase| (*phrase, ()))).unwrap();
        set.find(text).map(|(_, range)| text[range].to_owned()).collect()
    }

    #[test]
    fn finds_whole_words_and_open_ends() {
        assert_eq!(found(&["art", "start*"], "art starting smart, art!"), ["art", "starting", "art"]);
        assert_eq!(found(&["впевнен*"], "невпевнений, впевненіше"), ["впевненіше"]);
    }

    #[test]
    fn refuses_what_could_never_match() {
        assert!(Phrases::new([("Upper", ())]).is_err());
        assert!(Phrases::new([("*", ())]).is_err());
        assert!(Phrases::new([("don\u{2019}t", ())]).is_err());
    }

    #[test]
    fn lower_case_keeps_the_way_back() {
        let (text, offsets) = lower("A\u{130}Z");
        assert_eq!(text, "ai\u{307}z");
        assert_eq!(offsets.source_range(1..3), 1..3);
        assert_eq!(offsets.source_range(4..5), 3..4);
    }
}
