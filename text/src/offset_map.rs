//! Where each byte of a rewritten text came from in the original.
//!
//! Never looks at the text itself: it knows lengths only. Its state is one small entry per run of bytes that were
//! either copied as they are or replaced as a whole, so an untouched text costs one entry, whatever its length.

use std::ops::Range;

/// One piece of the rewritten text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Where the piece begins in the rewritten text.
    output: usize,
    /// Where its origin begins in the original.
    source: usize,
    /// The length of the origin.
    source_len: usize,
    /// Whether the piece is a copy, byte for byte.
    copied: bool,
}

/// A map from byte offsets in a rewritten text back to byte offsets in the original.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetMap {
    runs: Vec<Run>,
    output_len: usize,
    source_len: usize,
}

impl OffsetMap {
    /// Returns the map of a text of `len` bytes onto itself.
    #[must_use]
    pub fn identity(len: usize) -> Self {
        let mut map = Self::default();
        map.copy(len);
        map
    }

    /// Appends `len` bytes that were copied from the original.
    pub(crate) fn copy(&mut self, len: usize) {
        self.push(len, len, true);
    }

    /// Appends `output_len` bytes that stand for `source_len` bytes of the original. Either may be zero.
    pub(crate) fn replace(&mut self, source_len: usize, output_len: usize) {
        self.push(source_len, output_len, false);
    }

    fn push(&mut self, source_len: usize, output_len: usize, copied: bool) {
        if output_len > 0 {
            let extends = copied
                && self.runs.last().is_some_and(|run| run.copied && run.source + run.source_len == self.source_len);
            match self.runs.last_mut() {
                Some(run) if extends => run.source_len += source_len,
                _ => self.runs.push(Run { output: self.output_len, source: self.source_len, source_len, copied }),
            }
        }
        self.output_len += output_len;
        self.source_len += source_len;
    }

    fn run_at(&self, output: usize) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.output <= output);
        after.checked_sub(1).map(|at| &self.runs[at])
    }

    /// Returns the bytes of the original that the bytes `output` of the rewritten text stand for. A replaced piece
    /// counts as a whole. An empty range, or one that begins past the end, is an empty range of the original.
    #[must_use]
    pub fn source_range(&self, output: Range<usize>) -> Range<usize> {
        let end = output.end.min(self.output_len);
        if output.start >= end {
            let at = self.run_at(output.start).map_or(0, |run| {
                let inside = if run.copied { output.start - run.output } else { 0 };
                run.source + inside.min(run.source_len)
            });
            return at..at;
        }
        let start = self
            .run_at(output.start)
            .map_or(0, |run| if run.copied { run.source + (output.start - run.output) } else { run.source });
        let end = self.run_at(end - 1).map_or(self.source_len, |run| {
            if run.copied { run.source + (end - run.output) } else { run.source + run.source_len }
        });
        start..end
    }

    /// Returns whether every byte of `output` was copied as it is.
    #[must_use]
    pub fn is_copied(&self, output: Range<usize>) -> bool {
        if output.start >= output.end {
            return true;
        }
        let first = self.runs.partition_point(|run| run.output <= output.start).saturating_sub(1);
        self.runs[first..].iter().take_while(|run| run.output < output.end).all(|run| run.copied)
    }

    /// Returns the length of the rewritten text in bytes.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    /// Returns the length of the original in bytes.
    #[must_use]
    pub fn source_len(&self) -> usize {
        self.source_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_copies_exactly_and_replacements_as_a_whole() {
        let mut map = OffsetMap::default();
        map.copy(3); // abc
        map.replace(5, 2); // 5 bytes became 2
        map.replace(4, 0); // 4 bytes vanished
        map.copy(3);
        assert_eq!((map.output_len(), map.source_len()), (8, 15));
        assert_eq!(map.source_range(1..3), 1..3);
        assert_eq!(map.source_range(4..5), 3..8);
        assert_eq!(map.source_range(2..6), 2..13);
        assert_eq!(map.source_range(5..8), 12..15);
        assert_eq!(map.source_range(6..6), 13..13);
        assert!(map.is_copied(0..3) && !map.is_copied(2..4) && map.is_copied(5..8));
    }

    #[test]
    fn an_untouched_text_is_one_run() {
        let mut map = OffsetMap::identity(10);
        map.copy(5);
        assert_eq!(map.runs.len(), 1);
        assert_eq!(map.source_range(9..12), 9..12);
    }
}
