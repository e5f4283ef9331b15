//! Lowers `VALUES` and a `SELECT` without a table: a source whose rows are in the plan. It ends after its only batch;
//! what bounds it is the length of the statement.

use super::flow::{Feed, Flow, flow_like};
use super::{Lowering, Scope};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::Expr;
use headwater_core::{
    Batch, Error, Exchange, NodeBody, Polled, Position, Result, Source, SourceBatch, SourceSpec, TaskContext,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const PARTITION: &str = "values";

impl Lowering<'_> {
    pub(super) fn values(&mut self, rows: &[Vec<Expr>], schema: &DFSchemaRef, scope: Scope<'_>) -> Result<Flow> {
        let rows = evaluate(rows, schema, scope)?;
        let schema = if schema.fields().is_empty() {
            Arc::new(DFSchema::try_from(rows.schema()).map_err(|e| scope.fail(e))?)
        } else {
            schema.clone()
        };
        let name = self.wiring.unique(&format!("source_{}_values", scope.name));
        let source = Arc::new(Values { rows });
        let body = NodeBody::Source { source, operators: Vec::new(), event_time: None };
        let node = self.wiring.graph.add(name, body, 1);
        let mut flow = flow_like(schema, false, Default::default());
        flow.feeds = vec![Feed { from: node, input: 0, exchange: Exchange::Forward, changing: false }];
        Ok(flow)
    }
}

fn evaluate(rows: &[Vec<Expr>], schema: &DFSchema, scope: Scope<'_>) -> Result<RecordBatch> {
    let one = Arc::new(Schema::new(vec![Field::new("__row", DataType::Boolean, false)]));
    let truth = ScalarValue::Boolean(Some(true));
    let array = |n: usize| truth.to_array_of_size(n).map_err(|e| scope.fail(e));
    if schema.fields().is_empty() {
        return Ok(RecordBatch::try_new(one, vec![array(rows.len())?])?);
    }
    let input = RecordBatch::try_new(one.clone(), vec![array(1)?])?;
    let empty = DFSchema::try_from(one).map_err(|e| scope.fail(e))?;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let mut cells = Vec::with_capacity(rows.len());
        for row in rows {
            let value = scope.physical(&row[index], &empty)?.evaluate(&input).map_err(|e| scope.fail(e))?;
            let value = value.into_array(1).map_err(|e| scope.fail(e))?;
            cells.push(datafusion::arrow::compute::cast(&value, field.data_type())?);
        }
        let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
        columns.push(if cells.is_empty() {
            datafusion::arrow::array::new_empty_array(field.data_type())
        } else {
            concat(&cells)?
        });
    }
    Ok(RecordBatch::try_new(schema.inner().clone(), columns)?)
}

/// Rows that are written in the query.
#[derive(Debug)]
struct Values {
    rows: RecordBatch,
}

#[async_trait]
impl SourceSpec for Values {
    fn describe(&self) -> String {
        format!("values, {} rows", self.rows.num_rows())
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn parallelism_max(&self) -> usize {
        1
    }

    async fn open(&self, _context: &TaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(ValuesSource { rows: self.rows.clone(), n_read: 0 }))
    }
}

struct ValuesSource {
    rows: RecordBatch,
    n_read: usize,
}

#[async_trait]
impl Source for ValuesSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let n_rows = rows_max.min(self.rows.num_rows() - self.n_read);
        if n_rows == 0 {
            return Ok(Polled::End);
        }
        let batch = Batch::append_only(self.rows.slice(self.n_read, n_rows));
        self.n_read += n_rows;
        Ok(Polled::Batch(SourceBatch { partition: 0, batch, dead_letters: Vec::new() }))
    }

    fn position(&self) -> Position {
        Position(BTreeMap::from([(PARTITION.to_owned(), self.n_read.to_string())]))
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let n_rows = self.rows.num_rows();
        let read = position.0.get(PARTITION).and_then(|text| text.parse().ok()).filter(|n| *n <= n_rows);
        self.n_read = read.ok_or_else(|| Error::data(format!("{:?} is no place in {n_rows} values", position.0)))?;
        Ok(())
    }
}
