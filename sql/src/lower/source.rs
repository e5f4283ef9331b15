//! Lowers a table that is read: the source, what it decodes, its event time, and the correction of rows by key.

use super::flow::{Feed, Flow, flow_like};
use super::{Lowering, Scope, qualified};
use crate::table::{CONTRACT_POSITION, Reader, Table};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::Column;
use datafusion::physical_expr::expressions;
use headwater_core::{EventTimeSpec, Exchange, NodeBody, OperatorSpec, Result};
use headwater_operators as operators;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn source(&mut self, table: &Table, reader: &Reader, scope: Scope<'_>) -> Result<Flow> {
        let kept: Vec<usize> = self.kept_columns(table, reader).into_iter().collect();
        let all = reader.schema.fields().len();
        let rows = Arc::new(reader.schema.project(&kept)?);
        let mut source = reader.source.clone();
        let mut operators: Vec<Arc<dyn OperatorSpec>> = reader.decode.iter().cloned().collect();
        if kept.len() < all {
            let narrow = if reader.decode.is_none() { source.project(&kept) } else { None };
            match narrow {
                Some(narrow) => source = narrow,
                None => operators.push(Arc::new(pick(&kept, &reader.schema)?.with_schema(rows.clone())?)),
            }
        }
        let schema = Arc::new(qualified(vec![None; kept.len()], &rows).map_err(|e| scope.fail(e))?);
        let event_time = match &reader.event_time {
            None => None,
            Some((event_time, watermark)) => {
                let event_time = scope.physical(event_time, &schema)?;
                let watermark = scope.physical(watermark, &schema)?;
                Some(Arc::new(operators::PhysicalEventTime::new(event_time, watermark)) as Arc<dyn EventTimeSpec>)
            }
        };
        let parallelism_max = source.parallelism_max().max(1);
        let name = self.wiring.unique(&format!("source_{}", table.name));
        let body = NodeBody::Source { source, operators, event_time };
        let node = self.wiring.graph.add(name, body, parallelism_max);
        let mut flow = flow_like(schema.clone(), false, table.lateness);
        flow.feeds = vec![Feed { from: node, input: 0, exchange: Exchange::Forward, changing: false }];
        let Some((key, version)) = &reader.dedup else { return Ok(flow) };
        let place = |index: &usize| kept.iter().position(|kept| kept == index).unwrap_or_default();
        let key: Vec<usize> = key.iter().map(place).collect();
        let mut flow = self.exchange(flow, Exchange::Hash(key.clone()), scope);
        flow.label = "dedup";
        flow.changing = true;
        let dedup = operators::Dedup::new(rows, key, place(version))?;
        Ok(flow.then(dedup, schema.as_ref().clone()))
    }

    /// Returns the columns that somebody needs, this table's own machinery included.
    fn kept_columns(&self, table: &Table, reader: &Reader) -> BTreeSet<usize> {
        let mut kept = self.inputs.shared.required.get(&table.name).cloned().unwrap_or_default();
        if let Some((key, version)) = &reader.dedup {
            kept.extend(key);
            kept.insert(*version);
        }
        let mut named: Vec<String> = Vec::new();
        if let Some((event_time, watermark)) = &reader.event_time {
            let columns = event_time.column_refs().into_iter().chain(watermark.column_refs());
            named.extend(columns.map(Column::name).map(str::to_owned));
        }
        if table.contract.is_some() {
            named.push(CONTRACT_POSITION.to_owned());
        }
        kept.extend(named.iter().filter_map(|name| reader.schema.index_of(name).ok()));
        if kept.is_empty() {
            kept.insert(0);
        }
        kept
    }
}

fn pick(columns: &[usize], schema: &Schema) -> Result<operators::Project> {
    let exprs = columns.iter().map(|index| {
        let name = schema.field(*index).name();
        (Arc::new(expressions::Column::new(name, *index)) as _, name.clone())
    });
    operators::Project::new(exprs.collect(), &Arc::new(schema.clone()))
}
