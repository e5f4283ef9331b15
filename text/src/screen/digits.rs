//! Numbers as people write them: groups of digits with blanks, dots, dashes or brackets between.
//!
//! Never decides what a number means. Keeps nothing; each group begins at most [`GROUPS_MAX`] windows, so the work is
//! linear in the text.

use std::ops::Range;

/// The longest number that any recogniser knows, in digits.
pub(crate) const DIGITS_MAX: usize = 19;
/// The most groups that any recogniser knows.
pub(crate) const GROUPS_MAX: usize = 7;

/// Consecutive groups of digits, seen as one number.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// The digits as values.
    pub digits: Vec<u8>,
    /// The length of each group.
    pub shape: Vec<usize>,
    /// What stands between the groups: the separator that all share, `Some(' ')` or the like; `None` when they differ.
    pub separator: Option<char>,
    /// Whether a plus sign stands before it.
    pub plus: bool,
    /// Where it is, plus sign and opening bracket included.
    pub range: Range<usize>,
}

struct Group {
    start: usize,
    end: usize,
    /// Whether the group continues the number that the group before it is part of.
    joined: bool,
}

/// Returns every window of groups in a text, shorter ones included.
pub(crate) fn windows(text: &str) -> Vec<Window> {
    let groups = groups(text);
    let mut found = Vec::new();
    for first in 0..groups.len() {
        let mut n_digits = 0;
        for last in first..groups.len().min(first + GROUPS_MAX) {
            n_digits += groups[last].end - groups[last].start;
            if n_digits > DIGITS_MAX || (last > first && !groups[last].joined) {
                break;
            }
            if n_digits >= 8 {
                found.push(window(text, &groups[first..=last]));
            }
        }
    }
    found
}

/// Returns the groups that stand free: a group that touches a letter (`B1`, `A4`) is none.
fn groups(text: &str) -> Vec<Group> {
    let bytes = text.as_bytes();
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    let mut last_end = None;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        let before = text[..start].chars().next_back();
        let after = text[at..].chars().next();
        let glued = |c: char| c.is_alphanumeric() || c == '_';
        if before.is_some_and(glued) || after.is_some_and(glued) || at - start > DIGITS_MAX {
            last_end = None;
            continue;
        }
        let joined = last_end.is_some_and(|end: usize| {
            let between = &bytes[end..start];
            between.len() <= 2 && between.iter().all(|byte| b" -.()/".contains(byte))
        });
        groups.push(Group { start, end: at, joined });
        last_end = Some(at);
    }
    groups
}

fn window(text: &str, groups: &[Group]) -> Window {
    let (first, last) = (&groups[0], &groups[groups.len() - 1]);
    let mut separators = groups.windows(2).map(|pair| &text[pair[0].end..pair[1].start]);
    let separator = separators.next().filter(|one| one.len() == 1 && separators.all(|other| other == *one));
    let mut start = first.start;
    let brackets = groups.windows(2).any(|pair| text[pair[0].end..pair[1].start].contains(')'));
    if brackets && text[..start].ends_with('(') {
        start -= 1;
    }
    let plus = text[..start].ends_with('+');
    if plus {
        start -= 1;
    }
    Window {
        digits: text[first.start..last.end].bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect(),
        shape: groups.iter().map(|group| group.end - group.start).collect(),
        separator: separator.and_then(|one| one.chars().next()),
        plus,
        range: start..last.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_with_their_layout() {
        let found = windows("x (067) 123-45-67, B1234567890 and +47 41 23 45 67.");
        let texts: Vec<_> = found.iter().map(|w| (w.range.clone(), w.shape.clone(), w.plus)).collect();
        assert!(texts.contains(&(2..17, vec![3, 3, 2, 2], false)), "{texts:?}");
        assert!(texts.contains(&(35..50, vec![2, 2, 2, 2, 2], true)), "{texts:?}");
        assert!(texts.iter().all(|(range, ..)| !range.contains(&21)), "glued to a letter: {texts:?}");
        assert_eq!(found.iter().find(|w| w.range == (39..50)).unwrap().separator, Some(' '));
    }

    #[test]
    fn work_is_bounded_per_group() {
        let text = "1 ".repeat(10_000);
        assert!(windows(&text).len() <= 10_000 * GROUPS_MAX);
        assert!(windows(&"7".repeat(5_000)).is_empty());
    }
}
