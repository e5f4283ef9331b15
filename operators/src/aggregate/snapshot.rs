//! Snapshots of an aggregation: a table of groups with what takes one row for each, a table for each call that keeps rows
//! of its own, the keys of windows without rows, and how far windows are closed.
//!
//! What a group shows is stored with it, so that after a restart exactly that is taken back.

use super::empty::KEYS;
use super::operator::{AggregateOperator, Group};
use super::values::{RowKeys, restore_values, value_types};
use crate::state_table::{
    Named, TIME, as_flags, as_numbers, as_times, everyone, flags, keyed_table, named, numbers, optional_rows, route_by,
    stored_columns, times,
};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion_common::utils::normalize_float_zero;
use headwater_core::{Error, EventTime, Result, Snapshot, StateTable};

const GROUPS: &str = "groups";
/// How far windows are closed, for everyone.
pub(super) const PASSED: &str = "passed";

impl AggregateOperator {
    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let exchange = self.context.route(0).to_vec();
        let place = |column: usize| self.places.get(&column).copied();
        let route = route_by(&exchange, place)?;
        let fields = &self.schema.fields()[..self.n_keys];
        let groups = RowKeys { keys: &self.keys, fields };
        let mut tables = self.calls.values_tables(&groups, || self.keys.slots(), &route)?;
        if let Some(empties) = &mut self.empties {
            tables.extend(empties.snapshot(&exchange, place)?);
        }
        tables.extend(self.save_passed()?);
        let taken = self.changed.take(|| self.keys.slots());
        let mut values = self.save_groups(&taken.slots)?;
        values.extend(self.calls.save(&taken.slots)?);
        let fields = &self.schema.fields()[..self.n_keys];
        tables.extend(keyed_table((GROUPS, route), (&self.keys, fields), taken, values)?);
        Ok(Snapshot { tables })
    }

    /// Lays out what is known of groups besides their keys and calls.
    fn save_groups(&self, slots: &[u32]) -> Result<Vec<Named>> {
        let groups = || slots.iter().map(|slot| &self.groups[*slot as usize]);
        let mut values = vec![("rows".to_owned(), numbers(groups().map(|group| group.multiplicity)))];
        if let Some(idle) = &self.idle {
            values.push(("touched_at".to_owned(), times(slots.iter().map(|slot| idle.last(*slot)))));
        }
        if !self.shows_once {
            values.push(("is_shown".to_owned(), flags(groups().map(|group| group.shown.is_some()))));
            let shown = optional_rows(&self.values, groups().map(|group| group.shown.as_deref()))?;
            let shown = named(&self.schema.fields()[self.n_keys..], shown);
            values.extend(shown.into_iter().map(|(name, column)| (format!("shown {name}"), column)));
        }
        Ok(values)
    }

    /// Says how far windows are closed, where that has changed.
    fn save_passed(&mut self) -> Result<Option<StateTable>> {
        let time = self.passed();
        let Some((watermark, newest)) = time.filter(|_| time != self.stored_time) else { return Ok(None) };
        self.stored_time = time;
        let column = |time: i64| times([Some(time)]);
        let columns = vec![("watermark".to_owned(), column(watermark.0)), ("newest".to_owned(), column(newest))];
        everyone(PASSED, columns).map(Some)
    }

    pub(super) fn take_over(&mut self, table: &str, rows: &RecordBatch) -> Result<()> {
        match table {
            GROUPS => self.take_over_groups(rows),
            PASSED => {
                let columns = stored_columns(table, rows, &[TIME, TIME])?;
                let watermarks = as_times(&columns[0])?.into_iter().flatten();
                self.windows.iter_mut().zip(watermarks.max()).for_each(|(windows, time)| {
                    windows.restore_watermark(EventTime(time));
                });
                let newest = as_times(&columns[1])?.into_iter().flatten().max();
                self.empties.iter_mut().zip(newest).for_each(|(empties, newest)| empties.restore_newest(newest));
                Ok(())
            }
            KEYS => match &mut self.empties {
                Some(empties) => empties.restore(rows),
                None => Err(Error::data(format!("the state has a table '{table}' of windows without rows"))),
            },
            _ => {
                let types = value_types(self.calls.values_of(table)?);
                let columns = stored_columns(table, rows, self.keys.types().iter().chain(&types))?;
                let slots = self.slots_of(&columns[..self.n_keys], rows.num_rows())?;
                restore_values(self.calls.values_of(table)?, &slots, &columns[self.n_keys..])
            }
        }
    }

    /// Returns the groups of keys, new ones among them.
    fn slots_of(&mut self, keys: &[ArrayRef], n_rows: usize) -> Result<Vec<u32>> {
        let keys: Vec<ArrayRef> = keys.iter().map(normalize_float_zero).collect();
        let encoded = self.keys.encode(&keys)?;
        let slots = (0..n_rows).map(|row| self.keys.intern(encoded.get(row)).0).collect();
        self.grow();
        Ok(slots)
    }

    fn take_over_groups(&mut self, rows: &RecordBatch) -> Result<()> {
        let n_idle = usize::from(self.idle.is_some());
        let n_shown = if self.shows_once { 0 } else { 1 + self.values.types().len() };
        let shown_types = self.values.types().iter().take(n_shown.saturating_sub(1));
        let (idle, is_shown) = (vec![TIME; n_idle], vec![DataType::Boolean; n_shown.min(1)]);
        let calls = self.calls.saved_types();
        let types = self.keys.types().iter().chain(&[DataType::Int64]).chain(&idle).chain(&is_shown);
        let columns = stored_columns(GROUPS, rows, types.chain(shown_types).chain(&calls))?;
        let (keys, rest) = columns.split_at(self.n_keys);
        let (multiplicity, rest) = rest.split_at(1);
        let (touched_at, rest) = rest.split_at(n_idle);
        let (shown, calls) = rest.split_at(n_shown);
        let slots = self.slots_of(keys, rows.num_rows())?;
        self.calls.restore(&slots, calls)?;
        let ends = self.windows.as_ref().map(|windows| windows.ends(keys)).transpose()?;
        let multiplicity = as_numbers(&multiplicity[0])?;
        let touched_at = touched_at.first().map(as_times).transpose()?;
        let is_shown = shown.first().map(as_flags).transpose()?;
        let shown = if n_shown == 0 { None } else { Some(self.values.encode(&shown[1..])?) };
        for (row, slot) in slots.into_iter().enumerate() {
            let shown = shown.as_ref().filter(|_| is_shown.as_ref().is_some_and(|is_shown| is_shown[row]));
            let shown: Option<Box<[u8]>> = shown.map(|shown| shown.get(row).into());
            self.shown_bytes += shown.as_ref().map_or(0, |shown| shown.len() as u64);
            let end = ends.as_ref().map_or(0, |ends| ends.value(row));
            self.groups[slot as usize] = Group { multiplicity: multiplicity[row], shown, touched: false, end };
            self.windows.iter_mut().for_each(|windows| windows.restore(slot, end));
            if let (Some(idle), Some(touched_at)) = (&mut self.idle, &touched_at) {
                idle.restore(slot, touched_at[row]);
            }
            self.changed.restored(slot);
            self.n_restored += 1;
        }
        Ok(())
    }

    /// How far windows are closed, and which is the newest; `None` where nothing is known.
    fn passed(&self) -> Option<(EventTime, i64)> {
        let newest = self.empties.as_ref().map_or(i64::MIN, |empties| empties.newest());
        let time = (self.windows.as_ref()?.watermark(), newest);
        (time != (EventTime::MIN, i64::MIN)).then_some(time)
    }

    pub(super) fn check_restored(&mut self) -> Result<()> {
        self.stored_time = self.passed();
        // The only group of a query without keys is there before anything is restored.
        if self.n_keys > 0 && self.n_restored != self.keys.size().rows as usize {
            return Err(Error::data("the tables of the state know different groups"));
        }
        Ok(())
    }
}
