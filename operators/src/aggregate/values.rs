//! Calls that keep the rows of each group: how these rows are stored, a row of state for each of them, and found again.
//!
//! It never knows which call it is. Its state is an entry for each row that has changed since the last snapshot.

use crate::changed_slots::ChangedRows;
use crate::row_table::{RowCodec, RowTable};
use crate::state_table::{Named, as_numbers, named, numbers, removed_keys, rows_of};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use headwater_core::{Error, Result, Route, StateTable};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// What the groups of an aggregation are known by. Keys are bytes.
pub(super) trait GroupKeys {
    /// Returns the key of a group.
    fn key(&self, slot: u32) -> Box<[u8]>;

    /// Returns the group of a key.
    fn find(&self, key: &[u8]) -> Option<u32>;

    /// Returns the columns of keys, of which some may be gone.
    fn columns(&self, keys: &[&[u8]]) -> Result<Vec<Named>>;
}

/// Groups that are known by rows of a table.
pub(super) struct RowKeys<'a> {
    pub(super) keys: &'a RowTable,
    pub(super) fields: &'a [FieldRef],
}

impl GroupKeys for RowKeys<'_> {
    fn key(&self, slot: u32) -> Box<[u8]> {
        self.keys.row(slot).into()
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        self.keys.find(key)
    }

    fn columns(&self, keys: &[&[u8]]) -> Result<Vec<Named>> {
        Ok(named(self.fields, self.keys.decode(keys.iter().copied())?))
    }
}

/// A call that keeps rows of each group with how often each is there.
pub(super) trait Values {
    /// Lays rows out.
    fn codec(&self) -> &RowCodec;

    /// How often a row of a group is there; `None` where it is not kept.
    fn count(&self, slot: u32, row: &[u8]) -> Option<i64>;

    /// Returns the rows of a group.
    fn rows(&self, slot: u32) -> Vec<&[u8]>;

    /// Takes a row over from a snapshot.
    fn add(&mut self, slot: u32, row: &[u8], n: i64);

    /// What has changed.
    fn changed(&mut self) -> &mut ChangedValues;
}

/// Rows of groups that have changed since the last snapshot.
#[derive(Default)]
pub(super) struct ChangedValues {
    is_on: bool,
    groups: BTreeMap<u32, ChangedRows>,
    /// Rows of groups that are gone, each with the key of the group.
    gone: Vec<GoneValue>,
}

type GoneValue = (Box<[u8]>, Box<[u8]>);

/// A row of a group with how often it is there.
type ThereValue = (u32, Box<[u8]>, i64);

impl ChangedValues {
    fn group(&mut self, slot: u32) -> &mut ChangedRows {
        self.groups.entry(slot).or_insert_with(ChangedRows::started)
    }

    /// Notes that a row of a group has changed, and whether it was there before.
    pub(super) fn note(&mut self, slot: u32, row: &[u8], was_there: bool) {
        if self.is_on {
            self.group(slot).note(row, was_there);
        }
    }

    /// Notes that a row of a group is gone.
    pub(super) fn gone(&mut self, slot: u32, row: &[u8]) {
        if self.is_on {
            self.group(slot).gone(row);
        }
    }

    /// Notes that a group is gone with its rows; `key` is what a snapshot knows it by, `None` where none does.
    pub(super) fn group_gone<'a>(&mut self, slot: u32, key: Option<&[u8]>, rows: impl Iterator<Item = &'a [u8]>) {
        let changed = self.groups.remove(&slot);
        let Some(key) = key.filter(|_| self.is_on) else { return };
        let mut changed = changed.unwrap_or_else(ChangedRows::started);
        rows.for_each(|row| changed.gone(row));
        self.gone.extend(changed.take().unwrap_or_default().into_iter().map(|row| (key.into(), row)));
    }

    /// Notes changes from now on.
    fn start(&mut self) {
        self.is_on = true;
    }
}

/// Makes the table of a call; `None` when nothing has changed. `slots` are all groups.
pub(super) fn values_table(
    values: &mut dyn Values,
    call: usize,
    groups: &dyn GroupKeys,
    slots: impl FnOnce() -> Vec<u32>,
    route: Route,
) -> Result<Option<StateTable>> {
    let ChangedValues { is_on, groups: changed, gone } = std::mem::take(values.changed());
    values.changed().start();
    let (mut there, mut removed): (Vec<ThereValue>, Vec<GoneValue>) = (Vec::new(), Vec::new());
    if is_on {
        for (slot, mut rows) in changed {
            for row in rows.take().unwrap_or_default() {
                match values.count(slot, &row) {
                    Some(n) => there.push((slot, row, n)),
                    None => removed.push((groups.key(slot), row)),
                }
            }
        }
        // A group may have come back, and its rows with it.
        let is_back = |(key, row): &GoneValue| groups.find(key).is_some_and(|slot| values.count(slot, row).is_some());
        removed.extend(gone.into_iter().filter(|value| !is_back(value)));
    } else {
        for slot in slots() {
            let rows =
                values.rows(slot).into_iter().map(|row| (slot, row.into(), values.count(slot, row).unwrap_or(0)));
            there.extend(rows);
        }
    }
    if there.is_empty() && removed.is_empty() {
        return Ok(None);
    }
    let keys: Vec<Box<[u8]>> = there.iter().map(|(slot, _, _)| groups.key(*slot)).collect();
    let layout = |keys: Vec<&[u8]>, rows: Vec<&[u8]>| -> Result<Vec<Named>> {
        let mut columns = groups.columns(&keys)?;
        let rows = values.codec().decode(rows)?;
        columns.extend(rows.into_iter().enumerate().map(|(place, column)| (format!("value_{place}"), column)));
        Ok(columns)
    };
    let mut columns =
        layout(keys.iter().map(AsRef::as_ref).collect(), there.iter().map(|(_, row, _)| &**row).collect())?;
    let key = (0..columns.len()).collect();
    columns.push(("n".to_owned(), numbers(there.iter().map(|(_, _, n)| *n))));
    let rows = rows_of(columns, there.len())?;
    let gone =
        layout(removed.iter().map(|(key, _)| &**key).collect(), removed.iter().map(|(_, row)| &**row).collect())?;
    let removed = removed_keys(gone, removed.len())?;
    Ok(Some(StateTable { name: table_name(call), key, route, rows, removed }))
}

/// The types of the columns of the rows of a call and of how often each is there.
pub(super) fn value_types(values: &dyn Values) -> Vec<DataType> {
    values.codec().types().iter().cloned().chain([DataType::Int64]).collect()
}

/// Takes over rows of groups.
pub(super) fn restore_values(values: &mut dyn Values, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
    let Some((n, rows)) = columns.split_last() else { return Err(Error::internal("values without columns")) };
    let (n, encoded) = (as_numbers(n)?, values.codec().encode(rows)?);
    values.changed().start();
    for (row, slot) in slots.iter().enumerate() {
        values.add(*slot, encoded.get(row), n[row]);
    }
    Ok(())
}

const PREFIX: &str = "values_";

/// Returns the name of the table of a call, by its place. Names are kept for good: there are no more of them than the
/// greatest number of calls that an operator has.
fn table_name(call: usize) -> &'static str {
    static NAMES: LazyLock<Mutex<Vec<&'static str>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    while names.len() <= call {
        let name = format!("{PREFIX}{}", names.len());
        names.push(Box::leak(name.into_boxed_str()));
    }
    names[call]
}

/// Returns the place of the call whose table has a name.
pub(super) fn call_of(table: &str) -> Option<usize> {
    table.strip_prefix(PREFIX)?.parse().ok()
}
