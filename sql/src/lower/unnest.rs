//! Lowers `UNNEST`: one operator for each level of lists within lists, the deepest first.

use super::flow::Flow;
use super::{Lowering, Scope, qualified};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::NullHandling;
use datafusion::logical_expr::{Expr, Unnest};
use headwater_core::{Error, Result};
use headwater_operators as operators;
use std::sync::Arc;

impl<'a> Lowering<'a> {
    pub(super) fn unnest(&mut self, unnest: &'a Unnest, scope: Scope<'a>) -> Result<Flow> {
        let (preserve_nulls, preserve_empty) = match unnest.options.null_handling {
            NullHandling::Drop => (false, false),
            NullHandling::Preserve => (true, false),
            NullHandling::PreserveAndExpandEmpty => (true, true),
        };
        let input = self.exact(&unnest.input, scope)?;
        let (mut flow, lists, structs) = self.one_column_per_list(input, unnest, scope)?;
        let depth_max = lists.iter().map(|(_, depth)| *depth).max().unwrap_or(1);
        for depth in (1..=depth_max).rev() {
            let at: Vec<usize> = lists.iter().filter(|(_, d)| *d >= depth).map(|(index, _)| *index).collect();
            let is_last = depth == 1;
            let structs = if is_last { structs.clone() } else { Vec::new() };
            let schema = if is_last { unnest.schema.as_ref().clone() } else { elements(&flow, &at, scope)? };
            let columns = operators::UnnestColumns { lists: at, structs, preserve_nulls, preserve_empty };
            let operator = operators::Unnest::new(columns, &flow.rows(), schema.inner().clone())?;
            flow = flow.then(operator, schema);
        }
        Ok(flow)
    }

    /// Repeats a column that is unnested to several depths, so that each list has a column of its own. Returns where
    /// the lists and the structs are, and how deep the lists go.
    #[expect(clippy::type_complexity, reason = "two lists of columns that are taken apart at once")]
    fn one_column_per_list(
        &mut self,
        input: Flow,
        unnest: &Unnest,
        scope: Scope<'_>,
    ) -> Result<(Flow, Vec<(usize, usize)>, Vec<usize>)> {
        let mut exprs = Vec::new();
        let (mut lists, mut structs) = (Vec::new(), Vec::new());
        let mut is_repeated = false;
        for (index, column) in input.schema.columns().into_iter().enumerate() {
            let column = Expr::Column(column);
            let mut depths = unnest.list_type_columns.iter().filter(|(i, _)| *i == index).map(|(_, list)| list.depth);
            if unnest.struct_type_columns.contains(&index) {
                structs.push(exprs.len());
            }
            if let Some(depth) = depths.next() {
                lists.push((exprs.len(), depth));
            }
            exprs.push(column.clone());
            for depth in depths {
                is_repeated = true;
                lists.push((exprs.len(), depth));
                exprs.push(column.clone().alias(format!("__list_{}", exprs.len())));
            }
        }
        let flow = if is_repeated { self.project(input, &exprs, scope)? } else { input };
        Ok((flow, lists, structs))
    }
}

/// Returns the columns of a flow with elements in the place of lists.
fn elements(flow: &Flow, lists: &[usize], scope: Scope<'_>) -> Result<datafusion::common::DFSchema> {
    let mut fields: Vec<Field> = flow.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    for index in lists {
        let element = match fields[*index].data_type() {
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                field.data_type().clone()
            }
            other => return Err(Error::internal(format!("{other} is not a list"))),
        };
        fields[*index] = fields[*index].clone().with_data_type(element).with_nullable(true);
    }
    let qualifiers = flow.schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect();
    qualified(qualifiers, &Arc::new(Schema::new(fields))).map_err(|e| scope.fail(e))
}
