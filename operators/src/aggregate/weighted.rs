//! Counts and sums by weight: exact under any retraction, in constant space per group.
//!
//! They never keep a row, but for `DISTINCT`. Sums wrap at the width of their type, as DataFusion's do.

use super::state::{Rows, State};
use crate::row_table::RowCodec;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt64Type};
use datafusion_common::utils::normalize_float_zero;
use hashbrown::HashMap;
use headwater_core::{Error, Result};
use std::sync::Arc;

/// `count(…)`: the number of rows in which no argument is null.
pub(crate) struct Counted {
    n_args: usize,
    counts: Vec<i64>,
}

impl Counted {
    pub(crate) fn new(n_args: usize) -> Self {
        Self { n_args, counts: Vec::new() }
    }
}

impl State for Counted {
    fn grow(&mut self, n_slots: usize) {
        self.counts.resize(n_slots.max(self.counts.len()), 0);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let args = &rows.columns[..self.n_args];
        let nulls = args.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
        });
        for (row, slot) in rows.slots.iter().enumerate() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.counts[*slot as usize] += rows.diff(row);
            }
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        self.counts[into as usize] += self.counts[from as usize];
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|slot| self.counts[*slot as usize]);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn clear(&mut self, slot: u32) {
        self.counts[slot as usize] = 0;
    }

    fn bytes(&self) -> u64 {
        size_of_val(self.counts.as_slice()) as u64
    }
}

/// `count(DISTINCT …)`: the number of different rows in which no argument is null. Its state is these rows, with how
/// often each is there.
pub(crate) struct CountedOnce {
    codec: RowCodec,
    groups: Vec<OnceGroup>,
}

#[derive(Default)]
struct OnceGroup {
    counts: HashMap<Box<[u8]>, i64>,
    /// How many of the counts are positive.
    n_there: i64,
}

impl CountedOnce {
    pub(crate) fn new(types: Vec<DataType>) -> Result<Self> {
        Ok(Self { codec: RowCodec::new(types.into_iter())?, groups: Vec::new() })
    }
}

impl State for CountedOnce {
    fn grow(&mut self, n_slots: usize) {
        self.groups.resize_with(n_slots.max(self.groups.len()), OnceGroup::default);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let columns: Vec<ArrayRef> = rows.columns.iter().map(normalize_float_zero).collect();
        let nulls = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
        });
        let encoded = self.codec.encode(&columns)?;
        for (row, slot) in rows.slots.iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let group = &mut self.groups[*slot as usize];
            let key = encoded.get(row);
            let before = group.counts.get(key).copied().unwrap_or(0);
            let after = before + rows.diff(row);
            group.n_there += i64::from(after > 0) - i64::from(before > 0);
            if after == 0 {
                group.counts.remove(key);
            } else if let Some(count) = group.counts.get_mut(key) {
                *count = after;
            } else {
                group.counts.insert(key.into(), after);
            }
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        let taken = std::mem::take(&mut self.groups[from as usize]);
        let group = &mut self.groups[into as usize];
        for (key, n) in &taken.counts {
            let count = group.counts.entry(key.clone()).or_default();
            group.n_there += i64::from(*count + n > 0) - i64::from(*count > 0);
            *count += n;
        }
        group.counts.retain(|_, n| *n != 0);
        self.groups[from as usize] = taken;
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|slot| self.groups[*slot as usize].n_there);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn clear(&mut self, slot: u32) {
        self.groups[slot as usize] = OnceGroup::default();
    }
}

/// The types of which sums are kept by weight.
enum Kind {
    Int,
    UInt,
    Decimal(u8, i8),
}

/// `sum(x)`: null where no `x` is there.
pub(crate) struct Summed {
    kind: Kind,
    /// For each group, the sum and the number of values that are not null.
    sums: Vec<(i128, i64)>,
}

impl Summed {
    /// Makes it, unless the argument has another type.
    pub(crate) fn new(argument: &DataType, result: &DataType) -> Option<Self> {
        let kind = match (argument, result) {
            (DataType::Int64, DataType::Int64) => Kind::Int,
            (DataType::UInt64, DataType::UInt64) => Kind::UInt,
            (DataType::Decimal128(_, s), DataType::Decimal128(precision, scale)) if s == scale => {
                Kind::Decimal(*precision, *scale)
            }
            _ => return None,
        };
        Some(Self { kind, sums: Vec::new() })
    }

    fn add(&mut self, rows: &Rows<'_>, nulls: Option<&NullBuffer>, value: impl Fn(usize) -> i128) {
        for (row, slot) in rows.slots.iter().enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let (sum, count) = &mut self.sums[*slot as usize];
                let diff = rows.diff(row);
                *sum = sum.wrapping_add(value(row).wrapping_mul(i128::from(diff)));
                *count += diff;
            }
        }
    }
}

impl State for Summed {
    fn grow(&mut self, n_slots: usize) {
        self.sums.resize(n_slots.max(self.sums.len()), (0, 0));
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let column = &rows.columns[0];
        let nulls = column.nulls();
        let mismatch = || Error::internal(format!("a sum over {}", column.data_type()));
        match self.kind {
            Kind::Int => {
                let values = column.as_primitive_opt::<Int64Type>().ok_or_else(mismatch)?;
                self.add(rows, nulls, |row| i128::from(values.value(row)));
            }
            Kind::UInt => {
                let values = column.as_primitive_opt::<UInt64Type>().ok_or_else(mismatch)?;
                self.add(rows, nulls, |row| i128::from(values.value(row)));
            }
            Kind::Decimal(..) => {
                let values = column.as_primitive_opt::<Decimal128Type>().ok_or_else(mismatch)?;
                self.add(rows, nulls, |row| values.value(row));
            }
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        let (sum, count) = self.sums[from as usize];
        let group = &mut self.sums[into as usize];
        *group = (group.0.wrapping_add(sum), group.1 + count);
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let sums = slots.iter().map(|slot| {
            let (sum, count) = self.sums[*slot as usize];
            (count != 0).then_some(sum)
        });
        // The narrowing casts wrap, which is what makes the sum the same as one that wrapped on the way.
        Ok(match self.kind {
            Kind::Int => Arc::new(sums.map(|sum| sum.map(|sum| sum as i64)).collect::<Int64Array>()),
            Kind::UInt => Arc::new(sums.map(|sum| sum.map(|sum| sum as u64)).collect::<UInt64Array>()),
            Kind::Decimal(precision, scale) => {
                Arc::new(sums.collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?)
            }
        })
    }

    fn clear(&mut self, slot: u32) {
        self.sums[slot as usize] = (0, 0);
    }

    fn bytes(&self) -> u64 {
        size_of_val(self.sums.as_slice()) as u64
    }
}
