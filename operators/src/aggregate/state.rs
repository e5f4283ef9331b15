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
use super::weighted::{Counted, CountedOnce, Summed};
use crate::expression::engine_error;
use crate::row_table::{ROW_BYTES, RowCodec};
use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use headwater_core::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

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

    /// Forgets a group.
    fn clear(&mut self, slot: u32);

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
        return Ok(Box::new(Accumulators {
            function: function.clone(),
            groups: Vec::new(),
            each_bytes: 0,
            n_groups: 0,
        }));
    }
    let mut columns = Vec::new();
    for by in function.order_bys() {
        columns.push((by.expr.data_type(input).map_err(engine_error)?, by.options));
    }
    for arg in &args {
        columns.push((arg.data_type(input).map_err(engine_error)?, SortOptions::default()));
    }
    let first = args.first().map(|arg| arg.data_type(input)).transpose().map_err(engine_error)?;
    let needs = Needs::of(function, &first.unwrap_or(DataType::Null));
    let codec = RowCodec::ordered(columns)?;
    let (function, groups) = (function.clone(), Vec::new());
    Ok(Box::new(Multisets { function, n_args: args.len(), codec, needs, groups, n_bytes: 0 }))
}

/// Turns values into an array of the function's type, which may have no element.
fn to_array(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    let array = ScalarValue::iter_to_array(values).map_err(engine_error)?;
    if array.data_type() == data_type { Ok(array) } else { Ok(compute::cast(&array, data_type)?) }
}

/// An accumulator per group, for rows that only come.
///
/// An accumulator is asked for its value again and again as it grows, which is what DataFusion itself does for window
/// frames that start at the first row. For its state it is asked only once: that may use it up, and what was asked for
/// makes it anew.
struct Accumulators {
    function: Arc<AggregateFunctionExpr>,
    groups: Vec<Option<Kept>>,
    /// Of an accumulator, without what it points to: some would have to count it.
    each_bytes: u64,
    n_groups: u64,
}

/// The state of a group.
enum Kept {
    Running(Box<dyn Accumulator>),
    Asked(Vec<ArrayRef>),
}

impl Kept {
    fn running(&mut self, function: &AggregateFunctionExpr) -> Result<&mut Box<dyn Accumulator>> {
        if let Self::Asked(state) = self {
            let mut accumulator = function.create_accumulator().map_err(engine_error)?;
            accumulator.merge_batch(state).map_err(engine_error)?;
            *self = Self::Running(accumulator);
        }
        match self {
            Self::Running(accumulator) => Ok(accumulator),
            Self::Asked(_) => Err(Error::internal("an accumulator was not made anew")),
        }
    }

    fn asked(&mut self) -> Result<&[ArrayRef]> {
        if let Self::Running(accumulator) = self {
            let state = accumulator.state().map_err(engine_error)?;
            let arrays = state.iter().map(|value| value.to_array().map_err(engine_error));
            *self = Self::Asked(arrays.collect::<Result<_>>()?);
        }
        match self {
            Self::Asked(state) => Ok(state),
            Self::Running(_) => Err(Error::internal("an accumulator has no state")),
        }
    }
}

impl Accumulators {
    fn running(&mut self) -> Result<Kept> {
        let accumulator = self.function.create_accumulator().map_err(engine_error)?;
        self.each_bytes = size_of_val(accumulator.as_ref()) as u64;
        self.n_groups += 1;
        Ok(Kept::Running(accumulator))
    }
}

impl State for Accumulators {
    fn grow(&mut self, n_slots: usize) {
        self.groups.resize_with(n_slots.max(self.groups.len()), || None);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let mut order: Vec<u32> = (0..u32::try_from(rows.slots.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by_key(|row| rows.slots[*row as usize]);
        let sorted = UInt32Array::from(order);
        let columns: Vec<ArrayRef> =
            rows.columns.iter().map(|column| compute::take(column, &sorted, None)).collect::<Result<_, _>>()?;
        let mut start = 0;
        for chunk in sorted.values().chunk_by(|a, b| rows.slots[*a as usize] == rows.slots[*b as usize]) {
            let slot = rows.slots[chunk[0] as usize] as usize;
            if self.groups[slot].is_none() {
                self.groups[slot] = Some(self.running()?);
            }
            let Some(kept) = &mut self.groups[slot] else { continue };
            let accumulator = kept.running(&self.function)?;
            let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, chunk.len())).collect();
            accumulator.update_batch(&part).map_err(engine_error)?;
            start += chunk.len();
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        let Some(mut kept) = self.groups[from as usize].take() else { return Ok(()) };
        let mut whole = match self.groups[into as usize].take() {
            Some(whole) => whole,
            None => self.running()?,
        };
        let merged = whole.running(&self.function)?.merge_batch(kept.asked()?).map_err(engine_error);
        self.groups[from as usize] = Some(kept);
        self.groups[into as usize] = Some(whole);
        merged
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(slots.len());
        for slot in slots {
            let value = match &mut self.groups[*slot as usize] {
                Some(kept) => kept.running(&self.function)?.evaluate(),
                None => self.function.create_accumulator().and_then(|mut empty| empty.evaluate()),
            };
            values.push(value.map_err(engine_error)?);
        }
        to_array(values, self.function.field().data_type())
    }

    fn clear(&mut self, slot: u32) {
        if self.groups[slot as usize].take().is_some() {
            self.n_groups -= 1;
        }
    }

    fn bytes(&self) -> u64 {
        self.n_groups * self.each_bytes + (self.groups.len() * size_of::<Option<Kept>>()) as u64
    }
}

/// The argument rows of each group with their multiplicities, in order.
struct Multisets {
    function: Arc<AggregateFunctionExpr>,
    n_args: usize,
    /// What rows are ordered by comes first, so that iterating yields the order that was asked for.
    codec: RowCodec,
    needs: Needs,
    groups: Vec<BTreeMap<Box<[u8]>, i64>>,
    /// Of the rows and their multiplicities.
    n_bytes: u64,
}

/// What a row of a multiset takes besides its own bytes.
const ENTRY_BYTES: usize = ROW_BYTES + size_of::<i64>();

/// Which rows of a multiset decide the value.
#[derive(Clone, Copy)]
enum Needs {
    /// All of them, as often as they are there.
    All,
    /// Each of them once.
    Distinct,
    /// The ends: the first is null where there is a null, so the least value is one of the first two.
    Ends,
}

impl Needs {
    fn of(function: &AggregateFunctionExpr, argument: &DataType) -> Self {
        // Bytes are in the order of the values for these types; for others DataFusion's order may differ.
        let is_ordered =
            argument.is_integer() || argument.is_temporal() || argument.is_decimal() || argument.is_string();
        match function.fun().name() {
            "min" | "max" if is_ordered => Self::Ends,
            _ if function.is_distinct() && function.order_bys().is_empty() => Self::Distinct,
            _ => Self::All,
        }
    }

    fn rows(self, group: &BTreeMap<Box<[u8]>, i64>) -> Vec<&[u8]> {
        let there = || group.iter().filter(|(_, n)| **n > 0);
        match self {
            Self::All => {
                there().flat_map(|(row, n)| std::iter::repeat_n(&**row, usize::try_from(*n).unwrap_or(0))).collect()
            }
            Self::Distinct => there().map(|(row, _)| &**row).collect(),
            Self::Ends => there().take(2).chain(there().next_back()).map(|(row, _)| &**row).collect(),
        }
    }
}

impl State for Multisets {
    fn grow(&mut self, n_slots: usize) {
        self.groups.resize_with(n_slots.max(self.groups.len()), BTreeMap::new);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let (args, order) = rows.columns.split_at(self.n_args);
        let encoded = self.codec.encode(&[order, args].concat())?;
        for (row, slot) in rows.slots.iter().enumerate() {
            let group = &mut self.groups[*slot as usize];
            let (key, diff) = (encoded.get(row), rows.diff(row));
            match group.get_mut(key) {
                Some(count) if *count + diff == 0 => {
                    group.remove(key);
                    self.n_bytes -= (key.len() + ENTRY_BYTES) as u64;
                }
                Some(count) => *count += diff,
                None => {
                    group.insert(key.into(), diff);
                    self.n_bytes += (key.len() + ENTRY_BYTES) as u64;
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        let taken = std::mem::take(&mut self.groups[from as usize]);
        let group = &mut self.groups[into as usize];
        for (row, n) in &taken {
            match group.get_mut(row) {
                Some(count) => *count += n,
                None => {
                    self.n_bytes += (row.len() + ENTRY_BYTES) as u64;
                    group.insert(row.clone(), *n);
                }
            }
        }
        let gone: Vec<Box<[u8]>> = group.iter().filter(|(_, n)| **n == 0).map(|(row, _)| row.clone()).collect();
        for row in gone {
            group.remove(&row);
            self.n_bytes -= (row.len() + ENTRY_BYTES) as u64;
        }
        self.groups[from as usize] = taken;
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(slots.len());
        for slot in slots {
            let mut columns = self.codec.decode(self.needs.rows(&self.groups[*slot as usize]))?;
            let n_order = columns.len() - self.n_args;
            columns.rotate_left(n_order);
            let mut accumulator = self.function.create_accumulator().map_err(engine_error)?;
            if columns.first().is_some_and(|column| !column.is_empty()) {
                accumulator.update_batch(&columns).map_err(engine_error)?;
            }
            values.push(accumulator.evaluate().map_err(engine_error)?);
        }
        to_array(values, self.function.field().data_type())
    }

    fn clear(&mut self, slot: u32) {
        for row in std::mem::take(&mut self.groups[slot as usize]).into_keys() {
            self.n_bytes -= (row.len() + ENTRY_BYTES) as u64;
        }
    }

    fn bytes(&self) -> u64 {
        self.n_bytes + (self.groups.len() * size_of::<BTreeMap<Box<[u8]>, i64>>()) as u64
    }
}
