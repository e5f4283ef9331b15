//! Lowers the nodes that DataFusion does not have: set operations with multiplicities, and the expansion by grouping
//! sets.

use super::flow::{Flow, flow_like};
use super::join::feeds;
use super::{Lowering, Scope, kinder, qualified};
use crate::grouping_sets::Expand;
use crate::independent::Independent;
use crate::set_operations::SetOperation;
use crate::windows::unmarked;
use datafusion::logical_expr::Extension;
use headwater_core::{Error, Exchange, OperatorSpec, Result};
use headwater_operators as operators;
use std::sync::Arc;

impl<'a> Lowering<'a> {
    pub(super) fn extension(&mut self, extension: &'a Extension, scope: Scope<'a>) -> Result<Flow> {
        let node = extension.node.as_any();
        if let Some(operation) = node.downcast_ref::<SetOperation>() {
            self.set_operation(operation, scope)
        } else if let Some(expand) = node.downcast_ref::<Expand>() {
            self.expand(expand, scope)
        } else if let Some(independent) = node.downcast_ref::<Independent>() {
            self.plan(&independent.input, scope)
        } else {
            Err(Error::internal(format!("the node {} cannot be lowered", extension.node.name())))
        }
    }

    fn set_operation(&mut self, operation: &'a SetOperation, scope: Scope<'a>) -> Result<Flow> {
        let left = self.exact(&operation.left, scope)?;
        let right = self.exact(&operation.right, scope)?;
        let changing = left.changing || right.changing;
        let lateness = kinder(left.lateness, right.lateness);
        let operator = operators::SetOperation::new(operation.kind, &left.rows(), &right.rows(), changing)?;
        let qualifiers = left.schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect();
        let schema = qualified(qualifiers, &operator.schema()).and_then(|schema| unmarked(&schema));
        let schema = schema.map_err(|e| scope.fail(e))?;
        let operator = operator.with_schema(schema.inner().clone())?;
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let left = self.exchange(left, Exchange::Hash(all.clone()), scope);
        let right = self.exchange(right, Exchange::Hash(all), scope);
        let mut flow = flow_like(Arc::new(schema.clone()), operator.output_changing(), lateness);
        flow.label = "set_operation";
        flow.feeds = feeds(left, 0).chain(feeds(right, 1)).collect();
        Ok(flow.then(operator, schema))
    }

    fn expand(&mut self, expand: &'a Expand, scope: Scope<'a>) -> Result<Flow> {
        let flow = self.exact(&expand.input, scope)?;
        let schema = expand.output_of(&flow.schema).map_err(|e| scope.fail(e))?;
        let (columns, sets) = (expand.columns.clone(), expand.sets.clone());
        let operator = operators::Expand::new(columns, sets, &flow.rows(), schema.inner().clone())?;
        Ok(flow.then(operator, schema))
    }
}
