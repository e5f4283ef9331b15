//! Lowers a table that is read: the source, its event time, and the correction of rows by key.

use super::columns::Columns;
use super::flow::{Feed, Flow, flow_like};
use super::{Lowering, Scope, qualified};
use crate::table::{CONTRACT_POSITION, Reader, Table};
use datafusion::common::Column;
use headwater_core::{EventTimeSpec, Exchange, NodeBody, Result};
use headwater_operators as operators;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn source(&mut self, table: &Table, reader: &Reader, scope: Scope<'_>) -> Result<Flow> {
        let flow = self.rows_of(table, reader, scope)?;
        let kept: Vec<usize> = self.kept_columns(table, reader).into_iter().collect();
        let place = |index: &usize| kept.iter().position(|kept| kept == index).unwrap_or_default();
        let (delivered, schema) = (flow.rows(), flow.schema.clone());
        if let Some((key, version)) = &reader.dedup {
            let key: Vec<usize> = key.iter().map(place).collect();
            let mut flow = self.exchange(flow, Exchange::Hash(key.clone()), scope);
            flow.label = "dedup";
            flow.changing = true;
            let ttl_ns = scope.settings.lateness.ttl_ns.or(table.lateness.ttl_ns);
            let dedup = operators::Dedup::new(delivered, key, place(version))?.forgetting(ttl_ns);
            return Ok(flow.then(dedup, schema.as_ref().clone()));
        }
        let Some(key) = reader.changelog.as_ref().filter(|key| !key.is_empty()) else { return Ok(flow) };
        let rows = Arc::new(reader.schema.project(&kept)?);
        let key: Vec<usize> = key.iter().map(place).collect();
        let names = key.iter().map(|index| rows.field(*index).name().clone());
        self.keys.extend(flow.feeds.iter().map(|feed| (feed.from, names.clone().collect())));
        let mut flow = self.exchange(flow, Exchange::Hash(key.clone()), scope);
        flow.label = "upsert";
        let schema = qualified(vec![None; kept.len()], &rows).map_err(|e| scope.fail(e))?;
        Ok(flow.then(operators::Upsert::new(delivered, key, rows)?, schema))
    }

    /// Returns the rows of a table as they come, before those of one key replace each other.
    pub(super) fn rows_of(&mut self, table: &Table, reader: &Reader, scope: Scope<'_>) -> Result<Flow> {
        if let Some(flow) = self.sources.get(&table.name) {
            return Ok(flow.clone());
        }
        let kept: Vec<usize> = self.kept_columns(table, reader).into_iter().collect();
        let Columns { source, operators, schema: delivered } = self.source_columns(table, reader, &kept, scope)?;
        let schema = Arc::new(qualified(vec![None; kept.len()], &delivered).map_err(|e| scope.fail(e))?);
        let event_time = match &reader.event_time {
            None => None,
            Some((event_time, watermark)) => {
                let event_time = scope.physical(event_time, &schema)?;
                let watermark = scope.physical(watermark, &schema)?;
                Some(Arc::new(operators::PhysicalEventTime::new(event_time, watermark)) as Arc<dyn EventTimeSpec>)
            }
        };
        // Two subtasks would take changes of one row out of their order.
        let parallelism_max = if reader.changelog.is_some() { 1 } else { source.parallelism_max().max(1) };
        let name = self.wiring.unique(&format!("source_{}", table.name));
        let body = NodeBody::Source { source, operators, event_time };
        let node = self.wiring.graph.add(name, body, parallelism_max);
        let changing = reader.changelog.is_some();
        let mut flow = flow_like(schema, changing, table.lateness);
        flow.feeds = vec![Feed { from: node, input: 0, exchange: Exchange::Forward, changing }];
        self.sources.insert(table.name.clone(), flow.clone());
        Ok(flow)
    }

    /// Returns the columns that somebody needs, this table's own machinery included.
    fn kept_columns(&self, table: &Table, reader: &Reader) -> BTreeSet<usize> {
        let mut kept = self.inputs.shared.required.get(&table.name).cloned().unwrap_or_default();
        if let Some((key, version)) = &reader.dedup {
            kept.extend(key);
            kept.insert(*version);
        }
        kept.extend(reader.changelog.iter().flatten());
        // A row that lacks what must be there is no row of the table, whoever reads it.
        if table.declared.is_some() {
            let fields = reader.schema.fields().iter().enumerate();
            kept.extend(fields.filter(|(_, field)| !field.is_nullable()).map(|(index, _)| index));
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
