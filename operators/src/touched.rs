//! When keys were touched last, where `state_ttl` is set and a key has many rows: a table of its own, so that a touch
//! does not write all rows of its key again.
//!
//! It never looks at rows. Its state is one entry per key.

use crate::changed_slots::ChangedSlots;
use crate::idle::Idle;
use crate::row_table::RowTable;
use crate::state_table::{TIME, as_times, keyed_table, route_by, stored_columns, times};
use arrow::array::RecordBatch;
use arrow::datatypes::Field;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use headwater_core::{EventTime, Result, Route, StateTable};
use std::sync::Arc;

/// Keys, by their numbers, with the times at which they were touched last.
pub(crate) struct Touched {
    idle: Idle,
    changed: ChangedSlots,
    route: Route,
}

impl Touched {
    /// The name of its table.
    pub(crate) const TABLE: &str = "touched";

    /// Makes it for keys that are these expressions over rows that come by the columns `exchange`.
    ///
    /// # Errors
    /// `Internal` when the columns are not among the keys.
    pub(crate) fn new(ttl_ns: i64, keys: &[Arc<dyn PhysicalExpr>], exchange: &[usize]) -> Result<Self> {
        let is_column = |key: &Arc<dyn PhysicalExpr>, column: usize| {
            key.downcast_ref::<Column>().is_some_and(|key| key.index() == column)
        };
        let route = route_by(exchange, |column| keys.iter().position(|key| is_column(key, column)))?;
        Ok(Self { idle: Idle::new(ttl_ns), changed: ChangedSlots::default(), route })
    }

    /// Notes that a key is in use.
    pub(crate) fn touch(&mut self, slot: u32) {
        self.idle.touch(slot);
        self.changed.touch(slot);
    }

    /// Notes that a key is gone; it is among the keys still.
    pub(crate) fn gone(&mut self, slot: u32, keys: &RowTable) {
        self.idle.gone(slot);
        self.changed.gone(slot, keys.row(slot));
    }

    /// Ends an epoch and returns the keys that are to be forgotten now.
    pub(crate) fn expire(&mut self, now: EventTime, keys: &RowTable) -> Vec<u32> {
        let expired = self.idle.expire(now);
        for slot in &expired {
            self.changed.gone(*slot, keys.row(*slot));
        }
        expired
    }

    /// Returns what has changed since the last call.
    pub(crate) fn snapshot(&mut self, keys: &RowTable) -> Result<Option<StateTable>> {
        let taken = self.changed.take(|| keys.slots());
        let values = vec![("touched".to_owned(), times(taken.slots.iter().map(|slot| self.idle.last(*slot))))];
        let field = |(number, data_type): (usize, &_)| {
            Arc::new(Field::new(format!("key_{number}"), Clone::clone(data_type), true))
        };
        let fields: Vec<Arc<Field>> = keys.types().iter().enumerate().map(field).collect();
        keyed_table((Self::TABLE, self.route.clone()), (keys, &fields), taken, values)
    }

    /// Takes over keys and their times.
    pub(crate) fn restore(&mut self, keys: &mut RowTable, rows: &RecordBatch) -> Result<()> {
        let types: Vec<_> = keys.types().iter().chain([&TIME]).cloned().collect();
        let columns = stored_columns(Self::TABLE, rows, &types)?;
        let (touched, columns) = columns.split_last().expect("there is a column of times besides those of keys");
        let (encoded, touched) = (keys.encode(columns)?, as_times(touched)?);
        for (row, touched) in touched.into_iter().enumerate() {
            let (slot, _) = keys.intern(encoded.get(row));
            self.idle.restore(slot, touched);
            self.changed.restored(slot);
        }
        Ok(())
    }
}
