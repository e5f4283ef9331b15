//! Counts and sums by weight: exact under any retraction, in constant space per group.
//!
//! They never keep a row, but for `DISTINCT`. Sums wrap at the width of their type, as DataFusion's do.

use super::state::{Rows, State};
use super::values::{ChangedValues, Values};
use crate::row_table::{ROW_BYTES, RowCodec};
use crate::state_table::{Named, as_numbers, numbers};
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

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn save(&mut self, slots: &[u32]) -> Result<Vec<Named>> {
        Ok(vec![("count".to_owned(), numbers(slots.iter().map(|slot| self.counts[*slot as usize])))])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (slot, count) in slots.iter().zip(as_numbers(&columns[0])?) {
            self.counts[*slot as usize] = count;
        }
        Ok(())
    }

    fn clear(&mut self, slot: u32, _key: Option<&[u8]>) {
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
    /// Of the rows and how often each is there.
    n_bytes: u64,
    changed: ChangedValues,
}

/// What a row takes besides its own bytes.
const ENTRY_BYTES: usize = ROW_BYTES + size_of::<i64>();

#[derive(Default)]
struct OnceGroup {
    counts: HashMap<Box<[u8]>, i64>,
    /// How many of the counts are positive.
    n_there: i64,
}

impl CountedOnce {
    pub(crate) fn new(types: Vec<DataType>) -> Result<Self> {
        let (codec, changed) = (RowCodec::new(types.into_iter())?, ChangedValues::default());
        Ok(Self { codec, groups: Vec::new(), n_bytes: 0, changed })
    }
}

impl Values for CountedOnce {
    fn codec(&self) -> &RowCodec {
        &self.codec
    }

    fn count(&self, slot: u32, row: &[u8]) -> Option<i64> {
        self.groups[slot as usize].counts.get(row).copied()
    }

    fn rows(&self, slot: u32) -> Vec<&[u8]> {
        self.groups[slot as usize].counts.keys().map(AsRef::as_ref).collect()
    }

    fn add(&mut self, slot: u32, row: &[u8], n: i64) {
        let group = &mut self.groups[slot as usize];
        group.n_there += i64::from(n > 0);
        group.counts.insert(row.into(), n);
        self.n_bytes += (row.len() + ENTRY_BYTES) as u64;
    }

    fn changed(&mut self) -> &mut ChangedValues {
        &mut self.changed
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
                self.changed.gone(*slot, key);
                self.n_bytes -= (key.len() + ENTRY_BYTES) as u64;
            } else if let Some(count) = group.counts.get_mut(key) {
                *count = after;
                self.changed.note(*slot, key, true);
            } else {
                group.counts.insert(key.into(), after);
                self.changed.note(*slot, key, false);
                self.n_bytes += (key.len() + ENTRY_BYTES) as u64;
            }
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        let taken = std::mem::take(&mut self.groups[from as usize]);
        let group = &mut self.groups[into as usize];
        for (key, n) in &taken.counts {
            let n_bytes = &mut self.n_bytes;
            let count = group.counts.entry(key.clone()).or_insert_with(|| {
                *n_bytes += (key.len() + ENTRY_BYTES) as u64;
                0
            });
            group.n_there += i64::from(*count + n > 0) - i64::from(*count > 0);
            *count += n;
        }
        group.counts.retain(|key, n| {
            self.n_bytes -= if *n == 0 { (key.len() + ENTRY_BYTES) as u64 } else { 0 };
            *n != 0
        });
        self.groups[from as usize] = taken;
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        let counts = slots.iter().map(|slot| self.groups[*slot as usize].n_there);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn values(&mut self) -> Option<&mut dyn Values> {
        Some(self)
    }

    fn clear(&mut self, slot: u32, key: Option<&[u8]>) {
        let OnceGroup { counts, .. } = std::mem::take(&mut self.groups[slot as usize]);
        self.n_bytes -= counts.keys().map(|row| (row.len() + ENTRY_BYTES) as u64).sum::<u64>();
        self.changed.group_gone(slot, key, counts.keys().map(AsRef::as_ref));
    }

    fn bytes(&self) -> u64 {
        self.n_bytes + size_of_val(self.groups.as_slice()) as u64
    }
}

/// The types of which sums are kept by weight.
enum Kind {
    Int,
    UInt,
    Decimal(u8, i8),
}

/// How a sum is stored: without the places behind the point that its values may have.
const SUM_TYPE: DataType = DataType::Decimal128(38, 0);

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

    fn saved_types(&self) -> Vec<DataType> {
        vec![SUM_TYPE, DataType::Int64]
    }

    fn save(&mut self, slots: &[u32]) -> Result<Vec<Named>> {
        let (sums, counts): (Vec<i128>, Vec<i64>) = slots.iter().map(|slot| self.sums[*slot as usize]).unzip();
        let sums = Decimal128Array::from(sums).with_data_type(SUM_TYPE);
        Ok(vec![("sum".to_owned(), Arc::new(sums)), ("count".to_owned(), numbers(counts))])
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let sums = columns[0].as_primitive_opt::<Decimal128Type>();
        let sums = sums.ok_or_else(|| Error::internal("a sum that is no number"))?;
        for ((slot, sum), count) in slots.iter().zip(sums.values()).zip(as_numbers(&columns[1])?) {
            self.sums[*slot as usize] = (*sum, count);
        }
        Ok(())
    }

    fn clear(&mut self, slot: u32, _key: Option<&[u8]>) {
        self.sums[slot as usize] = (0, 0);
    }

    fn bytes(&self) -> u64 {
        size_of_val(self.sums.as_slice()) as u64
    }
}
