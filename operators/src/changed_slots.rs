//! What has changed since the last snapshot, so that a snapshot costs what has changed and not what is kept.
//!
//! Nothing is noted before the first snapshot, which takes everything: a run without checkpoints pays nothing. What came
//! and went between two snapshots leaves no trace. The state is one mark per thing and an entry per change.

use hashbrown::HashMap;

/// Changed things among those that have a number and are known by the bytes of a key, such as the slots of a
/// [`RowTable`](crate::row_table::RowTable).
#[derive(Default)]
pub(crate) struct ChangedSlots {
    /// Whether changes are noted.
    is_on: bool,
    marks: Vec<Mark>,
    /// What was touched, some of it gone since then.
    touched: Vec<u32>,
    /// Keys that a snapshot has and that are gone.
    removed: Vec<Box<[u8]>>,
}

#[derive(Default, Clone, Copy)]
struct Mark {
    is_touched: bool,
    /// An earlier snapshot has it.
    is_stored: bool,
}

/// What a snapshot has to say.
#[derive(Default)]
pub(crate) struct Taken {
    /// What has changed and is there.
    pub(crate) slots: Vec<u32>,
    /// Keys that are gone; one may have come back under another number.
    pub(crate) removed: Vec<Box<[u8]>>,
}

impl ChangedSlots {
    fn mark(&mut self, slot: u32) -> &mut Mark {
        let index = slot as usize;
        if index >= self.marks.len() {
            self.marks.resize_with(index + 1, Mark::default);
        }
        &mut self.marks[index]
    }

    /// Notes that a thing is new or has changed.
    pub(crate) fn touch(&mut self, slot: u32) {
        if self.is_on && !std::mem::replace(&mut self.mark(slot).is_touched, true) {
            self.touched.push(slot);
        }
    }

    /// Notes that a thing is gone, and says whether a snapshot has it; its number may be given to another.
    pub(crate) fn gone(&mut self, slot: u32, key: &[u8]) -> bool {
        if !self.is_on {
            return false;
        }
        let Mark { is_stored, .. } = std::mem::take(self.mark(slot));
        if is_stored {
            self.removed.push(key.into());
        }
        is_stored
    }

    /// Notes that a thing was taken over from a snapshot.
    pub(crate) fn restored(&mut self, slot: u32) {
        self.is_on = true;
        self.mark(slot).is_stored = true;
    }

    /// Returns what has changed since the last call; the first time `all`, unless something was taken over before.
    pub(crate) fn take(&mut self, all: impl FnOnce() -> Vec<u32>) -> Taken {
        let slots = if std::mem::replace(&mut self.is_on, true) {
            let touched = std::mem::take(&mut self.touched);
            touched.into_iter().filter(|slot| std::mem::take(&mut self.marks[*slot as usize].is_touched)).collect()
        } else {
            all()
        };
        for slot in &slots {
            self.mark(*slot).is_stored = true;
        }
        Taken { slots, removed: std::mem::take(&mut self.removed) }
    }
}

/// Changed rows among those that are known by their bytes alone.
#[derive(Default)]
pub(crate) struct ChangedRows {
    /// Whether changes are noted.
    is_on: bool,
    /// Each with whether an earlier snapshot has it.
    rows: HashMap<Box<[u8]>, bool>,
}

impl ChangedRows {
    /// Makes one that notes changes at once.
    pub(crate) fn started() -> Self {
        Self { is_on: true, rows: HashMap::new() }
    }

    /// Notes changes from now on: something was taken over from a snapshot.
    pub(crate) fn start(&mut self) {
        self.is_on = true;
    }

    /// Notes that a row has changed; says whether it was there before.
    pub(crate) fn note(&mut self, row: &[u8], was_there: bool) {
        if self.is_on && !self.rows.contains_key(row) {
            self.rows.insert(row.into(), was_there);
        }
    }

    /// Notes that a row that was there is gone.
    pub(crate) fn gone(&mut self, row: &[u8]) {
        if !self.is_on {
            return;
        }
        match self.rows.get(row) {
            Some(true) => {}
            Some(false) => drop(self.rows.remove(row)),
            None => drop(self.rows.insert(row.into(), true)),
        }
    }

    /// Returns the rows that have changed, those that are gone among them; `None` for all the first time, unless
    /// something was taken over before.
    pub(crate) fn take(&mut self) -> Option<Vec<Box<[u8]>>> {
        let rows = std::mem::take(&mut self.rows);
        std::mem::replace(&mut self.is_on, true).then(|| rows.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_snapshot_takes_all_and_the_next_what_has_changed() {
        let mut changed = ChangedSlots::default();
        changed.touch(7);
        assert!(!changed.gone(8, b"h"));
        let taken = changed.take(|| vec![1, 2, 3]);
        assert_eq!((taken.slots, taken.removed.len()), (vec![1, 2, 3], 0));
        changed.touch(2);
        changed.touch(2);
        assert!(changed.gone(1, b"a"));
        let taken = changed.take(|| panic!("not the first"));
        assert_eq!((taken.slots, taken.removed), (vec![2], vec![Box::from(*b"a")]));
        assert_eq!(changed.take(|| panic!("not the first")).slots, Vec::<u32>::new());
    }

    #[test]
    fn what_came_and_went_leaves_no_trace() {
        let mut changed = ChangedSlots::default();
        changed.restored(0);
        changed.touch(1);
        assert!(!changed.gone(1, b"b"));
        // The number is given to another.
        assert!(changed.gone(0, b"a"));
        changed.touch(0);
        changed.touch(1);
        let taken = changed.take(|| panic!("something was restored"));
        assert_eq!((taken.slots, taken.removed), (vec![1, 0], vec![Box::from(*b"a")]));
    }

    #[test]
    fn a_row_that_no_snapshot_has_needs_no_removal() {
        let mut changed = ChangedRows::default();
        changed.note(b"z", false);
        assert_eq!(changed.take(), None);
        changed.note(b"a", false);
        changed.gone(b"a");
        changed.note(b"b", true);
        changed.gone(b"b");
        changed.gone(b"c");
        changed.note(b"d", false);
        changed.gone(b"d");
        changed.note(b"d", false);
        let mut rows = changed.take().expect("not the first");
        rows.sort();
        assert_eq!(rows, [Box::from(*b"b"), Box::from(*b"c"), Box::from(*b"d")]);
        assert_eq!(changed.take(), Some(Vec::new()));
    }
}
