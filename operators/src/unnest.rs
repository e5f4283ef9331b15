//! Turns lists into rows and structs into columns.
//!
//! It never reorders rows; it has no state. What bounds an output batch is the number of list elements in an input batch.

use crate::expression::check_columns;
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, LargeListArray, ListArray, RecordBatch,
    RecordBatchOptions, UInt32Array, new_empty_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{Batch, Error, Operator, OperatorSpec, Output, Result, TaskContext};

/// Which columns are unnested, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnnestColumns {
    /// The list columns, by index. Several are laid side by side; a shorter one is filled with nulls.
    pub lists: Vec<usize>,
    /// The struct columns, by index: each is replaced by its fields.
    pub structs: Vec<usize>,
    /// Whether a row whose lists are all null is kept with nulls. A row whose longest list is empty goes.
    pub preserve_nulls: bool,
    /// Whether a row whose lists are all null or empty is kept with nulls, as an outer join keeps it.
    pub preserve_empty: bool,
}

/// Replaces each row by one row per list element, and struct columns by their fields.
#[derive(Debug, Clone)]
pub struct Unnest {
    columns: UnnestColumns,
    names: Vec<String>,
    schema: SchemaRef,
}

impl Unnest {
    /// Makes it for rows of `input`. `output` has the columns of `input` in order, with each list replaced by its
    /// element and each struct by its fields.
    ///
    /// # Errors
    /// `Internal` when a column is not there or has another type.
    pub fn new(columns: UnnestColumns, input: &SchemaRef, output: SchemaRef) -> Result<Self> {
        let all: Vec<usize> = columns.lists.iter().chain(&columns.structs).copied().collect();
        check_columns(input, &all)?;
        for index in &columns.lists {
            let data_type = input.field(*index).data_type();
            if !matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)) {
                return Err(Error::internal(format!("column {index} of type {data_type} is not a list")));
            }
        }
        for index in &columns.structs {
            let data_type = input.field(*index).data_type();
            if !matches!(data_type, DataType::Struct(_)) {
                return Err(Error::internal(format!("column {index} of type {data_type} is not a struct")));
            }
        }
        let names = all.iter().map(|index| input.field(*index).name().clone()).collect();
        Ok(Self { columns, names, schema: output })
    }
}

impl OperatorSpec for Unnest {
    fn describe(&self) -> String {
        let nulls = match (self.columns.preserve_nulls, self.columns.preserve_empty) {
            (_, true) => ", rows without elements kept",
            (true, false) => ", nulls kept",
            (false, false) => "",
        };
        format!("unnest [{}]{nulls}", self.names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(UnnestOperator { columns: self.columns.clone(), schema: self.schema.clone() }))
    }
}

struct UnnestOperator {
    columns: UnnestColumns,
    schema: SchemaRef,
}

impl Operator for UnnestOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let (parents, mut arrays) = if self.columns.lists.is_empty() {
            (batch.clone(), batch.rows.columns().to_vec())
        } else {
            self.lists_to_rows(&batch)?
        };
        // From the last to the first, so that the fields of one do not move the others.
        let mut structs = self.columns.structs.clone();
        structs.sort_unstable_by(|a, b| b.cmp(a));
        for index in &structs {
            let fields = struct_fields(&arrays[*index])?;
            arrays.splice(*index..=*index, fields);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(parents.n_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        out.emit(parents.with_rows(rows));
        Ok(())
    }
}

impl UnnestOperator {
    /// Repeats each row as often as its longest list is long, and returns the columns with elements in place of lists.
    fn lists_to_rows(&self, batch: &Batch) -> Result<(Batch, Vec<ArrayRef>)> {
        let lists: Vec<Lists> =
            self.columns.lists.iter().map(|index| Lists::new(batch.rows.column(*index))).collect::<Result<_>>()?;
        let mut parents = Vec::new();
        let mut places: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
        for row in 0..batch.n_rows() {
            let null_length = usize::from(self.columns.preserve_nulls);
            let length = lists.iter().map(|list| list.length(row).unwrap_or(null_length)).max().unwrap_or(0);
            let length = length.max(usize::from(self.columns.preserve_empty));
            parents.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), length));
            for (list, places) in lists.iter().zip(&mut places) {
                let has = list.length(row).unwrap_or(0);
                places.extend((0..length).map(|at| (at < has).then(|| list.first[row] + at as u32)));
            }
        }
        let parents = batch.take(&UInt32Array::from(parents))?;
        let mut arrays = parents.rows.columns().to_vec();
        for ((index, list), places) in self.columns.lists.iter().zip(&lists).zip(places) {
            arrays[*index] = compute::take(&list.elements, &UInt32Array::from(places), None)?;
        }
        Ok((parents, arrays))
    }
}

/// A list column of any kind, as places in one array of elements.
struct Lists {
    elements: ArrayRef,
    first: Vec<u32>,
    lengths: Int64Array,
}

impl Lists {
    fn new(array: &ArrayRef) -> Result<Self> {
        let too_long = || Error::internal("a batch with more than four thousand million list elements");
        let place = |offset: usize| u32::try_from(offset).map_err(|_| too_long());
        let n_rows = array.len();
        let (elements, first): (ArrayRef, Result<Vec<u32>>) =
            if let Some(list) = array.as_any().downcast_ref::<ListArray>() {
                (list.values().clone(), list.value_offsets()[..n_rows].iter().map(|o| place(*o as usize)).collect())
            } else if let Some(list) = array.as_any().downcast_ref::<LargeListArray>() {
                (list.values().clone(), list.value_offsets()[..n_rows].iter().map(|o| place(*o as usize)).collect())
            } else if let Some(list) = array.as_any().downcast_ref::<FixedSizeListArray>() {
                (list.values().clone(), (0..n_rows).map(|row| place(list.value_offset(row) as usize)).collect())
            } else {
                (new_empty_array(&DataType::Null), Err(Error::internal("an unnested column is not a list")))
            };
        let lengths = compute::cast(&compute::kernels::length::length(array)?, &DataType::Int64)?;
        Ok(Self { elements, first: first?, lengths: lengths.as_primitive().clone() })
    }

    fn length(&self, row: usize) -> Option<usize> {
        self.lengths.is_valid(row).then(|| self.lengths.value(row) as usize)
    }
}

fn struct_fields(array: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let array = array.as_struct_opt().ok_or_else(|| Error::internal("an unnested column is not a struct"))?;
    let (_, fields, nulls) = array.clone().into_parts();
    let Some(nulls) = nulls else { return Ok(fields) };
    let is_null = arrow::array::BooleanArray::new(!nulls.inner(), None);
    Ok(fields.iter().map(|field| compute::nullif(field, &is_null)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, print};
    use arrow::array::{Int64Builder, ListBuilder, StructArray};
    use arrow::datatypes::{Field, Fields, Schema};
    use expect_test::expect;
    use headwater_core::Message;
    use std::sync::Arc;

    fn list(rows: &[Option<&[i64]>]) -> ArrayRef {
        let mut builder = ListBuilder::new(Int64Builder::new());
        for row in rows {
            builder.append_option(row.map(|row| row.iter().copied().map(Some)));
        }
        Arc::new(builder.finish())
    }

    fn check(columns: Vec<(&str, ArrayRef)>, unnest: UnnestColumns, output: &[(&str, DataType)]) -> String {
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("rows");
        let output = output.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        let output = Arc::new(Schema::new(output.collect::<Vec<_>>()));
        let spec = Unnest::new(unnest, &rows.schema(), output).expect("an unnest");
        let diffs = (1..=rows.num_rows() as i64).map(|n| if n % 2 == 0 { -1 } else { 1 }).collect::<Vec<_>>();
        let batch = Batch::changing(rows, diffs.into()).expect("a diff per row");
        let mut out = Output::default();
        spec.build(&context()).expect("it builds").on_batch(0, batch, &mut out).expect("a good batch");
        let print_message = |message: &Message| match message {
            Message::Batch(batch) => print(batch),
            other => panic!("unexpected {other:?}"),
        };
        out.take_messages().iter().map(print_message).collect::<String>()
    }

    fn two_lists(preserve_nulls: bool) -> String {
        let columns = vec![
            ("a", list(&[Some(&[1, 2, 3]), None, Some(&[]), Some(&[4])])),
            ("id", crate::testing::ints([10, 20, 30, 40])),
            ("b", list(&[Some(&[7]), None, None, Some(&[8, 9])])),
        ];
        let unnest = UnnestColumns { lists: vec![0, 2], structs: vec![], preserve_nulls, preserve_empty: false };
        check(columns, unnest, &[("a", DataType::Int64), ("id", DataType::Int64), ("b", DataType::Int64)])
    }

    #[test]
    fn lists_are_laid_side_by_side_and_rows_without_elements_go() {
        expect![[r#"
            + 1 10 7
            + 2 10 _
            + 3 10 _
            - 4 40 8
            - _ 40 9
        "#]]
        .assert_eq(&two_lists(false));
    }

    #[test]
    fn nulls_are_kept_on_request() {
        expect![[r#"
            + 1 10 7
            + 2 10 _
            + 3 10 _
            - _ 20 _
            + _ 30 _
            - 4 40 8
            - _ 40 9
        "#]]
        .assert_eq(&two_lists(true));
    }

    #[test]
    fn a_struct_becomes_its_fields_and_a_null_one_nulls() {
        let fields = Fields::from(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Int64, true)]);
        let arrays = vec![crate::testing::ints([1, 2]), crate::testing::ints([3, 4])];
        let structs = StructArray::new(fields, arrays, Some(vec![true, false].into()));
        let columns: Vec<(&str, ArrayRef)> = vec![("s", Arc::new(structs)), ("id", crate::testing::ints([10, 20]))];
        let unnest = UnnestColumns { lists: vec![], structs: vec![0], ..Default::default() };
        let output =
            check(columns, unnest, &[("s.x", DataType::Int64), ("s.y", DataType::Int64), ("id", DataType::Int64)]);
        expect![[r#"
            + 1 3 10
            - _ _ 20
        "#]]
        .assert_eq(&output);
    }
}
