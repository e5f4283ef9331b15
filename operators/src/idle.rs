//! What has not been touched for long: how `state_ttl` finds what is to be forgotten.
//!
//! It never looks at what is kept; things are numbers. Time is the wall time of the epochs, so what is touched during
//! an epoch counts as touched at its end, and nothing is forgotten but at a barrier. Its state is one entry per thing
//! that is kept.

use headwater_core::EventTime;
use std::collections::BTreeMap;

/// Things by the time at which they were touched last.
pub(crate) struct Idle {
    ttl_ns: i64,
    /// By number: when it was touched last.
    things: Vec<Thing>,
    /// What was touched since the last barrier.
    touched: Vec<u32>,
    /// What is to be looked at when this time has passed: each thing once.
    due: BTreeMap<i64, Vec<u32>>,
}

#[derive(Clone, Copy, Default)]
struct Thing {
    /// `None` for a thing that is gone.
    last: Option<i64>,
    /// It was touched since the last barrier.
    is_touched: bool,
    /// It is in `due`.
    is_due: bool,
}

impl Idle {
    /// Forgets what is not touched for so long.
    pub(crate) fn new(ttl_ns: i64) -> Self {
        Self { ttl_ns, things: Vec::new(), touched: Vec::new(), due: BTreeMap::new() }
    }

    fn thing(&mut self, slot: u32) -> &mut Thing {
        let index = slot as usize;
        if index >= self.things.len() {
            self.things.resize_with(index + 1, Thing::default);
        }
        &mut self.things[index]
    }

    /// Notes that a thing is in use.
    pub(crate) fn touch(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.thing(slot).is_touched, true) {
            self.touched.push(slot);
        }
    }

    /// Notes that a thing is gone; its number may be given to another.
    pub(crate) fn gone(&mut self, slot: u32) {
        let thing = self.thing(slot);
        (thing.last, thing.is_touched) = (None, false);
    }

    /// Returns the end of the epoch in which a thing was touched last, once that epoch has ended.
    pub(crate) fn last(&self, slot: u32) -> Option<i64> {
        self.things.get(slot as usize).and_then(|thing| thing.last)
    }

    /// Takes a thing over from a snapshot, with what [`Idle::last`] said of it. One that was stored without a time,
    /// before there was anything to forget, counts as touched in the first epoch that ends.
    pub(crate) fn restore(&mut self, slot: u32, last: Option<i64>) {
        let Some(last) = last else { return self.touch(slot) };
        let thing = self.thing(slot);
        thing.last = Some(last);
        if !std::mem::replace(&mut thing.is_due, true) {
            self.due.entry(last).or_default().push(slot);
        }
    }

    /// Ends an epoch and returns what is to be forgotten now; the caller forgets it, without a call of
    /// [`Idle::gone`].
    pub(crate) fn expire(&mut self, now: EventTime) -> Vec<u32> {
        for slot in std::mem::take(&mut self.touched) {
            let thing = &mut self.things[slot as usize];
            if !std::mem::replace(&mut thing.is_touched, false) {
                continue;
            }
            thing.last = Some(now.0);
            if !std::mem::replace(&mut thing.is_due, true) {
                self.due.entry(now.0).or_default().push(slot);
            }
        }
        let mut expired = Vec::new();
        while let Some(entry) = self.due.first_entry() {
            if now.0 < entry.key().saturating_add(self.ttl_ns) {
                break;
            }
            for slot in entry.remove() {
                let thing = &mut self.things[slot as usize];
                match thing.last {
                    None => thing.is_due = false,
                    Some(last) if now.0 < last.saturating_add(self.ttl_ns) => {
                        self.due.entry(last).or_default().push(slot);
                    }
                    Some(_) => {
                        *thing = Thing::default();
                        expired.push(slot);
                    }
                }
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_again_lives_on() {
        let mut idle = Idle::new(10);
        idle.touch(0);
        idle.touch(1);
        assert_eq!(idle.expire(EventTime(100)), Vec::<u32>::new());
        idle.touch(1);
        assert_eq!(idle.expire(EventTime(105)), Vec::<u32>::new());
        assert_eq!(idle.expire(EventTime(110)), [0]);
        assert_eq!(idle.expire(EventTime(114)), Vec::<u32>::new());
        assert_eq!(idle.expire(EventTime(115)), [1]);
        assert_eq!(idle.expire(EventTime(1_000)), Vec::<u32>::new());
    }

    #[test]
    fn a_number_that_is_used_again_begins_anew() {
        let mut idle = Idle::new(10);
        idle.touch(0);
        assert_eq!(idle.expire(EventTime(100)), Vec::<u32>::new());
        idle.gone(0);
        idle.touch(0);
        assert_eq!(idle.expire(EventTime(108)), Vec::<u32>::new());
        assert_eq!(idle.expire(EventTime(117)), Vec::<u32>::new());
        assert_eq!(idle.expire(EventTime(118)), [0]);
        idle.touch(0);
        idle.gone(0);
        assert_eq!(idle.expire(EventTime(119)), Vec::<u32>::new());
        assert_eq!(idle.expire(EventTime(1_000)), Vec::<u32>::new());
    }
}
