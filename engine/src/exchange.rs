//! Which subtask of the receiving node gets which row.
//!
//! Rows go to the owner of their key, see [`KeyGroups`]. The state of a router is scratch space, bounded by the largest
//! batch.

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use headwater_core::{Batch, KeyGroups, Result};
pub use headwater_core::{KEY_GROUPS, key_group, subtask_of};

/// Sends each row to the owner of its key.
pub(crate) struct HashRouter {
    groups: KeyGroups,
    has_key: bool,
    /// The row numbers for each receiving subtask.
    shares: Vec<Vec<u32>>,
}

impl HashRouter {
    /// Makes the router of one edge by the schema of its rows and the columns of the key.
    pub(crate) fn new(schema: &SchemaRef, columns: &[usize], parallelism: usize) -> Result<Self> {
        let groups = KeyGroups::new(schema, columns)?;
        Ok(Self { groups, has_key: !columns.is_empty(), shares: vec![Vec::new(); parallelism] })
    }

    /// Splits a batch; the parts come in the order of the subtasks, and empty ones are left out. Within a part rows
    /// keep their order.
    pub(crate) fn split(&mut self, batch: Batch) -> Result<Vec<(usize, Batch)>> {
        let parallelism = self.shares.len();
        if parallelism == 1 || !self.has_key {
            return Ok(vec![(0, batch)]);
        }
        self.shares.iter_mut().for_each(Vec::clear);
        for (row, group) in (0_u32..).zip(self.groups.of(&batch.rows)?) {
            self.shares[subtask_of(group, parallelism)].push(row);
        }
        if let Some(only) = self.shares.iter().position(|share| share.len() == batch.n_rows()) {
            return Ok(vec![(only, batch)]);
        }
        let filled = self.shares.iter().enumerate().filter(|(_, share)| !share.is_empty());
        filled.map(|(subtask, share)| Ok((subtask, batch.take(&UInt32Array::from(share.clone()))?))).collect()
    }
}

/// Cuts a batch into pieces of at most `rows_max` rows without copying.
pub(crate) fn slices(batch: Batch, rows_max: usize) -> impl Iterator<Item = Batch> {
    let n_rows = batch.n_rows();
    (0..n_rows).step_by(rows_max.max(1)).map(move |from| batch.slice(from, rows_max.max(1).min(n_rows - from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::{numbers, values};
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    fn keyed(rows: &[(Option<String>, i64, i64)]) -> Batch {
        let fields = vec![Field::new("k", DataType::Utf8, true), Field::new("n", DataType::Int64, false)];
        let keys: StringArray = rows.iter().map(|(key, _, _)| key.as_deref()).collect();
        let numbers = Int64Array::from_iter_values(rows.iter().map(|(_, n, _)| *n));
        let rows_only = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(keys), Arc::new(numbers)]);
        Batch::changing(rows_only.unwrap(), Int64Array::from_iter_values(rows.iter().map(|(_, _, d)| *d))).unwrap()
    }

    fn rows_of(batch: &Batch) -> Vec<(Option<String>, i64, i64)> {
        let keys = batch.rows.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        let numbers = batch.rows.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
        let row = |r: usize| {
            let key = arrow::array::Array::is_valid(keys, r).then(|| keys.value(r).to_owned());
            (key, numbers.value(r), batch.diff(r))
        };
        (0..batch.n_rows()).map(row).collect()
    }

    proptest! {
        #[test]
        fn every_row_goes_to_exactly_one_subtask_and_equal_keys_to_the_same(
            rows in prop::collection::vec(
                (prop::option::of("[a-d]{0,3}"), any::<i64>(), prop_oneof![Just(1_i64), Just(-1)]), 0..80),
            parallelism in 1_usize..=KEY_GROUPS,
        ) {
            let batch = keyed(&rows);
            let mut router = HashRouter::new(&batch.schema(), &[0], parallelism).unwrap();
            let parts = router.split(batch).unwrap();
            let mut owner = HashMap::new();
            let mut back = Vec::new();
            for (subtask, part) in parts {
                prop_assert!(subtask < parallelism);
                for row in rows_of(&part) {
                    prop_assert_eq!(*owner.entry(row.0.clone()).or_insert(subtask), subtask);
                    back.push(row);
                }
            }
            let mut expected = rows;
            expected.sort();
            back.sort();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn slices_join_to_the_whole(n_rows in 0_i64..50, rows_max in 1_usize..20) {
            let parts: Vec<Batch> = slices(Batch::append_only(numbers(0..n_rows)), rows_max).collect();
            prop_assert!(parts.iter().all(|part| (1..=rows_max).contains(&part.n_rows())));
            let back: Vec<i64> = parts.iter().flat_map(|part| values(&part.rows)).collect();
            prop_assert_eq!(back, (0..n_rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_column_outside_the_rows_is_refused() {
        assert!(HashRouter::new(&numbers(0..1).schema(), &[7], 2).is_err());
    }
}
