//! One topic of the inbox: threads queue their lines, one of them writes and flushes for all. Nothing is answered
//! before it is on disk; what a failed write left behind is cut off before anything else is written.
//!
//! State: the lines that wait, and how long the durable part of the newest segment is. It is bounded by the threads
//! that wait, each with the lines of one call.

use super::log::Segment;
use headwater_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The writing end of one topic.
#[derive(Debug)]
pub(super) struct Topic {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` while a thread writes.
    segment: Option<Segment>,
    /// The lines of the calls that wait for the next write, and where each call's part ends.
    waiting: Vec<u8>,
    calls: Vec<Call>,
    next_ticket: u64,
    /// The answers to calls that have not been fetched yet.
    answers: BTreeMap<u64, Result<(u64, u64)>>,
}

/// One call's share of the waiting bytes.
#[derive(Debug)]
struct Call {
    ticket: u64,
    start: usize,
}

impl Topic {
    /// Opens a topic, which is made when it is missing.
    pub(super) fn open(dir: &Path, name: &str, segment_bytes_max: u64) -> Result<Self> {
        let segment = Segment::open_newest(&dir.join(name), segment_bytes_max)?;
        let state = State {
            segment: Some(segment),
            waiting: Vec::new(),
            calls: Vec::new(),
            next_ticket: 0,
            answers: BTreeMap::new(),
        };
        Ok(Self { state: Mutex::new(state), done: Condvar::new() })
    }

    /// Appends lines; returns the segment and the offset of the first.
    pub(super) fn append(&self, lines: &[&[u8]]) -> Result<(u64, u64)> {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let start = state.waiting.len();
        state.calls.push(Call { ticket, start });
        for line in lines {
            state.waiting.extend_from_slice(line);
            state.waiting.push(b'\n');
        }
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            state = match state.segment.take() {
                Some(segment) => self.write(state, segment),
                None => self.done.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Writes everything that waits, on behalf of all who wait.
    fn write<'a>(&'a self, mut state: MutexGuard<'a, State>, mut segment: Segment) -> MutexGuard<'a, State> {
        let bytes = std::mem::take(&mut state.waiting);
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        let written = segment.append(&bytes);
        let mut state = self.lock();
        state.segment = Some(segment);
        for Call { ticket, start } in calls {
            let answer: Result<(u64, u64), Error> =
                written.clone().map(|(number, offset)| (number, offset + start as u64));
            state.answers.insert(ticket, answer);
        }
        self.done.notify_all();
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
