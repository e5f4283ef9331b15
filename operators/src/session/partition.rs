//! The sessions of one key and the rows in them.
//!
//! It never looks at a watermark by itself. Sessions are disjoint and more than a gap apart. Rows are kept until their
//! session is let go; where the newest of those ended stays known, so that a row that belongs to it is not taken for a
//! new session.

use crate::changed_slots::ChangedRows;
use std::collections::BTreeMap;

/// `[start, end)`.
pub(super) type Window = (i64, i64);

/// A row that is there a number of times.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Entry {
    pub(super) n: i64,
    /// How often it was shown, and under which window.
    pub(super) n_shown: i64,
    pub(super) shown_in: Window,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    last: i64,
    /// Whether the watermark had reached its end when somebody looked.
    closed: bool,
}

/// A row to be emitted: its bytes, its window, how often.
pub(super) type Change = (Box<[u8]>, Window, i64);

/// What a watermark means to sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) watermark: i64,
    pub(super) lateness_ns: i64,
}

impl Time {
    fn has_reached(&self, time: i64) -> bool {
        self.watermark > i64::MIN && self.watermark >= time
    }
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    rows: BTreeMap<i64, BTreeMap<Box<[u8]>, Entry>>,
    sessions: BTreeMap<i64, Span>,
    /// The last row of the newest session that has been let go. Those before it are gone too, because sessions close in
    /// order; a row up to a gap later would have been part of it.
    gone: Option<i64>,
    /// Stretches of time in which what is shown may be wrong.
    dirty: Vec<(i64, i64)>,
}

impl Partition {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.gone.is_none()
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn n_rows(&self) -> usize {
        self.rows.values().map(BTreeMap::len).sum()
    }

    /// The last row of the newest session that has been let go, while somebody may ask for it.
    pub(super) fn gone(&self) -> Option<i64> {
        self.gone
    }

    /// Returns what is kept of a row.
    pub(super) fn entry(&self, at: i64, row: &[u8]) -> Option<&Entry> {
        self.rows.get(&at)?.get(row)
    }

    /// Returns all rows with their times.
    pub(super) fn entries(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.rows.iter().flat_map(|(at, rows)| rows.keys().map(|row| (*at, row.as_ref())))
    }

    /// Takes a row over from a snapshot.
    pub(super) fn restore(&mut self, at: i64, row: &[u8], entry: Entry) {
        self.rows.entry(at).or_default().insert(row.into(), entry);
    }

    /// Takes over what [`Partition::gone`] said.
    pub(super) fn restore_gone(&mut self, gone: i64) {
        self.gone = Some(gone);
    }

    /// Makes the sessions of restored rows. To all of them the watermark has yet to come: when it does, it finds that
    /// those which are complete are shown as they should be. Returns when to look again.
    pub(super) fn restore_sessions(&mut self, gap_ns: i64, time: Time) -> Option<i64> {
        for (at, _) in self.rows.iter().filter(|(_, rows)| rows.values().any(|entry| entry.n > 0)) {
            match self.sessions.last_entry() {
                Some(mut entry) if entry.get().last.saturating_add(gap_ns) >= *at => entry.get_mut().last = *at,
                _ => drop(self.sessions.insert(*at, Span { last: *at, closed: false })),
            }
        }
        self.look_again(gap_ns, time)
    }

    /// Adds a row or takes one back. Returns the end of its session when that is new, or an error with the end of the
    /// session that is complete already.
    pub(super) fn change(
        &mut self,
        at: i64,
        row: &[u8],
        diff: i64,
        (gap_ns, time): (i64, Time),
        changed: &mut ChangedRows,
    ) -> Result<Option<i64>, i64> {
        if let Some(gone) = self.gone.map(|last| last.saturating_add(gap_ns)).filter(|end| at <= *end) {
            return Err(gone);
        }
        let end = at.saturating_add(gap_ns);
        // A row that would begin a session earlier must be in time by itself: otherwise late rows could reach back, one
        // by one, to sessions that are long forgotten.
        let continues = self.neighbours(at, gap_ns).iter().any(|(start, _)| *start <= at);
        if !continues && time.has_reached(end.saturating_add(time.lateness_ns)) {
            return Err(end);
        }
        let was_there = self.is_there(at);
        changed.note(row, self.entry(at, row).is_some());
        let entry = self.rows.entry(at).or_default().entry(row.into()).or_default();
        entry.n += diff;
        let is_void = entry.n == 0 && entry.n_shown == 0;
        if is_void {
            self.remove(at, row, changed);
        }
        match (was_there, self.is_there(at)) {
            (false, true) => Ok(Some(self.join(at, gap_ns))),
            (true, false) => match self.split(at, gap_ns, time) {
                Ok(end) => Ok(Some(end)),
                Err(end) => {
                    // Without this row a session would have been complete before: the change comes too late.
                    changed.note(row, true);
                    self.rows.entry(at).or_default().entry(row.into()).or_default().n -= diff;
                    Err(end)
                }
            },
            _ => {
                self.mark_dirty(at);
                Ok(None)
            }
        }
    }

    fn remove(&mut self, at: i64, row: &[u8], changed: &mut ChangedRows) {
        changed.gone(row);
        if let Some(rows) = self.rows.get_mut(&at) {
            rows.remove(row);
            if rows.is_empty() {
                self.rows.remove(&at);
            }
        }
    }

    fn is_there(&self, at: i64) -> bool {
        self.rows.get(&at).is_some_and(|rows| rows.values().any(|entry| entry.n > 0))
    }

    /// Returns the sessions that a time would be part of.
    fn neighbours(&self, at: i64, gap_ns: i64) -> Vec<(i64, i64)> {
        let starts_early = self.sessions.range(..=at.saturating_add(gap_ns)).rev();
        let reaches = starts_early.take_while(|(_, span)| span.last.saturating_add(gap_ns) >= at);
        reaches.map(|(start, span)| (*start, span.last)).collect()
    }

    fn session_of(&self, at: i64) -> Option<(i64, Span)> {
        let (start, span) = self.sessions.range(..=at).next_back()?;
        (span.last >= at).then_some((*start, *span))
    }

    fn mark_dirty(&mut self, at: i64) {
        let (from, to) = self.session_of(at).map_or((at, at), |(start, span)| (start, span.last));
        match self.dirty.last_mut() {
            Some(last) if from <= last.1 && last.0 <= to => *last = (from.min(last.0), to.max(last.1)),
            _ => self.dirty.push((from, to)),
        }
    }

    /// Takes the stretches that are dirty, each once.
    fn take_dirty(&mut self) -> Vec<(i64, i64)> {
        let mut stretches = std::mem::take(&mut self.dirty);
        stretches.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(stretches.len());
        for (from, to) in stretches {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        merged
    }

    fn join(&mut self, at: i64, gap_ns: i64) -> i64 {
        let (mut start, mut last) = (at, at);
        for (other, other_last) in self.neighbours(at, gap_ns) {
            start = start.min(other);
            last = last.max(other_last);
            self.sessions.remove(&other);
        }
        self.sessions.insert(start, Span { last, closed: false });
        self.mark_dirty(at);
        last.saturating_add(gap_ns)
    }

    /// Makes the session of a time that nothing is at any more anew. Returns the first end of what is left.
    fn split(&mut self, at: i64, gap_ns: i64, time: Time) -> Result<i64, i64> {
        let Some((start, span)) = self.session_of(at) else { return Ok(at.saturating_add(gap_ns)) };
        let mut parts: Vec<(i64, i64)> = Vec::new();
        for there in self.rows.range(start..=span.last).map(|(there, _)| *there).filter(|there| self.is_there(*there)) {
            match parts.last_mut() {
                Some((_, last)) if last.saturating_add(gap_ns) >= there => *last = there,
                _ => parts.push((there, there)),
            }
        }
        let ends = || parts.iter().map(|(_, last)| last.saturating_add(gap_ns));
        if let Some(end) = ends().find(|end| time.has_reached(end.saturating_add(time.lateness_ns))) {
            return Err(end);
        }
        let first = ends().min().unwrap_or(at.saturating_add(gap_ns));
        self.sessions.remove(&start);
        self.sessions.extend(parts.iter().map(|(start, last)| (*start, Span { last: *last, closed: false })));
        self.dirty.push((start, span.last));
        Ok(first)
    }

    /// Looks at the sessions whose end the watermark has reached: they become dirty, so that they are shown.
    pub(super) fn close(&mut self, gap_ns: i64, time: Time) {
        for (start, span) in &mut self.sessions {
            if !span.closed && time.has_reached(span.last.saturating_add(gap_ns)) {
                span.closed = true;
                self.dirty.push((*start, span.last));
            }
        }
    }

    /// Returns what has to be emitted so that what is shown is right. Rows of sessions that are not complete are shown
    /// only on request.
    pub(super) fn show(&mut self, gap_ns: i64, time: Time, early: bool, changed: &mut ChangedRows) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut void = Vec::new();
        for (from, to) in self.take_dirty() {
            let sessions = &self.sessions;
            let session_of = |at: i64| {
                let (start, span) = sessions.range(..=at).next_back()?;
                let end = span.last.saturating_add(gap_ns);
                (span.last >= at && (early || time.has_reached(end))).then_some((*start, end))
            };
            for (at, rows) in self.rows.range_mut(from..=to) {
                let session = session_of(*at);
                for (row, entry) in rows {
                    let n = session.map_or(0, |_| entry.n);
                    let window = session.unwrap_or_default();
                    if (n, window) == (entry.n_shown, entry.shown_in) || (n == 0 && entry.n_shown == 0) {
                        continue;
                    }
                    if entry.n_shown != 0 {
                        changes.push((row.clone(), entry.shown_in, -entry.n_shown));
                    }
                    if n != 0 {
                        changes.push((row.clone(), window, n));
                    }
                    (entry.n_shown, entry.shown_in) = (n, window);
                    changed.note(row, true);
                    if entry.n == 0 {
                        void.push((*at, row.clone()));
                    }
                }
            }
        }
        for (at, row) in void {
            self.remove(at, &row, changed);
        }
        changes
    }

    /// Lets sessions go that no late row may change any more. Returns when to look again.
    pub(super) fn let_go(&mut self, gap_ns: i64, time: Time, changed: &mut ChangedRows) -> Option<i64> {
        debug_assert!(self.dirty.is_empty(), "what is let go has been shown");
        let end = |last: i64| last.saturating_add(gap_ns);
        let is_past = |last: i64| time.has_reached(end(last).saturating_add(time.lateness_ns));
        let past: Vec<(i64, i64)> =
            self.sessions.iter().filter(|(_, s)| is_past(s.last)).map(|(start, s)| (*start, s.last)).collect();
        for (start, last) in past {
            self.sessions.remove(&start);
            let times: Vec<i64> = self.rows.range(start..=last).map(|(at, _)| *at).collect();
            for row in times.iter().filter_map(|at| self.rows.remove(at)).flat_map(BTreeMap::into_keys) {
                changed.gone(&row);
            }
            self.gone = self.gone.max(Some(last));
        }
        let is_forgotten = |last: i64| time.has_reached(end(end(last)).saturating_add(time.lateness_ns));
        self.gone = self.gone.filter(|last| !is_forgotten(*last));
        self.look_again(gap_ns, time)
    }

    /// Returns when a watermark may change something.
    fn look_again(&self, gap_ns: i64, time: Time) -> Option<i64> {
        let end = |last: i64| last.saturating_add(gap_ns);
        let forgotten = self.gone.map(|last| end(end(last)).saturating_add(time.lateness_ns));
        let next =
            |span: &Span| if span.closed { end(span.last).saturating_add(time.lateness_ns) } else { end(span.last) };
        self.sessions.values().map(next).chain(forgotten).min()
    }
}
