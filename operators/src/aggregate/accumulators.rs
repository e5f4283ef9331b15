//! An accumulator of DataFusion per group, for rows that only come.
//!
//! An accumulator is asked for its value again and again as it grows, which is what DataFusion itself does for window
//! frames that start at the first row. Its state may be asked for only once, because that may use it up: what was asked
//! for makes it anew. How much an accumulator points to is measured now and then, because some have to count it.

use super::state::{Rows, State, to_array};
use crate::expression::engine_error;
use crate::state_table::Named;
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use headwater_core::{Error, Result};
use std::sync::Arc;

pub(super) struct Accumulators {
    function: Arc<AggregateFunctionExpr>,
    /// What the state of an accumulator consists of.
    fields: Vec<FieldRef>,
    /// The state is a few plain values, which an accumulator gives away without being used up.
    is_plain: bool,
    groups: Vec<Option<Kept>>,
    /// Of the accumulators and what they point to.
    n_bytes: u64,
}

/// The state of a group.
struct Kept {
    form: Form,
    n_rows: u64,
    /// At how many rows the accumulator is measured next.
    measure_at: u64,
    /// What was measured.
    n_bytes: u64,
}

enum Form {
    Running(Box<dyn Accumulator>),
    Asked(Vec<ArrayRef>),
}

impl Kept {
    fn new(function: &AggregateFunctionExpr) -> Result<Self> {
        let form = Form::Running(function.create_accumulator().map_err(engine_error)?);
        Ok(Self { form, n_rows: 0, measure_at: 0, n_bytes: 0 })
    }

    fn running(&mut self, function: &AggregateFunctionExpr) -> Result<&mut Box<dyn Accumulator>> {
        if let Form::Asked(state) = &self.form {
            let mut accumulator = function.create_accumulator().map_err(engine_error)?;
            accumulator.merge_batch(state).map_err(engine_error)?;
            self.form = Form::Running(accumulator);
        }
        match &mut self.form {
            Form::Running(accumulator) => Ok(accumulator),
            Form::Asked(_) => Err(Error::internal("an accumulator was not made anew")),
        }
    }

    fn asked(&mut self) -> Result<&[ArrayRef]> {
        if let Form::Running(accumulator) = &mut self.form {
            let state = accumulator.state().map_err(engine_error)?;
            let arrays = state.iter().map(|value| value.to_array().map_err(engine_error));
            self.form = Form::Asked(arrays.collect::<Result<_>>()?);
        }
        match &self.form {
            Form::Asked(state) => Ok(state),
            Form::Running(_) => Err(Error::internal("an accumulator has no state")),
        }
    }

    /// Returns the values of the state.
    fn state(&mut self, is_plain: bool, function: &AggregateFunctionExpr) -> Result<Vec<ScalarValue>> {
        if is_plain {
            return self.running(function)?.state().map_err(engine_error);
        }
        let value = |array: &ArrayRef| ScalarValue::try_from_array(array, 0).map_err(engine_error);
        self.asked()?.iter().map(value).collect()
    }

    /// Measures the accumulator when it may have become an eighth larger, so that measuring stays cheap for those that
    /// must count. Returns the bytes before and after.
    fn measure(&mut self) -> (u64, u64) {
        let before = self.n_bytes;
        if let Form::Running(accumulator) = &self.form
            && self.n_rows >= self.measure_at
        {
            self.n_bytes = accumulator.size() as u64;
            self.measure_at = self.n_rows + self.n_rows / 8 + 1;
        }
        (before, self.n_bytes)
    }
}

impl Accumulators {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>) -> Result<Self> {
        let fields = function.state_fields().map_err(engine_error)?;
        let is_plain = |data_type: &DataType| data_type.is_primitive() || *data_type == DataType::Boolean;
        let is_plain = fields.iter().all(|field| is_plain(field.data_type()));
        Ok(Self { function, fields, is_plain, groups: Vec::new(), n_bytes: 0 })
    }

    fn resize(&mut self, (before, after): (u64, u64)) {
        self.n_bytes = (self.n_bytes + after).saturating_sub(before);
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
            let group = &mut self.groups[rows.slots[chunk[0] as usize] as usize];
            let kept = match group {
                Some(kept) => kept,
                None => group.insert(Kept::new(&self.function)?),
            };
            let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, chunk.len())).collect();
            kept.running(&self.function)?.update_batch(&part).map_err(engine_error)?;
            kept.n_rows += chunk.len() as u64;
            let measured = kept.measure();
            self.resize(measured);
            start += chunk.len();
        }
        Ok(())
    }

    fn merge(&mut self, from: u32, into: u32) -> Result<()> {
        let Some(mut kept) = self.groups[from as usize].take() else { return Ok(()) };
        let mut whole = match self.groups[into as usize].take() {
            Some(whole) => whole,
            None => Kept::new(&self.function)?,
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

    fn saved_types(&self) -> Vec<DataType> {
        self.fields.iter().map(|field| field.data_type().clone()).collect()
    }

    /// A group that no row has come to has nulls, which is also what accumulators without a value say of themselves.
    fn save(&mut self, slots: &[u32]) -> Result<Vec<Named>> {
        let Self { function, fields, is_plain, groups, .. } = self;
        let nothing =
            fields.iter().map(|field| ScalarValue::try_from(field.data_type())).collect::<Result<Vec<_>, _>>();
        let nothing = nothing.map_err(engine_error)?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(slots.len()); fields.len()];
        for slot in slots {
            let state = match &mut groups[*slot as usize] {
                Some(kept) => kept.state(*is_plain, function)?,
                None => nothing.clone(),
            };
            if state.len() != fields.len() {
                return Err(Error::internal(format!("{} has another state than it says", function.name())));
            }
            for ((column, value), field) in columns.iter_mut().zip(state).zip(fields.iter()) {
                let fits = value.data_type() == *field.data_type();
                column.push(if fits { value } else { value.cast_to(field.data_type()).map_err(engine_error)? });
            }
        }
        let column = |(field, values): (&FieldRef, Vec<ScalarValue>)| {
            Ok((field.name().clone(), to_array(values, field.data_type())?))
        };
        fields.iter().zip(columns).map(column).collect()
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (row, slot) in slots.iter().enumerate() {
            if columns.iter().all(|column| column.is_null(row)) {
                continue;
            }
            let state: Vec<ArrayRef> = columns.iter().map(|column| column.slice(row, 1)).collect();
            let mut kept = Kept::new(&self.function)?;
            kept.running(&self.function)?.merge_batch(&state).map_err(engine_error)?;
            let measured = kept.measure();
            self.resize(measured);
            self.groups[*slot as usize] = Some(kept);
        }
        Ok(())
    }

    fn clear(&mut self, slot: u32, _key: Option<&[u8]>) {
        if let Some(kept) = self.groups[slot as usize].take() {
            self.resize((kept.n_bytes, 0));
        }
    }

    fn bytes(&self) -> u64 {
        self.n_bytes + (self.groups.len() * size_of::<Option<Kept>>()) as u64
    }
}
