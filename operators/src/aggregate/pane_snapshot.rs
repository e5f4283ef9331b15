//! Snapshots of windows that share panes: a table of the groups of each key and pane, a table for each call that keeps
//! rows of its own, and how far windows are closed. Which windows are open follows from that.

use super::panes::{Owner, PaneOperator};
use super::snapshot::PASSED;
use super::values::{GroupKeys, restore_values, value_types};
use crate::row_table::RowTable;
use crate::state_table::{
    Named, TIME, as_times, everyone, named, removed_keys, route_by, rows_of, stored_columns, times,
};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::FieldRef;
use datafusion_common::utils::normalize_float_zero;
use headwater_core::{Error, EventTime, Operator, Result, Snapshot, StateTable};
use std::collections::BTreeMap;

const GROUPS: &str = "groups";
/// The pane of a key takes so many bytes: whether there is one, and when it begins.
const PANE_BYTES: usize = 1 + size_of::<i64>();

/// Returns what the group of a pane is known by.
pub(super) fn pane_key(keys: &RowTable, owner: Owner) -> Box<[u8]> {
    let mut bytes = vec![u8::from(owner.pane.is_some())];
    bytes.extend(owner.pane.unwrap_or_default().to_be_bytes());
    bytes.extend(keys.row(owner.key));
    bytes.into()
}

/// Takes apart what [`pane_key`] put together.
fn parts(bytes: &[u8]) -> (Option<i64>, &[u8]) {
    let (pane, key) = bytes.split_at(PANE_BYTES);
    let start = pane[1..].try_into().map_or(0, i64::from_be_bytes);
    ((pane[0] == 1).then_some(start), key)
}

/// The groups of panes and keys.
struct PaneKeys<'a> {
    keys: &'a RowTable,
    fields: &'a [FieldRef],
    owners: &'a [Owner],
    panes: &'a BTreeMap<i64, BTreeMap<u32, u32>>,
    timeless: &'a BTreeMap<u32, u32>,
}

impl GroupKeys for PaneKeys<'_> {
    fn key(&self, slot: u32) -> Box<[u8]> {
        pane_key(self.keys, self.owners[slot as usize])
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let (pane, key) = parts(key);
        let groups = pane.map_or(Some(self.timeless), |pane| self.panes.get(&pane))?;
        groups.get(&self.keys.find(key)?).copied()
    }

    fn columns(&self, keys: &[&[u8]]) -> Result<Vec<Named>> {
        let parts: Vec<(Option<i64>, &[u8])> = keys.iter().map(|key| parts(key)).collect();
        let mut columns = named(self.fields, self.keys.decode(parts.iter().map(|(_, key)| *key))?);
        columns.push(("pane".to_owned(), times(parts.iter().map(|(pane, _)| *pane))));
        Ok(columns)
    }
}

impl PaneKeys<'_> {
    fn slots(&self) -> Vec<u32> {
        self.panes.values().chain([self.timeless]).flat_map(|groups| groups.values().copied()).collect()
    }
}

impl PaneOperator {
    fn n_keys(&self) -> usize {
        self.n_groups - 1
    }

    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let among_keys = |place: usize| (place != self.time).then(|| place - usize::from(place > self.time));
        let place = |column: usize| self.places.get(&column).copied().and_then(among_keys);
        let route = route_by(self.context.route(0), place)?;
        let mut fields: Vec<FieldRef> = self.schema.fields()[..self.n_groups].to_vec();
        fields.remove(self.time);
        let Self { keys, owners, panes, timeless, .. } = self;
        let groups = PaneKeys { keys, fields: &fields, owners, panes, timeless };
        let mut tables = self.calls.values_tables(&groups, || groups.slots(), &route)?;
        let taken = self.changed.take(|| groups.slots());
        let removed: Vec<&[u8]> =
            taken.removed.iter().filter(|key| groups.find(key).is_none()).map(AsRef::as_ref).collect();
        if !taken.slots.is_empty() || !removed.is_empty() {
            let stored_as: Vec<Box<[u8]>> = taken.slots.iter().map(|slot| groups.key(*slot)).collect();
            let mut columns = groups.columns(&stored_as.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
            let key = (0..columns.len()).collect();
            columns.extend(self.calls.save(&taken.slots)?);
            let rows = rows_of(columns, taken.slots.len())?;
            let removed = removed_keys(groups.columns(&removed)?, removed.len())?;
            tables.push(StateTable { name: GROUPS, key, route, rows, removed });
        }
        if self.watermark != self.stored_watermark {
            self.stored_watermark = self.watermark;
            let watermark = times([Some(self.watermark.0)]);
            tables.push(everyone(PASSED, vec![("watermark".to_owned(), watermark)])?);
        }
        Ok(Snapshot { tables })
    }

    pub(super) fn take_over(&mut self, table: &str, rows: &RecordBatch) -> Result<()> {
        if table == PASSED {
            // The latest counts, as for other windows: what was shown for good is not shown again.
            let columns = stored_columns(table, rows, &[TIME])?;
            let watermark = as_times(&columns[0])?.into_iter().flatten().max();
            self.watermark = self.watermark.max(watermark.map_or(EventTime::MIN, EventTime));
            return Ok(());
        }
        let is_groups = table == GROUPS;
        let types = if is_groups { self.calls.saved_types() } else { value_types(self.calls.values_of(table)?) };
        let columns = stored_columns(table, rows, self.keys.types().iter().chain(&[TIME]).chain(&types))?;
        let (keys, values) = columns.split_at(self.n_keys());
        let panes = as_times(&values[0])?;
        let keys: Vec<ArrayRef> = keys.iter().map(normalize_float_zero).collect();
        let encoded = self.keys.encode(&keys)?;
        let mut slots = Vec::with_capacity(panes.len());
        for (row, pane) in panes.into_iter().enumerate() {
            let (key, _) = self.keys.intern(encoded.get(row));
            slots.push(self.group(pane, key));
        }
        self.calls.grow(self.slots.n as usize);
        if !is_groups {
            return restore_values(self.calls.values_of(table)?, &slots, &values[1..]);
        }
        slots.iter().for_each(|slot| self.changed.restored(*slot));
        self.n_restored += slots.len();
        self.calls.restore(&slots, &values[1..])
    }

    /// Finds the windows that are open, once it is known how far windows are closed.
    pub(super) fn reopen(&mut self) -> Result<()> {
        self.stored_watermark = self.watermark;
        let panes: Vec<i64> = self.panes.keys().copied().collect();
        for pane in panes {
            let located = self.rule.locate(pane);
            if located.pane.0 != pane {
                return Err(Error::data("a pane of the state is not one of the windows'"));
            }
            self.open(pane, &located.windows);
        }
        if self.n_restored != self.state_size().rows as usize {
            return Err(Error::data("the tables of the state know different groups"));
        }
        Ok(())
    }
}
