//! The multiset of the argument rows of each group, for rows that may be taken back or whose order matters.
//!
//! A fresh accumulator of DataFusion computes the value when it is asked for. Bounded by the distinct argument rows.

use super::state::{Rows, State, to_array};
use super::values::{ChangedValues, Values};
use crate::expression::engine_error;
use crate::row_table::{ROW_BYTES, RowCodec};
use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use headwater_core::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The argument rows of each group with their multiplicities, in order.
pub(super) struct Multisets {
    function: Arc<AggregateFunctionExpr>,
    n_args: usize,
    /// What rows are ordered by comes first, so that iterating yields the order that was asked for.
    codec: RowCodec,
    needs: Needs,
    groups: Vec<BTreeMap<Box<[u8]>, i64>>,
    /// Of the rows and their multiplicities.
    n_bytes: u64,
    changed: ChangedValues,
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

impl Multisets {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>, input: &SchemaRef) -> Result<Self> {
        let args = function.expressions();
        let mut columns = Vec::new();
        for by in function.order_bys() {
            columns.push((by.expr.data_type(input).map_err(engine_error)?, by.options));
        }
        for arg in &args {
            columns.push((arg.data_type(input).map_err(engine_error)?, SortOptions::default()));
        }
        let first = args.first().map(|arg| arg.data_type(input)).transpose().map_err(engine_error)?;
        let needs = Needs::of(&function, &first.unwrap_or(DataType::Null));
        let (codec, n_args) = (RowCodec::ordered(columns)?, args.len());
        let (groups, changed) = (Vec::new(), ChangedValues::default());
        Ok(Self { function, n_args, codec, needs, groups, n_bytes: 0, changed })
    }
}

impl Values for Multisets {
    fn codec(&self) -> &RowCodec {
        &self.codec
    }

    fn count(&self, slot: u32, row: &[u8]) -> Option<i64> {
        self.groups[slot as usize].get(row).copied()
    }

    fn rows(&self, slot: u32) -> Vec<&[u8]> {
        self.groups[slot as usize].keys().map(AsRef::as_ref).collect()
    }

    fn add(&mut self, slot: u32, row: &[u8], n: i64) {
        self.n_bytes += (row.len() + ENTRY_BYTES) as u64;
        self.groups[slot as usize].insert(row.into(), n);
    }

    fn changed(&mut self) -> &mut ChangedValues {
        &mut self.changed
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
                    self.changed.gone(*slot, key);
                    self.n_bytes -= (key.len() + ENTRY_BYTES) as u64;
                }
                Some(count) => {
                    *count += diff;
                    self.changed.note(*slot, key, true);
                }
                None => {
                    self.changed.note(*slot, key, false);
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

    fn values(&mut self) -> Option<&mut dyn Values> {
        Some(self)
    }

    fn clear(&mut self, slot: u32, key: Option<&[u8]>) {
        let group = std::mem::take(&mut self.groups[slot as usize]);
        self.changed.group_gone(slot, key, group.keys().map(AsRef::as_ref));
        for row in group.into_keys() {
            self.n_bytes -= (row.len() + ENTRY_BYTES) as u64;
        }
    }

    fn bytes(&self) -> u64 {
        self.n_bytes + (self.groups.len() * size_of::<BTreeMap<Box<[u8]>, i64>>()) as u64
    }
}
