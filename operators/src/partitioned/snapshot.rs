//! Snapshots of partitions: a table of their rows with what the logic stores of each, when partitions were touched where
//! that matters, and how far windows are closed.

use super::{Logic, PartitionOperator};
use crate::state_table::{
    TIME, as_times, everyone, keyed_table, named, removed_keys, route_by, rows_of, stored_columns, times, unknown_table,
};
use crate::window_ends::window_ends;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::FieldRef;
use headwater_core::{Error, EventTime, Result, Snapshot, StateSize, StateTable};

const ROWS: &str = "rows";
const TOUCHED: &str = "touched";
const PASSED: &str = "passed";

impl<L: Logic> PartitionOperator<L> {
    fn input_fields(&self) -> &[FieldRef] {
        &self.schema.fields()[..self.layout.n_columns()]
    }

    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let mut tables: Vec<StateTable> = self.save_rows()?.into_iter().collect();
        if let Some(idle) = &self.idle {
            let place = |column: usize| self.partition_by.iter().position(|by| *by == column);
            let route = route_by(self.context.route(0), place)?;
            let fields: Vec<FieldRef> =
                self.partition_by.iter().map(|column| self.schema.fields()[*column].clone()).collect();
            let taken = self.changed_keys.take(|| self.keys.slots());
            let last = times(taken.slots.iter().map(|slot| idle.last(*slot)));
            let values = vec![("touched_at".to_owned(), last)];
            tables.extend(keyed_table((TOUCHED, route), (&self.keys, &fields), taken, values)?);
        }
        if let Some(closing) = self.closing.as_ref().filter(|closing| closing.watermark != self.stored_watermark) {
            self.stored_watermark = closing.watermark;
            tables.push(everyone(PASSED, vec![("watermark".to_owned(), times([Some(self.stored_watermark.0)]))])?);
        }
        Ok(Snapshot { tables })
    }

    fn save_rows(&mut self) -> Result<Option<StateTable>> {
        let route = route_by(self.context.route(0), Some)?;
        let changed = self.changed.take();
        let (mut there, mut stored, mut removed) = (Vec::<&[u8]>::new(), Vec::new(), Vec::<&[u8]>::new());
        let mut keep = |partition: Option<&L::Partition>, row| {
            let before = stored.len();
            stored.extend(partition.map(|partition| self.logic.stored(partition, row)).unwrap_or_default());
            there.extend(std::iter::repeat_n(row, stored.len() - before));
            stored.len() > before
        };
        if let Some(rows) = &changed {
            for (row, slot) in rows.iter().zip(self.find(rows)?) {
                if !keep(slot.map(|slot| &self.partitions[slot as usize]), row) {
                    removed.push(row);
                }
            }
        } else {
            for partition in &self.partitions {
                for row in self.logic.rows(partition) {
                    keep(Some(partition), row);
                }
            }
        }
        if there.is_empty() && removed.is_empty() {
            return Ok(None);
        }
        let n_rows = there.len();
        let mut columns = named(self.input_fields(), self.layout.columns(there)?);
        let key = (0..columns.len()).collect();
        columns.extend(self.logic.store(stored)?);
        let rows = rows_of(columns, n_rows)?;
        let n_removed = removed.len();
        let removed = removed_keys(named(self.input_fields(), self.layout.columns(removed)?), n_removed)?;
        Ok(Some(StateTable { name: ROWS, key, route, rows, removed }))
    }

    /// Finds the partitions of rows.
    fn find(&self, rows: &[Box<[u8]>]) -> Result<Vec<Option<u32>>> {
        let columns = self.layout.columns(rows.iter().map(AsRef::as_ref))?;
        let keys: Vec<ArrayRef> = self.partition_by.iter().map(|column| columns[*column].clone()).collect();
        let keys = self.keys.encode(&keys)?;
        Ok((0..rows.len()).map(|row| self.keys.find(keys.get(row))).collect())
    }

    /// Returns the numbers of partitions, new ones among them.
    fn slots_of(&mut self, keys: &[ArrayRef], n_rows: usize) -> Result<Vec<u32>> {
        let encoded = self.keys.encode(keys)?;
        let slots = (0..n_rows).map(|row| self.keys.intern(encoded.get(row)).0).collect();
        let n_slots = self.keys.n_slots();
        self.partitions.resize_with(n_slots.max(self.partitions.len()), L::Partition::default);
        self.is_touched.resize(n_slots.max(self.is_touched.len()), false);
        Ok(slots)
    }

    pub(super) fn take_over(&mut self, table: &str, rows: &RecordBatch) -> Result<()> {
        let n_rows = rows.num_rows();
        match (table, &mut self.idle, &mut self.closing) {
            (ROWS, ..) => {
                let types = self.logic.stored_types();
                let columns = stored_columns(table, rows, self.layout.types().iter().chain(&types))?;
                let (columns, stored) = columns.split_at(self.layout.n_columns());
                let keys: Vec<ArrayRef> = self.partition_by.iter().map(|column| columns[*column].clone()).collect();
                let slots = self.slots_of(&keys, n_rows)?;
                let encoded = self.layout.encode_columns(columns)?;
                let rows: Vec<(u32, &[u8])> = slots.into_iter().zip((0..n_rows).map(|row| encoded.get(row))).collect();
                self.logic.restore(&rows, &mut self.partitions, stored)?;
                self.changed.start();
                Ok(())
            }
            (TOUCHED, Some(_), _) => {
                let columns = stored_columns(table, rows, self.keys.types().iter().chain(&[TIME]))?;
                let (keys, touched_at) = columns.split_at(self.partition_by.len());
                let slots = self.slots_of(keys, n_rows)?;
                for (slot, touched_at) in slots.into_iter().zip(as_times(&touched_at[0])?) {
                    self.idle.iter_mut().for_each(|idle| idle.restore(slot, touched_at));
                    self.changed_keys.restored(slot);
                }
                Ok(())
            }
            (PASSED, _, Some(closing)) => {
                // The latest counts, as for other windows: what was shown for good is not shown again.
                let columns = stored_columns(table, rows, &[TIME])?;
                let watermark = as_times(&columns[0])?.into_iter().flatten().max();
                closing.watermark = closing.watermark.max(watermark.map_or(EventTime::MIN, EventTime));
                Ok(())
            }
            _ => Err(unknown_table(table)),
        }
    }

    pub(super) fn end_take_over(&mut self) -> Result<()> {
        let slots = self.keys.slots();
        if let Some(closing) = &mut self.closing {
            self.stored_watermark = closing.watermark;
            let place = self.partition_by.iter().position(|column| *column == closing.column);
            let keys = self.keys.columns(&slots)?;
            let window = place.and_then(|place| keys.get(place));
            let window = window.ok_or_else(|| Error::internal("a window that no partition belongs to"))?;
            for (slot, end) in slots.iter().zip(window_ends(window)?.values()) {
                closing.open.entry(*end).or_default().push(*slot);
            }
        }
        for slot in slots {
            let partition = &mut self.partitions[slot as usize];
            // A partition of a window is shown when that closes, any other one at each barrier.
            self.logic.restore_end(partition, self.closing.is_none());
            let size = self.logic.size(partition);
            self.resize(StateSize::default(), size);
        }
        Ok(())
    }
}
