//! Window functions: `f(…) OVER (PARTITION BY … ORDER BY … frame)`.
//!
//! It never guesses which rows a change affects: a partition that was touched is computed anew by DataFusion's own
//! window expressions, and what differs from what was shown is emitted. That costs the length of the partition per
//! barrier, and is right for every function, frame and retraction. Rows that are equal in the order are ordered by
//! their other columns. Its state is every row that is there with its shown values; partitions of a window over event
//! time are shown once, when the window closes, and freed.

use crate::changed_slots::ChangedRows;
use crate::expression::{check_columns, check_relabel, duration_words, engine_error};
use crate::partitioned::{Changed, Logic, OrderBy, PartitionLayout, PartitionOperator};
use crate::row_table::{EncodedRows, RowCodec};
use crate::state_table::{Named, as_flags, as_numbers, flags, numbers, optional_rows};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_physical_expr::window::WindowExpr;
use headwater_core::{Operator, OperatorSpec, Result, StateSize, TaskContext};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a window function ranges over.
#[derive(Debug, Clone, Default)]
pub struct OverConfig {
    /// The columns that make a partition; none for one partition of all rows.
    pub partition_by: Vec<usize>,
    /// The order within a partition.
    pub order_by: Vec<OrderBy>,
    /// The functions, each with this partitioning and order.
    pub functions: Vec<Arc<dyn WindowExpr>>,
    /// The partition column that is a window over event time, when each partition is to be shown once, at its end.
    pub closing: Option<usize>,
    /// After how many nanoseconds without a row a partition is forgotten; what was shown of it stays.
    pub ttl_ns: Option<i64>,
}

/// Adds a column per window function to each row.
#[derive(Debug, Clone)]
pub struct Over {
    config: OverConfig,
    input: SchemaRef,
    schema: SchemaRef,
}

impl Over {
    /// Makes it for rows of `input`; each function has the name of its output column.
    ///
    /// # Errors
    /// `Internal` when a column is not there.
    pub fn new(config: OverConfig, input: SchemaRef) -> Result<Self> {
        let columns: Vec<usize> =
            config.partition_by.iter().copied().chain(config.order_by.iter().map(|by| by.column)).collect();
        if !columns.is_empty() {
            check_columns(&input, &columns)?;
        }
        let mut fields: Vec<_> = input.fields().iter().cloned().collect();
        for function in &config.functions {
            fields.push(function.field().map_err(engine_error)?);
        }
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

impl OperatorSpec for Over {
    fn describe(&self) -> String {
        let name = |column: &usize| self.input.field(*column).name().clone();
        let functions: Vec<&str> = self.config.functions.iter().map(|function| function.name()).collect();
        let partition: Vec<String> = self.config.partition_by.iter().map(name).collect();
        let order: Vec<String> = self.config.order_by.iter().map(|by| by.describe(&self.input)).collect();
        let mut text = format!("over [{}] partition by [{}]", functions.join(", "), partition.join(", "));
        if !order.is_empty() {
            text.push_str(&format!(" order by [{}]", order.join(", ")));
        }
        if let Some(window) = self.config.closing {
            text.push_str(&format!(", when window {} closes", name(&window)));
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
        Some(match self.config.closing {
            Some(_) => "the rows of open windows; freed when the window closes".to_owned(),
            None => match self.config.ttl_ns {
                Some(ttl_ns) => {
                    format!(
                        "every row with its shown values; freed {} after the last of its partition",
                        duration_words(ttl_ns)
                    )
                }
                None => "every row with its shown values; freed when it is retracted".to_owned(),
            },
        })
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let OverConfig { partition_by, order_by, functions, closing, ttl_ns } = &self.config;
        let n_columns = self.input.fields().len();
        let types = self.schema.fields()[n_columns..].iter().map(|field| field.data_type().clone());
        let types: Vec<DataType> = types.collect();
        let logic = Functions { functions: functions.clone(), values: RowCodec::new(types.iter().cloned())?, types };
        let by = (partition_by.as_slice(), order_by.as_slice());
        let operator = PartitionOperator::new(logic, context, &self.input, by, &self.schema, *closing)?;
        Ok(Box::new(operator.forgetting(*ttl_ns)))
    }
}

struct Functions {
    functions: Vec<Arc<dyn WindowExpr>>,
    values: RowCodec,
    types: Vec<DataType>,
}

/// A row that is there, or was when it was last shown.
#[derive(Default)]
struct Entry {
    n: i64,
    /// The values that were shown, one for each copy of the row.
    shown: Vec<Box<[u8]>>,
}

/// The rows of a partition in order.
#[derive(Default)]
struct Partition {
    rows: BTreeMap<Box<[u8]>, Entry>,
    bytes: u64,
}

impl Functions {
    /// Computes the values of all rows of a partition, in order.
    fn compute(&self, partition: &Partition, layout: &PartitionLayout) -> Result<EncodedRows> {
        let there = || {
            partition
                .rows
                .iter()
                .flat_map(|(row, entry)| std::iter::repeat_n(row.as_ref(), usize::try_from(entry.n).unwrap_or(0)))
        };
        let n_rows = there().count();
        let batch = layout.batch(there(), n_rows)?;
        let mut columns = Vec::with_capacity(self.functions.len());
        for (function, data_type) in self.functions.iter().zip(&self.types) {
            if n_rows == 0 {
                columns.push(arrow::array::new_empty_array(data_type));
                continue;
            }
            columns.push(function.evaluate(&batch).map_err(engine_error)?);
        }
        self.values.encode(&columns)
    }
}

impl Logic for Functions {
    type Partition = Partition;
    type Value = Box<[u8]>;
    /// How often the row is there, and values that are shown.
    type Stored = (i64, Option<Box<[u8]>>);

    fn change(&mut self, partition: &mut Partition, row: &[u8], diff: i64, noted: &mut ChangedRows) {
        if let Some(entry) = partition.rows.get_mut(row) {
            entry.n += diff;
            if entry.n == 0 && entry.shown.is_empty() {
                partition.rows.remove(row);
                partition.bytes -= row.len() as u64;
                noted.gone(row);
            } else {
                noted.note(row, true);
            }
            return;
        }
        noted.note(row, false);
        partition.bytes += row.len() as u64;
        partition.rows.insert(row.into(), Entry { n: diff, shown: Vec::new() });
    }

    fn is_empty(&self, partition: &Partition) -> bool {
        partition.rows.is_empty()
    }

    fn show(
        &mut self,
        partition: &mut Partition,
        layout: &PartitionLayout,
        changed: &mut Changed<Box<[u8]>>,
        noted: &mut ChangedRows,
    ) -> Result<()> {
        let values = self.compute(partition, layout)?;
        let mut next = 0;
        for (row, entry) in &mut partition.rows {
            let n_changes = changed.len();
            let n = usize::try_from(entry.n).unwrap_or(0);
            for copy in 0..n {
                let value = values.get(next + copy);
                match entry.shown.get_mut(copy) {
                    Some(shown) if **shown == *value => {}
                    Some(shown) => {
                        let old = std::mem::replace(shown, value.into());
                        changed.push(row.clone(), old, -1);
                        changed.push(row.clone(), value.into(), 1);
                    }
                    None => {
                        entry.shown.push(value.into());
                        changed.push(row.clone(), value.into(), 1);
                    }
                }
            }
            for gone in entry.shown.drain(n..) {
                changed.push(row.clone(), gone, -1);
            }
            if changed.len() > n_changes {
                noted.note(row, true);
            }
            next += n;
        }
        let mut freed = 0;
        partition.rows.retain(|row, entry| {
            let stays = entry.n != 0 || !entry.shown.is_empty();
            if !stays {
                freed += row.len() as u64;
                noted.gone(row);
            }
            stays
        });
        partition.bytes -= freed;
        Ok(())
    }

    fn drop_overdrawn(&self, partition: &mut Partition, noted: &mut ChangedRows) {
        let mut freed = 0;
        partition.rows.retain(|row, entry| {
            if entry.n < 0 {
                freed += row.len() as u64;
                noted.gone(row);
            }
            entry.n >= 0
        });
        partition.bytes -= freed;
    }

    fn rows<'a>(&self, partition: &'a Partition) -> Vec<&'a [u8]> {
        partition.rows.keys().map(AsRef::as_ref).collect()
    }

    fn stored(&self, partition: &Partition, row: &[u8]) -> Vec<Self::Stored> {
        match partition.rows.get(row) {
            Some(Entry { n, shown }) if shown.is_empty() => vec![(*n, None)],
            Some(Entry { n, shown }) => shown.iter().map(|values| (*n, Some(values.clone()))).collect(),
            None => Vec::new(),
        }
    }

    fn stored_types(&self) -> Vec<DataType> {
        [DataType::Int64, DataType::Boolean].iter().chain(&self.types).cloned().collect()
    }

    fn store(&self, stored: Vec<Self::Stored>) -> Result<Vec<Named>> {
        let shown = optional_rows(&self.values, stored.iter().map(|(_, shown)| shown.as_deref()))?;
        let names = self.functions.iter().map(|function| format!("shown {}", function.name()));
        let mut columns = vec![
            ("n".to_owned(), numbers(stored.iter().map(|(n, _)| *n))),
            ("is_shown".to_owned(), flags(stored.iter().map(|(_, shown)| shown.is_some()))),
        ];
        columns.extend(names.zip(shown));
        Ok(columns)
    }

    fn restore(&self, rows: &[(u32, &[u8])], partitions: &mut [Partition], stored: &[ArrayRef]) -> Result<()> {
        let (n, is_shown) = (as_numbers(&stored[0])?, as_flags(&stored[1])?);
        let values = self.values.encode(&stored[2..])?;
        for (index, (slot, row)) in rows.iter().enumerate() {
            let partition = &mut partitions[*slot as usize];
            if !partition.rows.contains_key(*row) {
                partition.bytes += row.len() as u64;
            }
            let entry = partition.rows.entry((*row).into()).or_default();
            entry.n = n[index];
            entry.shown.extend(is_shown[index].then(|| values.get(index).into()));
        }
        Ok(())
    }

    fn columns(&self, values: Vec<Box<[u8]>>) -> Result<Vec<ArrayRef>> {
        self.values.decode(values.iter().map(AsRef::as_ref))
    }

    fn size(&self, partition: &Partition) -> StateSize {
        StateSize { rows: partition.rows.len() as u64, bytes: partition.bytes }
    }
}
