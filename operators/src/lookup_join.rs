//! Joins each row with the rows that a store has for its key at that moment.
//!
//! It asks the store once for all different keys of a request and never for a key with a null, which equals nothing.
//! What the optimizer moved to the side of the store (conditions, computed columns) is done to the rows that were found.
//! It keeps nothing between two requests: a cache is the business of the store's side, and the answers to rows that may
//! be taken back are kept by the engine.

use crate::expression::{engine_error, evaluate, sql, sql_as};
use crate::row_table::RowTable;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Answer, AsyncOperator, AsyncOperatorSpec, AsyncSettings, Error, Lookup, LookupColumns, LookupSpec, Reason, Result,
    TaskContext,
};
use std::sync::Arc;

/// Which rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// Each row with each row that was found for it.
    Inner,
    /// The same, and a row without any, with nulls.
    Left,
    /// Rows for which something was found.
    Semi,
    /// Rows for which nothing was found.
    Anti,
}

/// What is done to the rows that were found before they are joined.
#[derive(Debug, Clone)]
pub enum FoundStep {
    /// Keeps those for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Replaces their columns.
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// What a lookup join needs to know.
#[derive(Debug, Clone)]
pub struct LookupJoinConfig {
    /// Which rows come out.
    pub kind: LookupKind,
    /// The table that is looked up.
    pub lookup: Arc<dyn LookupSpec>,
    /// The columns of the table that are compared with the keys, and those that are returned.
    pub columns: LookupColumns,
    /// The value that each of the key columns is compared with, over the rows that come in and of the column's type.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// What is done to the rows that were found.
    pub steps: Vec<FoundStep>,
    /// A further condition over a row and a row that was found for it.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of a row followed by those that were found for it: what `filter` is about.
    pub both: SchemaRef,
    /// The columns that come out: those of `both`, or for `Semi` and `Anti` those of a row.
    pub schema: SchemaRef,
    /// How the engine is to ask.
    pub settings: AsyncSettings,
}

/// A join with a table that is asked by key.
#[derive(Debug, Clone)]
pub struct LookupJoin(Arc<LookupJoinConfig>);

impl LookupJoin {
    /// Makes it.
    ///
    /// # Errors
    /// `Internal` when keys and columns do not fit each other.
    pub fn new(config: LookupJoinConfig) -> Result<Self> {
        if config.keys.is_empty() || config.keys.len() != config.columns.key.len() {
            return Err(Error::internal(format!("{} keys for {:?}", config.keys.len(), config.columns)));
        }
        Ok(Self(Arc::new(config)))
    }
}

#[async_trait]
impl AsyncOperatorSpec for LookupJoin {
    fn describe(&self) -> String {
        let config = &self.0;
        let table = config.lookup.schema();
        let pairs = config.columns.key.iter().zip(&config.keys);
        let on: Vec<String> = pairs.map(|(at, key)| format!("{} = {}", table.field(*at).name(), sql(key))).collect();
        let kind = match config.kind {
            LookupKind::Inner => "inner",
            LookupKind::Left => "left",
            LookupKind::Semi => "semi",
            LookupKind::Anti => "anti",
        };
        let mut text = format!("{kind} lookup in {} on {}", config.lookup.describe(), on.join(" and "));
        for step in &config.steps {
            match step {
                FoundStep::Filter(predicate) => text.push_str(&format!(", where {}", sql(predicate))),
                FoundStep::Project(exprs, schema) => {
                    let shown = exprs.iter().zip(schema.fields()).map(|(expr, field)| sql_as(expr, field.name()));
                    text.push_str(&format!(", project [{}]", shown.collect::<Vec<_>>().join(", ")));
                }
            }
        }
        if let Some(filter) = &config.filter {
            text.push_str(&format!(", filter {}", sql(filter)));
        }
        if !config.settings.ordered {
            text.push_str(", unordered");
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    fn settings(&self) -> AsyncSettings {
        self.0.settings.clone()
    }

    fn reason(&self) -> Reason {
        Reason::FailedLookup
    }

    async fn open(&self, context: &TaskContext) -> Result<Arc<dyn AsyncOperator>> {
        let lookup = self.0.lookup.open(&self.0.columns, context).await?;
        let table = self.0.lookup.schema();
        let key_schema = Arc::new(table.project(&self.0.columns.key)?);
        Ok(Arc::new(LookupJoinOperator { config: self.0.clone(), lookup, key_schema }))
    }
}

struct LookupJoinOperator {
    config: Arc<LookupJoinConfig>,
    lookup: Arc<dyn Lookup>,
    key_schema: SchemaRef,
}

/// Rows that were found, each with the number of its key.
struct Rows {
    rows: RecordBatch,
    of: Vec<u32>,
}

#[async_trait]
impl AsyncOperator for LookupJoinOperator {
    async fn answer(&self, rows: RecordBatch) -> Result<Answer> {
        let (keys, key_of) = self.keys(&rows)?;
        if keys.num_rows() == 0 {
            let nothing =
                RecordBatch::new_empty(Arc::new(self.config.lookup.schema().project(&self.config.columns.wanted)?));
            return self.join(&rows, &key_of, Rows { rows: nothing, of: Vec::new() }, &[]);
        }
        let found = self.lookup.find(&keys).await?;
        if found.of.len() != found.rows.num_rows() || !found.of.is_sorted() {
            return Err(Error::internal(format!("{} does not say whose rows it found", self.config.lookup.describe())));
        }
        let mut failed: Vec<Option<Error>> = vec![None; keys.num_rows()];
        for (key, error) in found.failed {
            failed[key as usize] = Some(error);
        }
        self.join(&rows, &key_of, Rows { rows: found.rows, of: found.of }, &failed)
    }
}

impl LookupJoinOperator {
    /// Returns the different keys of the rows, and for each row the number of its key; none where a part is null.
    fn keys(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<Option<u32>>)> {
        let values: Vec<ArrayRef> =
            self.config.keys.iter().map(|key| evaluate(key, rows)).collect::<Result<_, _>>().map_err(engine_error)?;
        let mut seen = RowTable::new(values.iter().map(|array| array.data_type().clone()))?;
        let encoded = seen.encode(&values)?;
        let (mut firsts, mut key_of) = (Vec::new(), Vec::with_capacity(rows.num_rows()));
        for row in 0..rows.num_rows() {
            if values.iter().any(|array| array.is_null(row)) {
                key_of.push(None);
                continue;
            }
            let (number, is_new) = seen.intern(encoded.get(row));
            if is_new {
                firsts.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
            key_of.push(Some(number));
        }
        let firsts = UInt32Array::from(firsts);
        let columns = values.iter().map(|array| compute::take(array, &firsts, None)).collect::<Result<Vec<_>, _>>()?;
        Ok((RecordBatch::try_new(self.key_schema.clone(), columns)?, key_of))
    }

    fn join(
        &self,
        rows: &RecordBatch,
        key_of: &[Option<u32>],
        found: Rows,
        failed_keys: &[Option<Error>],
    ) -> Result<Answer> {
        let found = self.stepped(found)?;
        let mut failed = Vec::new();
        let (mut lefts, mut rights): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for (row, key) in (0_u32..).zip(key_of) {
            let Some(key) = key else { continue };
            if let Some(Some(error)) = failed_keys.get(*key as usize) {
                failed.push((row, error.clone()));
                continue;
            }
            let (from, to) = (found.of.partition_point(|of| of < key), found.of.partition_point(|of| of <= key));
            for right in from..to {
                lefts.push(row);
                rights.push(u32::try_from(right).unwrap_or(u32::MAX));
            }
        }
        if let Some(filter) = &self.config.filter {
            let pairs = self.pairs(rows, &lefts, &found.rows, rights.iter().map(|right| Some(*right)).collect())?;
            let kept = mask(filter, &pairs)?;
            let keeps = |at: usize| kept.is_valid(at) && kept.value(at);
            rights = (0..rights.len()).filter(|at| keeps(*at)).map(|at| rights[at]).collect();
            lefts = (0..lefts.len()).filter(|at| keeps(*at)).map(|at| lefts[at]).collect();
        }
        let n_rows = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
        let is_failed = |row: u32| failed.binary_search_by_key(&row, |(row, _)| *row).is_ok();
        let (of, rows) = match self.config.kind {
            LookupKind::Inner => {
                let rights = rights.into_iter().map(Some).collect();
                (lefts.clone(), self.pairs(rows, &lefts, &found.rows, rights)?)
            }
            LookupKind::Left => {
                let (lefts, rights) = with_unmatched(n_rows, &lefts, &rights, is_failed);
                (lefts.clone(), self.pairs(rows, &lefts, &found.rows, rights)?)
            }
            LookupKind::Semi | LookupKind::Anti => {
                let wants_found = self.config.kind == LookupKind::Semi;
                let is_wanted = |row: &u32| !is_failed(*row) && lefts.binary_search(row).is_ok() == wants_found;
                let of: Vec<u32> = (0..n_rows).filter(is_wanted).collect();
                let taken = compute::take_record_batch(rows, &UInt32Array::from(of.clone()))?;
                (of, taken.with_schema(self.config.schema.clone())?)
            }
        };
        Ok(Answer { rows, of, failed })
    }

    /// Does to the rows that were found what is to be done before the join.
    fn stepped(&self, found: Rows) -> Result<Rows> {
        let Rows { mut rows, mut of } = found;
        for step in &self.config.steps {
            match step {
                FoundStep::Filter(predicate) => {
                    let kept = mask(predicate, &rows)?;
                    of = (0..of.len()).filter(|at| kept.is_valid(*at) && kept.value(*at)).map(|at| of[at]).collect();
                    rows = compute::filter_record_batch(&rows, &kept)?;
                }
                FoundStep::Project(exprs, schema) => {
                    let columns = exprs.iter().map(|expr| evaluate(expr, &rows)).collect::<Result<Vec<_>, _>>();
                    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                    rows = RecordBatch::try_new_with_options(schema.clone(), columns.map_err(engine_error)?, &options)?;
                }
            }
        }
        Ok(Rows { rows, of })
    }

    /// Lays rows and what was found for them next to each other; `None` is a row of nulls.
    fn pairs(
        &self,
        left: &RecordBatch,
        lefts: &[u32],
        right: &RecordBatch,
        rights: Vec<Option<u32>>,
    ) -> Result<RecordBatch> {
        let (lefts, rights) = (UInt32Array::from(lefts.to_vec()), UInt32Array::from(rights));
        let mut columns = Vec::with_capacity(self.config.both.fields().len());
        for column in left.columns() {
            columns.push(compute::take(column, &lefts, None)?);
        }
        for column in right.columns() {
            columns.push(compute::take(column, &rights, None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(lefts.len()));
        Ok(RecordBatch::try_new_with_options(self.config.both.clone(), columns, &options)?)
    }
}

fn mask(predicate: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<BooleanArray> {
    let values = evaluate(predicate, rows).map_err(engine_error)?;
    values.as_boolean_opt().cloned().ok_or_else(|| Error::internal("the condition is not Boolean"))
}

/// Puts every row that has no pair and did not fail in its place, with nothing found.
fn with_unmatched(
    n_rows: u32,
    lefts: &[u32],
    rights: &[u32],
    is_failed: impl Fn(u32) -> bool,
) -> (Vec<u32>, Vec<Option<u32>>) {
    let (mut all_lefts, mut all_rights) = (Vec::new(), Vec::new());
    let mut next = 0;
    for row in 0..n_rows {
        let first = next;
        while next < lefts.len() && lefts[next] == row {
            all_lefts.push(row);
            all_rights.push(Some(rights[next]));
            next += 1;
        }
        if next == first && !is_failed(row) {
            all_lefts.push(row);
            all_rights.push(None);
        }
    }
    (all_lefts, all_rights)
}
