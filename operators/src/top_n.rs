//! The first rows of each partition: `ROW_NUMBER() OVER (…) <= n`, `ORDER BY … LIMIT n OFFSET m`, `DISTINCT ON`.
//!
//! It never keeps a row that cannot come up again: over insertions only the rows up to the last wanted one are kept,
//! over changes all that are there. Rows that are equal in the order are ordered by their other columns, so the answer
//! does not depend on the order of arrival. A barrier costs the number of wanted rows of each touched partition.

use crate::changed_slots::ChangedRows;
use crate::expression::{check_columns, check_relabel, duration_words};
use crate::partitioned::{Changed, Logic, OrderBy, PartitionLayout, PartitionOperator};
use crate::state_table::{Named, as_numbers, numbers};
use arrow::array::{ArrayRef, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_core::{Operator, OperatorSpec, Result, StateSize, TaskContext};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which rows are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopNConfig {
    /// The columns that make a partition; none for one partition of all rows.
    pub partition_by: Vec<usize>,
    /// The order within a partition.
    pub order_by: Vec<OrderBy>,
    /// How many rows are left out at the beginning.
    pub skip: u64,
    /// How many rows follow; `None` for all.
    pub fetch: Option<u64>,
    /// The name of a column with the place of each row, counted from 1 with the skipped ones; `None` for no such column.
    pub rank: Option<String>,
    /// Whether the input retracts rows.
    pub input_changing: bool,
    /// The partition column that is a window over event time, when each partition is to be shown once, at its end.
    pub closing: Option<usize>,
    /// After how many nanoseconds without a row a partition is forgotten; what was shown of it stays.
    pub ttl_ns: Option<i64>,
}

/// Keeps the first rows of each partition.
#[derive(Debug, Clone)]
pub struct TopN {
    config: TopNConfig,
    input: SchemaRef,
    schema: SchemaRef,
}

impl TopN {
    /// Makes it for rows of `input`.
    ///
    /// # Errors
    /// `Internal` when a column is not there.
    pub fn new(config: TopNConfig, input: SchemaRef) -> Result<Self> {
        let columns: Vec<usize> =
            config.partition_by.iter().copied().chain(config.order_by.iter().map(|by| by.column)).collect();
        if !columns.is_empty() {
            check_columns(&input, &columns)?;
        }
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        fields.extend(config.rank.iter().map(|name| Arc::new(Field::new(name, DataType::UInt64, false))));
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { config, input, schema })
    }

    /// Gives the output columns other names, nullability and metadata.
    ///
    /// # Errors
    /// `Internal` when the types differ.
    pub fn with_schema(self, schema: SchemaRef) -> Result<Self> {
        check_relabel(&self.schema, &schema)?;
        Ok(Self { schema, ..self })
    }

    /// Returns whether the output retracts rows.
    #[must_use]
    pub fn output_changing(&self) -> bool {
        self.config.closing.is_none()
    }
}

impl OperatorSpec for TopN {
    fn describe(&self) -> String {
        let TopNConfig { partition_by, order_by, skip, fetch, rank, closing, .. } = &self.config;
        let name = |column: &usize| self.input.field(*column).name().clone();
        let mut text = "top".to_owned();
        match fetch {
            Some(fetch) => text.push_str(&format!(" {fetch}")),
            None => text.push_str(" all"),
        }
        if *skip > 0 {
            text.push_str(&format!(" after {skip}"));
        }
        if !partition_by.is_empty() {
            text.push_str(&format!(" of each [{}]", partition_by.iter().map(name).collect::<Vec<_>>().join(", ")));
        }
        if !order_by.is_empty() {
            let order: Vec<String> = order_by.iter().map(|by| by.describe(&self.input)).collect();
            text.push_str(&format!(" by [{}]", order.join(", ")));
        }
        if let Some(rank) = rank {
            text.push_str(&format!(", place AS {rank}"));
        }
        if let Some(window) = closing {
            text.push_str(&format!(", when window {} closes", name(window)));
        }
        if let Some(ttl_ns) = self.config.ttl_ns {
            text.push_str(&format!(", forgotten after {}", duration_words(ttl_ns)));
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        let TopNConfig { skip, fetch, input_changing, closing, ttl_ns, .. } = &self.config;
        if closing.is_some() {
            return Some("the wanted rows of open windows; freed when the window closes".to_owned());
        }
        let freed = ttl_ns.map(|ttl_ns| format!("freed {} after the last of its partition", duration_words(ttl_ns)));
        Some(match (input_changing, fetch) {
            (false, Some(fetch)) => {
                let n_rows = fetch.saturating_add(*skip);
                format!(
                    "at most {n_rows} rows of each partition; {}",
                    freed.unwrap_or_else(|| "never freed".to_owned())
                )
            }
            _ => format!("every row; {}", freed.unwrap_or_else(|| "freed when it is retracted".to_owned())),
        })
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let TopNConfig { partition_by, order_by, skip, fetch, rank, input_changing, closing, ttl_ns } = &self.config;
        let keeps = (!input_changing).then(|| fetch.map(|fetch| fetch.saturating_add(*skip))).flatten();
        let logic = First { skip: *skip, fetch: *fetch, keeps, has_rank: rank.is_some() };
        let by = (partition_by.as_slice(), order_by.as_slice());
        let operator = PartitionOperator::new(logic, context, &self.input, by, &self.schema, *closing)?;
        Ok(Box::new(operator.forgetting(*ttl_ns)))
    }
}

struct First {
    skip: u64,
    fetch: Option<u64>,
    /// How many rows of a partition can matter; `None` for all.
    keeps: Option<u64>,
    has_rank: bool,
}

/// The rows of a partition in order, and those that are shown.
#[derive(Default)]
struct Partition {
    rows: BTreeMap<Box<[u8]>, i64>,
    n: i64,
    bytes: u64,
    shown: Vec<Box<[u8]>>,
}

impl First {
    /// Forgets rows behind the last one that can matter.
    fn trim(&self, partition: &mut Partition, noted: &mut ChangedRows) {
        let Some(keeps) = self.keeps.and_then(|n| i64::try_from(n).ok()) else { return };
        while partition.n > keeps {
            let Some(mut last) = partition.rows.last_entry() else { return };
            let surplus = partition.n - keeps;
            if *last.get() > surplus {
                *last.get_mut() -= surplus;
                partition.n -= surplus;
                noted.note(last.key(), true);
            } else {
                let (row, n) = last.remove_entry();
                partition.n -= n;
                partition.bytes -= row.len() as u64;
                noted.gone(&row);
            }
        }
    }

    /// The rows that are to be shown, in order.
    fn wanted(&self, partition: &Partition) -> Vec<Box<[u8]>> {
        let as_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let all = partition.rows.iter();
        let copies = all.flat_map(|(row, n)| std::iter::repeat_n(row, usize::try_from(*n).unwrap_or(0)));
        let wanted = copies.skip(as_usize(self.skip)).take(self.fetch.map_or(usize::MAX, as_usize));
        wanted.cloned().collect()
    }
}

impl Logic for First {
    type Partition = Partition;
    type Value = u64;
    /// How often the row is there. What is shown follows from that: between two barriers it is what is wanted.
    type Stored = i64;

    fn change(&mut self, partition: &mut Partition, row: &[u8], diff: i64, noted: &mut ChangedRows) {
        partition.n += diff;
        match partition.rows.get_mut(row) {
            Some(n) if *n + diff == 0 => {
                partition.rows.remove(row);
                partition.bytes -= row.len() as u64;
                noted.gone(row);
            }
            Some(n) => {
                *n += diff;
                noted.note(row, true);
            }
            None => {
                noted.note(row, false);
                partition.rows.insert(row.into(), diff);
                partition.bytes += row.len() as u64;
            }
        }
        self.trim(partition, noted);
    }

    fn is_empty(&self, partition: &Partition) -> bool {
        partition.rows.is_empty() && partition.shown.is_empty()
    }

    fn show(
        &mut self,
        partition: &mut Partition,
        _: &PartitionLayout,
        changed: &mut Changed<u64>,
        _: &mut ChangedRows,
    ) -> Result<()> {
        let wanted = self.wanted(partition);
        let shown = std::mem::replace(&mut partition.shown, wanted.clone());
        // Without the places, what only moves has not changed: the operator folds the two changes into none.
        let place = |index: usize| if self.has_rank { self.skip + index as u64 + 1 } else { 0 };
        let n_rows = shown.len().max(wanted.len());
        let (mut old, mut new) = (shown.into_iter(), wanted.into_iter());
        for index in 0..n_rows {
            let (gone, come) = (old.next(), new.next());
            if gone == come {
                continue;
            }
            if let Some(row) = gone {
                changed.push(row, place(index), -1);
            }
            if let Some(row) = come {
                changed.push(row, place(index), 1);
            }
        }
        Ok(())
    }

    fn drop_overdrawn(&self, partition: &mut Partition, noted: &mut ChangedRows) {
        let (mut freed, mut owed) = (0, 0);
        partition.rows.retain(|row, n| {
            if *n < 0 {
                (freed, owed) = (freed + row.len() as u64, owed + *n);
                noted.gone(row);
            }
            *n >= 0
        });
        (partition.bytes, partition.n) = (partition.bytes - freed, partition.n - owed);
    }

    fn rows<'a>(&self, partition: &'a Partition) -> Vec<&'a [u8]> {
        partition.rows.keys().map(AsRef::as_ref).collect()
    }

    fn stored(&self, partition: &Partition, row: &[u8]) -> Vec<i64> {
        partition.rows.get(row).copied().into_iter().collect()
    }

    fn stored_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn store(&self, stored: Vec<i64>) -> Result<Vec<Named>> {
        Ok(vec![("n".to_owned(), numbers(stored))])
    }

    fn restore(&self, rows: &[(u32, &[u8])], partitions: &mut [Partition], stored: &[ArrayRef]) -> Result<()> {
        for ((slot, row), n) in rows.iter().zip(as_numbers(&stored[0])?) {
            let partition = &mut partitions[*slot as usize];
            partition.rows.insert((*row).into(), n);
            partition.n += n;
            partition.bytes += row.len() as u64;
        }
        Ok(())
    }

    fn restore_end(&self, partition: &mut Partition, is_shown: bool) {
        if is_shown {
            partition.shown = self.wanted(partition);
        }
    }

    fn columns(&self, values: Vec<u64>) -> Result<Vec<ArrayRef>> {
        Ok(if self.has_rank { vec![Arc::new(UInt64Array::from(values))] } else { Vec::new() })
    }

    fn size(&self, partition: &Partition) -> StateSize {
        StateSize { rows: partition.rows.len() as u64, bytes: partition.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, schema};
    use arrow::compute::SortOptions;
    use expect_test::{Expect, expect};

    /// The two largest `v` of each `k`.
    fn two_largest(rank: bool, input_changing: bool) -> (TopN, SchemaRef) {
        let input = schema("k int, v int");
        let options = SortOptions { descending: true, nulls_first: true };
        let config = TopNConfig {
            partition_by: vec![0],
            order_by: vec![OrderBy { column: 1, options }],
            fetch: Some(2),
            rank: rank.then(|| "n".to_owned()),
            input_changing,
            ..TopNConfig::default()
        };
        (TopN::new(config, input.clone()).expect("a top-n"), input)
    }

    fn check(rank: bool, script: &str, expected: Expect) {
        let (spec, input) = two_largest(rank, true);
        expected.assert_eq(&run(&spec, &[input], script));
    }

    #[test]
    fn describes_itself() {
        expect!["top 2 of each [k] by [v DESC], place AS n"].assert_eq(&two_largest(true, true).0.describe());
    }

    #[test]
    fn a_row_that_moves_within_the_top_has_not_changed() {
        check(
            false,
            "+ 1 10\n+ 1 20\n+ 1 5\n+ 2 1\nbarrier\n+ 1 30\nbarrier\n- 1 20\nbarrier\n- 2 1\nbarrier",
            expect![[r#"
            + 1 20
            + 1 10
            + 2 1
            barrier
            - 1 10
            + 1 30
            barrier
            - 1 20
            + 1 10
            barrier
            - 2 1
            barrier
        "#]],
        );
    }

    #[test]
    fn places_are_shown_and_corrected() {
        check(
            true,
            "+ 1 10\n+ 1 10\n+ 1 5\nbarrier\n+ 1 30\nbarrier",
            expect![[r#"
            + 1 10 1
            + 1 10 2
            barrier
            - 1 10 1
            + 1 30 1
            barrier
        "#]],
        );
    }

    #[test]
    fn over_insertions_only_what_can_matter_is_kept() {
        let (spec, input) = two_largest(false, false);
        let context = crate::testing::context();
        let mut operator = spec.build(&context).expect("the operator builds");
        let mut out = headwater_core::Output::default();
        let rows: Vec<_> = (0..100).map(|v: i64| (1, vec![Some("1".into()), Some((v % 50).to_string())])).collect();
        operator.on_batch(0, crate::testing::batch(&input, &rows), &mut out).expect("a good batch");
        assert!(operator.state_size().rows <= 2, "{:?}", operator.state_size());
    }

    #[test]
    fn a_partition_that_nothing_comes_for_is_forgotten_and_takes_nothing_back() {
        use headwater_core::{Barrier, BarrierKind, Epoch, EventTime, Output};
        let (spec, input) = two_largest(false, true);
        let spec = TopN::new(TopNConfig { ttl_ns: Some(10), ..spec.config }, input.clone()).expect("a top-n");
        let mut operator = spec.build(&crate::testing::context()).expect("the operator builds");
        let mut out = Output::default();
        let mut step = |diff: Option<i64>, time: i64| {
            if let Some(diff) = diff {
                let row = (diff, vec![Some("1".to_owned()), Some("7".to_owned())]);
                operator.on_batch(0, crate::testing::batch(&input, &[row]), &mut out).expect("a good batch");
            }
            let barrier = Barrier { epoch: Epoch(1), kind: BarrierKind::Flush, time: EventTime(time) };
            operator.on_barrier(&barrier, &mut out).expect("the epoch ends");
            (out.take_messages().len(), operator.state_size().rows)
        };
        assert_eq!(step(Some(1), 100), (1, 1));
        assert_eq!(step(None, 109), (0, 1));
        assert_eq!(step(None, 110), (0, 0));
        assert_eq!(step(Some(-1), 111), (0, 0));
    }
}
