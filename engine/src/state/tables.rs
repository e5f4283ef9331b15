//! How the list of a table's parts grows and shrinks, and which parts void rows of which.
//!
//! Of a [`Route::Key`] table every part voids rows of all older ones. Of the others only those of the same subtask do:
//! two subtasks may have the same key and mean different rows. When a pipeline goes on with another parallelism, subtask
//! `i` of the former ones is taken over by subtask `i mod parallelism`, whose parts then void its rows too. How often
//! the parallelism has changed is read from the list itself: parts of one parallelism stand together, and in there
//! those of one subtask.

use super::manifest::{Part, TableState};
use headwater_core::Route;
use std::ops::Range;

/// How many neighbours are merged at least: fewer would be merged too often, more be read too often.
const MERGED_MIN: usize = 8;
/// Smaller parts count as this large: a file costs something whatever is in it.
const PART_BYTES_MIN: u64 = 4_096;

/// The parts of one subtask of a run that are not routed by key, and those that void its rows.
pub(super) struct Stream {
    /// The numbers of its own parts.
    pub(super) own: Vec<usize>,
    /// Its own and those that void their rows, oldest first.
    pub(super) all: Vec<usize>,
    /// The subtask of the last run that took them over.
    last: usize,
}

impl Stream {
    /// Returns the subtask of a run of this parallelism that gets the rows.
    pub(super) fn owner(&self, parallelism: usize) -> usize {
        self.last % parallelism
    }
}

impl TableState {
    /// Adds a part that a checkpoint has written; of a table for everyone it takes the place of the subtask's last one.
    pub fn add(&mut self, part: Part) {
        if matches!(self.route, Route::Key(_)) {
            self.parts.push(part);
            return;
        }
        let (subtask, parallelism) = part.subtask;
        let run = self.generations().last().cloned().filter(|run| self.parts[run.start].subtask.1 == parallelism);
        let run = run.unwrap_or(self.parts.len()..self.parts.len());
        let after = run.clone().rev().find(|at| self.parts[*at].subtask.0 <= subtask);
        let at = after.map_or(run.start, |at| at + 1);
        match after {
            Some(at) if self.route == Route::Everyone && self.parts[at].subtask.0 == subtask => self.parts[at] = part,
            _ => self.parts.insert(at, part),
        }
        if self.route == Route::Everyone && self.parts.len() - run.start == parallelism {
            // All subtasks have written what they made of the tables of former runs.
            self.parts.drain(..run.start);
        }
    }

    /// Puts a merged part in the place of those it was made from; says whether they were still there.
    pub fn replace(&mut self, old: &[Part], merged: Part) -> bool {
        let Some(first) = old.first() else { return false };
        let Some(from) = self.parts.iter().position(|part| part.file == first.file) else { return false };
        let run = from..from + old.len();
        if self.parts.get(run.clone()) != Some(old) {
            return false;
        }
        self.parts.splice(run, [merged]);
        true
    }

    /// Returns how many rows its parts have; those that a later part voids are counted too.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Returns how many bytes its parts have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Returns the runs of parts of the same parallelism.
    fn generations(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            match runs.last_mut().filter(|run| self.parts[run.start].subtask.1 == part.subtask.1) {
                Some(run) => run.end = at + 1,
                None => runs.push(at..at + 1),
            }
        }
        runs
    }

    /// Returns the parts of a table for everyone that count.
    pub(super) fn counting(&self) -> Vec<usize> {
        let is_last = |at: &usize| self.parts[at + 1..].iter().all(|part| part.subtask != self.parts[*at].subtask);
        (0..self.parts.len()).filter(is_last).collect()
    }

    /// Returns the streams of a table for anyone.
    pub(super) fn streams(&self) -> Vec<Stream> {
        let runs = self.generations();
        let mut streams = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            let mut subtasks: Vec<usize> = self.parts[run.clone()].iter().map(|part| part.subtask.0).collect();
            subtasks.sort_unstable();
            subtasks.dedup();
            for subtask in subtasks {
                let of =
                    |run: &Range<usize>, subtask| run.clone().filter(move |at| self.parts[*at].subtask.0 == subtask);
                let own: Vec<usize> = of(run, subtask).collect();
                let (mut all, mut last) = (own.clone(), subtask);
                for later in &runs[number + 1..] {
                    last %= self.parts[later.start].subtask.1;
                    all.extend(of(later, last));
                }
                streams.push(Stream { own, all, last });
            }
        }
        streams
    }

    /// Returns the runs of neighbours that may be merged with each other.
    fn mergeable(&self) -> Vec<Range<usize>> {
        match self.route {
            Route::Key(_) => std::iter::once(0..self.parts.len()).collect(),
            Route::Everyone => Vec::new(),
            Route::Anyone => {
                let mut runs: Vec<Range<usize>> = Vec::new();
                for (at, part) in self.parts.iter().enumerate() {
                    match runs.last_mut().filter(|run| self.parts[run.start].subtask == part.subtask) {
                        Some(run) => run.end = at + 1,
                        None => runs.push(at..at + 1),
                    }
                }
                runs
            }
        }
    }
}

/// Returns the neighbours among a table's parts that are worth merging now: at least eight, none of them larger than
/// all others together. So with each merge the file that a row is in at least doubles, and a row is written again a
/// number of times that grows with the logarithm of the state. What is left apart shrinks by half from part to part.
#[must_use]
pub fn worth_merging(table: &TableState) -> Option<Range<usize>> {
    let sizes: Vec<u64> = table.parts.iter().map(|part| part.bytes.max(PART_BYTES_MIN)).collect();
    let runs = table.mergeable().into_iter().rev();
    runs.filter_map(|run| worth(&sizes[run.clone()]).map(|w| run.start + w.start..run.start + w.end)).next()
}

fn worth(sizes: &[u64]) -> Option<Range<usize>> {
    for end in (MERGED_MIN..=sizes.len()).rev() {
        let (mut total, mut largest, mut found) = (0, 0, None);
        for from in (0..end).rev() {
            total += sizes[from];
            largest = largest.max(sizes[from]);
            if end - from >= MERGED_MIN && largest * 2 <= total {
                // Older ones join as long as the rule holds.
                found = Some(from..end);
            } else if found.is_some() {
                break;
            }
        }
        if found.is_some() {
            return found;
        }
    }
    None
}
