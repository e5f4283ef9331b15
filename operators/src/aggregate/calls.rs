//! The aggregate calls of an operator: where their values are among the evaluated columns, and their state.
//!
//! It never knows what a group is; groups are numbers. The state is that of the calls.

use super::Aggregate;
use super::state::{Rows, State, state_of};
use super::values::{GroupKeys, Values, call_of, values_table};
use crate::state_table::{Named, unknown_table};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute;
use arrow::datatypes::DataType;
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Batch, Error, Result, Route, StateTable};
use std::ops::Range;
use std::sync::Arc;

/// Where the values of a call are among the evaluated columns.
struct CallColumns {
    args: Range<usize>,
    filter: Option<usize>,
}

/// All calls of an aggregation.
pub(crate) struct Calls {
    /// What is to be evaluated: the group columns, then whatever the calls need.
    pub(crate) exprs: Vec<Arc<dyn PhysicalExpr>>,
    columns: Vec<CallColumns>,
    states: Vec<Box<dyn State>>,
}

impl Calls {
    pub(crate) fn new(spec: &Aggregate) -> Result<Self> {
        let mut exprs = spec.group.clone();
        let mut columns = Vec::with_capacity(spec.calls.len());
        for call in &spec.calls {
            let start = exprs.len();
            exprs.extend(call.function.expressions());
            exprs.extend(call.function.order_bys().iter().map(|by| by.expr.clone()));
            let args = start..exprs.len();
            exprs.extend(call.filter.clone());
            columns.push(CallColumns { args, filter: call.filter.as_ref().map(|_| exprs.len() - 1) });
        }
        let states = spec.calls.iter().map(|call| state_of(call, &spec.input, spec.input_changing));
        Ok(Self { exprs, columns, states: states.collect::<Result<_>>()? })
    }

    /// Makes room for groups below `n_slots`.
    pub(crate) fn grow(&mut self, n_slots: usize) {
        self.states.iter_mut().for_each(|state| state.grow(n_slots));
    }

    /// Takes rows: the evaluated columns and the group of each.
    pub(crate) fn update(&mut self, batch: &Batch, columns: &[ArrayRef], slots: &[u32]) -> Result<()> {
        for (state, call) in self.states.iter_mut().zip(&self.columns) {
            let args = &columns[call.args.clone()];
            let Some(filter) = call.filter else {
                state.update(&Rows { slots, columns: args, diffs: batch.diffs.as_ref() })?;
                continue;
            };
            let mask = columns[filter].as_boolean_opt().ok_or_else(|| Error::internal("a filter is not Boolean"))?;
            let counts = |row: usize| mask.is_valid(row) && mask.value(row);
            let slots: Vec<u32> = (0..slots.len()).filter(|row| counts(*row)).map(|row| slots[row]).collect();
            let args: Vec<ArrayRef> = args.iter().map(|arg| compute::filter(arg, mask)).collect::<Result<_, _>>()?;
            let diffs = batch.diffs.as_ref().map(|diffs| compute::filter(diffs, mask)).transpose()?;
            let diffs = diffs.as_ref().map(|diffs| diffs.as_primitive());
            state.update(&Rows { slots: &slots, columns: &args, diffs })?;
        }
        Ok(())
    }

    /// Returns the value of each call for each of some groups, which stay as they are.
    pub(crate) fn evaluate(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.states.iter_mut().map(|state| state.evaluate(slots)).collect()
    }

    /// Adds what one group has taken to another.
    pub(crate) fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        self.states.iter_mut().try_for_each(|state| state.merge(from, into))
    }

    /// Returns how many bytes the states take, as far as they can tell.
    pub(crate) fn bytes(&self) -> u64 {
        self.states.iter().map(|state| state.bytes()).sum()
    }

    /// Forgets a group; `key` is what a snapshot knows it by, `None` where none does.
    pub(crate) fn clear(&mut self, slot: u32, key: Option<&[u8]>) {
        self.states.iter_mut().for_each(|state| state.clear(slot, key));
    }

    /// Lays out what takes one row for each of some groups.
    pub(super) fn save(&mut self, slots: &[u32]) -> Result<Vec<Named>> {
        let mut columns = Vec::new();
        for (call, state) in self.states.iter_mut().enumerate() {
            columns
                .extend(state.save(slots)?.into_iter().map(|(name, column)| (format!("call_{call} {name}"), column)));
        }
        Ok(columns)
    }

    /// The types of the columns of [`Calls::save`].
    pub(super) fn saved_types(&self) -> Vec<DataType> {
        self.states.iter().flat_map(|state| state.saved_types()).collect()
    }

    /// Takes over what [`Calls::save`] laid out.
    pub(super) fn restore(&mut self, slots: &[u32], mut columns: &[ArrayRef]) -> Result<()> {
        for state in &mut self.states {
            let (own, rest) = columns.split_at(state.saved_types().len());
            state.restore(slots, own)?;
            columns = rest;
        }
        Ok(())
    }

    /// Lays out the changed rows of groups, a table for each call that keeps them; `slots` are all groups.
    pub(super) fn values_tables(
        &mut self,
        groups: &dyn GroupKeys,
        slots: impl Fn() -> Vec<u32>,
        route: &Route,
    ) -> Result<Vec<StateTable>> {
        let mut tables = Vec::new();
        for (call, state) in self.states.iter_mut().enumerate() {
            if let Some(values) = state.values() {
                tables.extend(values_table(values, call, groups, &slots, route.clone())?);
            }
        }
        Ok(tables)
    }

    /// The rows of groups that the call with this table keeps.
    pub(super) fn values_of(&mut self, table: &str) -> Result<&mut dyn Values> {
        let state = call_of(table).and_then(|call| self.states.get_mut(call));
        state.and_then(|state| state.values()).ok_or_else(|| unknown_table(table))
    }
}
