//! Windows without rows, on request: which groups are missing between the first window of a key and the newest closed one.
//!
//! It never shows anything; it names the groups that the aggregation then takes for its own. Its state is every key that
//! was seen and the window up to which it has been looked after: what bounds it is the number of keys.

use crate::functions::WindowRule;
use crate::functions::window_rule::Window;
use crate::row_table::RowTable;
use arrow::array::{ArrayRef, StructArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{Error, Result};
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
}

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
        Ok(Self { rule, schema, columns, keys, next: Vec::new(), due: i64::MAX, newest: i64::MIN })
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
            *next = (*next).min(window);
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
        let times = |of: &dyn Fn(&Window) -> i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from_iter_values(windows.iter().map(of)))
        };
        let lost = || Error::internal("the key of a window without rows was lost");
        let mut columns = Vec::with_capacity(self.columns.len());
        for (index, part) in self.columns.iter().enumerate() {
            columns.push(match part {
                None => others.next().ok_or_else(lost)?,
                Some(WindowColumn::Start) => times(&|window| window.0),
                Some(WindowColumn::End) => times(&|window| window.1),
                Some(WindowColumn::Time) => times(&|window| window.1 - 1),
                Some(WindowColumn::Whole) => {
                    let DataType::Struct(fields) = self.schema.field(index).data_type() else { return Err(lost()) };
                    let parts = vec![times(&|window| window.0), times(&|window| window.1)];
                    Arc::new(StructArray::try_new(fields.clone(), parts, None)?)
                }
            });
        }
        Ok(Some(Missing { columns, ends: windows.iter().map(|window| window.1).collect() }))
    }
}
