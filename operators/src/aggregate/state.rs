//! What is kept of the rows of each group, per aggregate call.
//!
//! Counts and sums of whole numbers and decimals are kept by weight. Over an append-only input anything else is an
//! accumulator of DataFusion per group. Over a changing input, or where the order of rows matters, it is the multiset
//! of the argument rows of each group, from which a fresh accumulator computes the value when it is asked for: right
//! under any retraction for any aggregate, and in an order that does not depend on arrival.
//!
//! Groups are numbered; nothing here knows what they are. State is bounded by the groups, and a multiset by the
//! distinct argument rows in them.

use super::AggregateCall;
use super::accumulators::Accumulators;
use super::multisets::Multisets;
use super::values::Values;
use super::weighted::{Counted, CountedOnce, Summed};
use crate::expression::engine_error;
use crate::state_table::Named;
use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;
use headwater_core::Result;

/// Rows for one aggregate call, after its filter.
pub(crate) struct Rows<'a> {
    /// The group of each row.
    pub(crate) slots: &'a [u32],
    /// The arguments, then what they are ordered by.
    pub(crate) columns: &'a [ArrayRef],
    /// The multiplicity of each row; `None` for +1.
    pub(crate) diffs: Option<&'a Int64Array>,
}

impl Rows<'_> {
    pub(crate) fn diff(&self, row: usize) -> i64 {
        self.diffs.map_or(1, |diffs| diffs.value(row))
    }
}

/// The state of one aggregate call for all groups.
pub(crate) trait State: Send {
    /// Makes room for groups below `n_slots`.
    fn grow(&mut self, n_slots: usize);

    /// Takes rows.
    fn update(&mut self, rows: &Rows<'_>) -> Result<()>;

    /// Adds what one group has taken to another; the first stays as it is.
    fn merge(&mut self, from: u32, into: u32) -> Result<()>;

    /// Returns the value of each of some groups, which stay as they are.
    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef>;

    /// Forgets a group; `key` is what a snapshot knows it by, `None` where none does.
    fn clear(&mut self, slot: u32, key: Option<&[u8]>);

    /// The types of the columns that hold the state of a group; none where it takes a row for each of its [`Values`].
    fn saved_types(&self) -> Vec<DataType> {
        Vec::new()
    }

    /// Lays the state of some groups out, one row for each.
    fn save(&mut self, slots: &[u32]) -> Result<Vec<Named>> {
        let _ = slots;
        Ok(Vec::new())
    }

    /// Takes over what [`State::save`] laid out.
    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let _ = (slots, columns);
        Ok(())
    }

    /// The rows of groups, where those are the state.
    fn values(&mut self) -> Option<&mut dyn Values> {
        None
    }

    /// Returns how many bytes it takes, as far as it can tell without looking at each group.
    fn bytes(&self) -> u64 {
        0
    }
}

/// Chooses how to keep the state of a call.
pub(crate) fn state_of(call: &AggregateCall, input: &SchemaRef, changing: bool) -> Result<Box<dyn State>> {
    let function = &call.function;
    let args = function.expressions();
    if function.is_distinct() && function.fun().name() == "count" {
        let types = args.iter().map(|arg| arg.data_type(input)).collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        return Ok(Box::new(CountedOnce::new(types)?));
    }
    if !function.is_distinct() {
        match function.fun().name() {
            "count" => return Ok(Box::new(Counted::new(args.len()))),
            "sum" => {
                let data_type = args[0].data_type(input).map_err(engine_error)?;
                if let Some(state) = Summed::new(&data_type, function.field().data_type()) {
                    return Ok(Box::new(state));
                }
            }
            _ => {}
        }
    }
    if !changing && function.order_bys().is_empty() {
        return Ok(Box::new(Accumulators::new(function.clone())?));
    }
    Ok(Box::new(Multisets::new(function.clone(), input)?))
}

/// Turns values into an array of the function's type, which may have no element.
pub(super) fn to_array(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    let array = ScalarValue::iter_to_array(values).map_err(engine_error)?;
    if array.data_type() == data_type { Ok(array) } else { Ok(compute::cast(&array, data_type)?) }
}
