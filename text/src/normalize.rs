//! The normal form that all recognisers and the lexicon read: NFC, no invisible characters, plain quotes and dashes,
//! single spaces.
//!
//! Never lower-cases, translates or drops a visible character. Keeps no state; the output is never longer than three
//! times the input, which is the bound of NFC itself.

use crate::offset_map::OffsetMap;
use unicode_normalization::{IsNormalized, UnicodeNormalization, char::canonical_combining_class, is_nfc_quick};

/// A text in normal form, with the way back to the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalized {
    /// The text in normal form.
    pub text: String,
    /// Maps byte offsets in `text` to byte offsets in the original.
    pub offsets: OffsetMap,
}

/// Brings a text into normal form. Idempotent: the normal form of a normal form is itself.
///
/// A run of white space becomes one space, or one line break if it holds a line break; at both ends it vanishes.
///
/// ```
/// let normal = headwater_text::normalize("  I don\u{2019}t\u{200b} know \u{2014} yet ");
/// assert_eq!(normal.text, "I don't know - yet");
/// assert_eq!(normal.offsets.source_range(0..1), 2..3);
/// ```
#[must_use]
pub fn normalize(source: &str) -> Normalized {
    let mut out = Writer::new(source);
    // A segment is a character that no earlier one can change, with all that may still combine with it. The normal
    // form of the whole is the concatenation of the normal forms of its segments.
    let mut segment = Segment::default();
    for (at, c) in source.char_indices() {
        if is_invisible(c) {
            segment.end = at + c.len_utf8();
            continue;
        }
        // Nothing combines with white space.
        if starts_segment(c) || segment.chars.last().is_some_and(|last| last.is_whitespace()) {
            out.segment(&segment);
            segment.chars.clear();
            segment.start = segment.end;
        }
        segment.chars.push(c);
        segment.end = at + c.len_utf8();
    }
    out.segment(&segment);
    out.finish()
}

fn starts_segment(c: char) -> bool {
    c.is_ascii()
        || c.is_whitespace()
        || (canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || (c.is_control() && !c.is_whitespace())
}

/// Returns the plain form of a quote or dash, else the character.
fn fold(c: char) -> char {
    match c {
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{02bc}' | '\u{02b9}' | '\u{00b4}' | '\u{ff07}' | '`' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{00ab}' | '\u{00bb}' | '\u{ff02}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        _ => c,
    }
}

/// Characters that are normalised together, and where they stand in the original. The range also covers invisible
/// characters that were left out.
#[derive(Default)]
struct Segment {
    chars: Vec<char>,
    start: usize,
    end: usize,
}

struct Writer<'a> {
    source: &'a str,
    text: String,
    offsets: OffsetMap,
    /// White space seen but not yet written: its first byte, and whether it holds a line break.
    gap: Option<(usize, bool)>,
    /// How many bytes of the original are accounted for.
    done: usize,
    scratch: Vec<char>,
}

impl<'a> Writer<'a> {
    fn new(source: &'a str) -> Self {
        let text = String::with_capacity(source.len());
        Self { source, text, offsets: OffsetMap::default(), gap: None, done: 0, scratch: Vec::new() }
    }

    fn segment(&mut self, segment: &Segment) {
        let [first, ..] = segment.chars[..] else { return };
        if segment.chars.len() == 1 && first.is_whitespace() {
            let breaks = matches!(first, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            let (start, broken) = self.gap.unwrap_or((segment.start, false));
            self.gap = Some((start, broken || breaks));
            return;
        }
        self.close_gap(segment.start);
        let mut normal = std::mem::take(&mut self.scratch);
        normal.clear();
        normal.extend(segment.chars.iter().copied().nfc().map(fold));
        let length: usize = normal.iter().map(|c| c.len_utf8()).sum();
        self.text.extend(&normal);
        let visible: usize = segment.chars.iter().map(|c| c.len_utf8()).sum();
        if normal == segment.chars && visible == segment.end - segment.start {
            self.offsets.copy(length);
        } else {
            self.offsets.replace(segment.end - segment.start, length);
        }
        self.done = segment.end;
        self.scratch = normal;
    }

    fn close_gap(&mut self, until: usize) {
        let Some((start, broken)) = self.gap.take() else {
            self.offsets.replace(until - self.done, 0);
            self.done = until;
            return;
        };
        let skipped = start - self.done;
        self.offsets.replace(skipped, 0);
        if self.text.is_empty() {
            self.offsets.replace(until - start, 0);
        } else {
            let plain = if broken { "\n" } else { " " };
            self.text.push_str(plain);
            if &self.source[start..until] == plain {
                self.offsets.copy(1);
            } else {
                self.offsets.replace(until - start, 1);
            }
        }
        self.done = until;
    }

    fn finish(mut self) -> Normalized {
        self.offsets.replace(self.source.len() - self.done, 0);
        Normalized { text: self.text, offsets: self.offsets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn composes_folds_strips_and_collapses() {
        let source = "\u{feff}Cafe\u{301} \u{a0}\u{201c}ok\u{201d}\u{2026} a\u{2011}b\r\n\r\n\u{2018}x\u{2019} \u{ad}";
        assert_eq!(normalize(source).text, "Caf\u{e9} \"ok\"\u{2026} a-b\n'x'");
    }

    #[test]
    fn offsets_lead_back_to_the_original() {
        let source = " cafe\u{301}  du\u{200b}monde ";
        let normal = normalize(source);
        assert_eq!(normal.text, "caf\u{e9} dumonde");
        let at = normal.text.find('\u{e9}').unwrap();
        assert_eq!(&source[normal.offsets.source_range(at..at + 2)], "e\u{301}");
        let at = normal.text.find("dumonde").unwrap();
        assert_eq!(&source[normal.offsets.source_range(at..at + 7)], "du\u{200b}monde");
    }

    proptest! {
        #[test]
        fn is_idempotent_and_total(source in "(\\PC|[ \t\n\u{300}\u{301}\u{200b}\u{2019}\u{1100}\u{1161}\u{11a8}\u{1ffd}\u{1fef}]){0,40}") {
            let once = normalize(&source);
            prop_assert_eq!(&normalize(&once.text).text, &once.text);
            prop_assert_eq!(once.offsets.output_len(), once.text.len());
            prop_assert_eq!(once.offsets.source_len(), source.len());
            for (at, c) in once.text.char_indices() {
                let origin = once.offsets.source_range(at..at + c.len_utf8());
                prop_assert!(source.is_char_boundary(origin.start) && source.is_char_boundary(origin.end));
                prop_assert!(origin.start < origin.end);
            }
        }

        #[test]
        fn plain_text_is_left_alone(source in "[a-zæøåіїє]{1,10}( [a-zæøåіїє]{1,10}){0,6}") {
            let normal = normalize(&source);
            prop_assert_eq!(&normal.text, &source);
            prop_assert_eq!(normal.offsets, OffsetMap::identity(source.len()));
        }
    }
}
