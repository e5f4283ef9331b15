//! Windows without rows, on request: which groups are missing between the first window of a key and the newest closed one.
//!
//! It never shows anything; it names the groups that the aggregation then takes for its own. Its state is every key that
//! was seen and the window up to which it has been looked after: what bounds it is the number of keys.

use crate::changed_slots::ChangedSlots;
use crate::functions::WindowRule;
use crate::functions::window_rule::Window;
use crate::row_table::RowTable;
use crate::state_table::{TIME, as_times, keyed_table, route_by, stored_columns, times};
use arrow::array::{ArrayRef, RecordBatch, StructArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use headwater_core::{Error, Result, StateTable};
use std::sync::Arc;

/// How many windows without rows are made at one time: more is a mistake in the data rather than a report.
const EMPTY_MAX: usize = 1_000_000;

/// What a group column says about the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowColumn {
    /// It is the window, a struct.
    Whole,
    /// It is its start.
    Start,
    /// It is its end.
    End,
    /// It is its last moment.
    Time,
}

pub(crate) struct Empties {
    rule: Arc<WindowRule>,
    schema: SchemaRef,
    columns: Vec<Option<WindowColumn>>,
    keys: RowTable,
    /// For each key, the window that is looked at next.
    next: Vec<Window>,
    /// The earliest end of those.
    due: i64,
    /// The end of the newest window that has rows.
    newest: i64,
    changed: ChangedSlots,
}

/// The name of the table of keys.
pub(super) const KEYS: &str = "keys";

/// Groups that are missing: their columns, and the end of the window of each.
pub(crate) struct Missing {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) ends: Vec<i64>,
}

impl Empties {
    pub(crate) fn new(rule: Arc<WindowRule>, columns: &[Option<WindowColumn>], schema: &SchemaRef) -> Result<Self> {
        let is_key = |index: &usize| columns[*index].is_none();
        let types = (0..columns.len()).filter(is_key).map(|index| schema.field(index).data_type().clone());
        let (schema, columns) = (schema.clone(), columns.to_vec());
        let keys = RowTable::new(types)?;
        let (next, changed) = (Vec::new(), ChangedSlots::default());
        Ok(Self { rule, schema, columns, keys, next, due: i64::MAX, newest: i64::MIN, changed })
    }

    /// Takes note of groups with rows: all group columns, and for some rows of them the end of the window.
    pub(crate) fn see(&mut self, columns: &[ArrayRef], rows: &[(usize, i64)]) -> Result<()> {
        let keys: Vec<ArrayRef> =
            columns.iter().zip(&self.columns).filter(|(_, part)| part.is_none()).map(|(key, _)| key.clone()).collect();
        let encoded = self.keys.encode(&keys)?;
        for (row, end) in rows {
            if *end == i64::MAX {
                continue;
            }
            let window = self.rule.locate(end - 1).pane;
            let (key, is_new) = self.keys.intern(encoded.get(*row));
            if is_new {
                self.next.push(window);
            }
            let next = &mut self.next[key as usize];
            if is_new || window < *next {
                *next = window;
                self.changed.touch(key);
            }
            self.due = self.due.min(next.1);
            self.newest = self.newest.max(window.1);
        }
        Ok(())
    }

    /// Returns the groups of windows that the watermark closes and nobody has seen a row of, maybe with some that are
    /// there. When the input has ended the newest window that has rows is the last.
    pub(crate) fn missing(&mut self, watermark: i64) -> Result<Option<Missing>> {
        let is_closed = |end: i64| watermark >= end.saturating_sub(1);
        if !is_closed(self.due) {
            return Ok(None);
        }
        let last = if watermark == i64::MAX { self.newest } else { i64::MAX };
        let mut keys: Vec<u32> = Vec::new();
        let mut windows: Vec<Window> = Vec::new();
        self.due = i64::MAX;
        for (key, next) in (0..).zip(&mut self.next) {
            if is_closed(next.1) && next.1 <= last && next.1 < i64::MAX {
                self.changed.touch(key);
            }
            while is_closed(next.1) && next.1 <= last && next.1 < i64::MAX {
                keys.push(key);
                windows.push(*next);
                *next = self.rule.after(*next);
                if windows.len() > EMPTY_MAX {
                    let error = Error::invalid(format!("more than {EMPTY_MAX} windows without rows at one time"));
                    return Err(error.with_help("group by longer windows, or leave out SET emit_empty"));
                }
            }
            self.due = self.due.min(next.1);
        }
        let mut others = self.keys.columns(&keys)?.into_iter();
        let moments = |of: &dyn Fn(&Window) -> i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from_iter_values(windows.iter().map(of)))
        };
        let lost = || Error::internal("the key of a window without rows was lost");
        let mut columns = Vec::with_capacity(self.columns.len());
        for (index, part) in self.columns.iter().enumerate() {
            columns.push(match part {
                None => others.next().ok_or_else(lost)?,
                Some(WindowColumn::Start) => moments(&|window| window.0),
                Some(WindowColumn::End) => moments(&|window| window.1),
                Some(WindowColumn::Time) => moments(&|window| window.1 - 1),
                Some(WindowColumn::Whole) => {
                    let DataType::Struct(fields) = self.schema.field(index).data_type() else { return Err(lost()) };
                    let parts = vec![moments(&|window| window.0), moments(&|window| window.1)];
                    Arc::new(StructArray::try_new(fields.clone(), parts, None)?)
                }
            });
        }
        Ok(Some(Missing { columns, ends: windows.iter().map(|window| window.1).collect() }))
    }

    /// The end of the newest window that has rows.
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }

    /// Takes over which window was the newest to a former subtask: the newest of all is the last that is shown.
    pub(crate) fn restore_newest(&mut self, newest: i64) {
        self.newest = self.newest.max(newest);
    }

    fn fields(&self) -> Vec<FieldRef> {
        let fields = self.schema.fields().iter().zip(&self.columns);
        fields.filter(|(_, part)| part.is_none()).map(|(field, _)| field.clone()).collect()
    }

    /// Lays out the keys that have changed; `place` says which group column holds a column of the input.
    pub(crate) fn snapshot(
        &mut self,
        exchange: &[usize],
        place: impl Fn(usize) -> Option<usize>,
    ) -> Result<Option<StateTable>> {
        let is_key = |group: usize| self.columns[group].is_none();
        let among_keys = |group: usize| is_key(group).then(|| (0..group).filter(|other| is_key(*other)).count());
        let route = route_by(exchange, |column| place(column).and_then(among_keys))?;
        let taken = self.changed.take(|| self.keys.slots());
        let next = |of: fn(&Window) -> i64| times(taken.slots.iter().map(|key| Some(of(&self.next[*key as usize]))));
        let values =
            vec![("next_start".to_owned(), next(|window| window.0)), ("next_end".to_owned(), next(|window| window.1))];
        let fields = self.fields();
        keyed_table((KEYS, route), (&self.keys, &fields), taken, values)
    }

    /// Takes over rows of the table of keys.
    pub(crate) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        let columns = stored_columns(KEYS, rows, self.keys.types().iter().chain(&[TIME, TIME]))?;
        let (keys, next) = columns.split_at(columns.len() - 2);
        let (encoded, start, end) = (self.keys.encode(keys)?, as_times(&next[0])?, as_times(&next[1])?);
        for row in 0..rows.num_rows() {
            let window = (start[row].unwrap_or(i64::MIN), end[row].unwrap_or(i64::MAX));
            let (key, is_new) = self.keys.intern(encoded.get(row));
            if !is_new {
                return Err(Error::data(format!("a key is twice in the table '{KEYS}' of the state")));
            }
            self.next.push(window);
            self.due = self.due.min(window.1);
            self.changed.restored(key);
        }
        Ok(())
    }
}
