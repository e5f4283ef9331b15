//! Lowers joins by equal keys, with a further condition. A join that keeps rows of the right alone is one that keeps
//! rows of the left, the other way round.

use super::flow::{Feed, Flow, flow_like};
use super::rows::ROW;
use super::time_join::{Sides, timing};
use super::{Lowering, Scope, kinder};
use crate::settings::Lateness;
use crate::versions::{refuse_as_of, take_as_of};
use crate::windows::unmarked;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join};
use headwater_core::{Error, Exchange, OperatorSpec, Result};
use headwater_operators::{self as operators, JoinConfig, JoinKind};
use std::sync::Arc;

impl<'a> Lowering<'a> {
    pub(super) fn join(&mut self, join: &'a Join, scope: Scope<'a>) -> Result<Flow> {
        if let Some(flow) = self.lookup_join(join, scope)? {
            return Ok(flow);
        }
        let (versions, filter) = take_as_of(join.filter.as_ref());
        if let Some(version) = versions.first() {
            return Err(refuse_as_of(version, scope.place));
        }
        let (kind, is_turned) = kind(join)?;
        let (mut sides, (mut left_on, mut right_on)) = ([&join.left, &join.right], join.on.iter().cloned().unzip());
        if is_turned {
            sides.reverse();
            std::mem::swap::<Vec<Expr>>(&mut left_on, &mut right_on);
        }
        let left = self.exact(sides[0], scope)?;
        let right = self.exact(sides[1], scope)?;
        let right = self.counted_apart(&left, right, scope)?;
        let (n_left, n_right) = (left.schema.fields().len(), right.schema.fields().len());
        let (left, left_keys) = self.with_keys(left, &left_on, scope)?;
        let (right, right_keys) = self.with_keys(right, &right_on, scope)?;
        let n_all = [left.schema.fields().len(), right.schema.fields().len()];
        let sides = Sides { left, right, left_keys, right_keys };
        if let Some(timing) = timing(join, &sides, scope) {
            let flow = self.time_join(join, timing, sides, scope)?;
            return self.without_keys(flow, [n_left, n_right], n_all, scope);
        }
        let Sides { left, right, left_keys, right_keys } = sides;
        let both = left.schema.join(&right.schema).map_err(|e| scope.fail(e))?;
        let filter = filter.as_ref().map(|filter| scope.physical(filter, &both)).transpose()?;
        let on = left_keys.iter().zip(&right_keys).map(|(l, r)| {
            let of = |flow: &Flow, index: usize| {
                scope.physical(&Expr::from(flow.schema.qualified_field(index)), &flow.schema)
            };
            Ok((of(&left, *l)?, of(&right, *r)?))
        });
        let on = on.collect::<Result<Vec<_>>>()?;
        let changing = left.changing || right.changing;
        let lateness = kinder(left.lateness, right.lateness);
        let config = JoinConfig {
            kind,
            left: left.rows(),
            right: right.rows(),
            on,
            filter,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            inputs_changing: changing,
        };
        let ttl_ns = |declared: Lateness| scope.settings.lateness.ttl_ns.or(declared.ttl_ns);
        let operator = operators::Join::new(config)?.forgetting([ttl_ns(left.lateness), ttl_ns(right.lateness)]);
        let exchange = |keys: Vec<usize>| if keys.is_empty() { Exchange::Gather } else { Exchange::Hash(keys) };
        let (left_schema, right_schema) = (left.schema.clone(), right.schema.clone());
        let left = self.exchange(left, exchange(left_keys), scope);
        let right = self.exchange(right, exchange(right_keys), scope);
        let schema = output_schema(join, &left_schema, &right_schema, &operator, scope)?;
        // A pair comes when its later half does, which may be long after the event time of the other.
        let schema = unmarked(&schema).map_err(|e| scope.fail(e))?;
        let operator = operator.with_schema(schema.inner().clone())?;
        let mut flow = flow_like(Arc::new(schema.clone()), operator.output_changing(), lateness);
        flow.label = "join";
        flow.feeds = feeds(left, 0).chain(feeds(right, 1)).collect();
        let flow = flow.then(operator, schema);
        self.without_keys(flow, [n_left, n_right], n_all, scope)
    }

    /// Gives the placeholder of rows that are only counted another name on the right, where both sides have one.
    fn counted_apart(&mut self, left: &Flow, right: Flow, scope: Scope<'_>) -> Result<Flow> {
        let row = Column::new_unqualified(ROW);
        if ![left, &right].iter().all(|side| side.schema.columns().contains(&row)) {
            return Ok(right);
        }
        let renamed = right.schema.columns().into_iter().map(|column| match column == row {
            true => Expr::Column(column).alias(format!("{ROW}_right")),
            false => Expr::Column(column),
        });
        let renamed: Vec<Expr> = renamed.collect();
        self.project(right, &renamed, scope)
    }

    /// Takes out the columns that were added for keys: each side wants the first of all of its columns. What follows the
    /// left ones may be a mark alone.
    pub(super) fn without_keys(
        &mut self,
        flow: Flow,
        n: [usize; 2],
        n_all: [usize; 2],
        scope: Scope<'_>,
    ) -> Result<Flow> {
        let n_more = flow.schema.fields().len() - n_all[0];
        let mut wanted: Vec<usize> = (0..n[0]).collect();
        wanted.extend(n_all[0]..n_all[0] + n_more.min(n[1].max(1)));
        if wanted.len() == flow.schema.fields().len() {
            return Ok(flow);
        }
        let exprs: Vec<Expr> = wanted.iter().map(|index| Expr::from(flow.schema.qualified_field(*index))).collect();
        self.project(flow, &exprs, scope)
    }

    /// Makes every key a column, and returns where they are.
    pub(super) fn with_keys(&mut self, flow: Flow, keys: &[Expr], scope: Scope<'_>) -> Result<(Flow, Vec<usize>)> {
        let mut exprs: Vec<Expr> = flow.schema.columns().into_iter().map(Expr::Column).collect();
        let n_columns = exprs.len();
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let known = match key {
                Expr::Column(column) => {
                    flow.schema.maybe_index_of_column(&Column::new(column.relation.clone(), &column.name))
                }
                _ => None,
            };
            places.push(known.unwrap_or_else(|| {
                exprs.push(key.clone().alias(self.wiring.unique("__key")));
                exprs.len() - 1
            }));
        }
        let flow = if exprs.len() > n_columns { self.project(flow, &exprs, scope)? } else { flow };
        Ok((flow, places))
    }
}

/// Returns which rows a join yields, and whether its sides change places.
fn kind(join: &Join) -> Result<(JoinKind, bool)> {
    if join.null_aware {
        return Err(Error::internal("a NOT IN was left to the optimizer"));
    }
    Ok(match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::LeftSemi, false),
        JoinType::LeftAnti => (JoinKind::LeftAnti, false),
        JoinType::LeftMark => (JoinKind::LeftMark, false),
        JoinType::RightSemi => (JoinKind::LeftSemi, true),
        JoinType::RightAnti => (JoinKind::LeftAnti, true),
        JoinType::RightMark => (JoinKind::LeftMark, true),
    })
}

fn output_schema(
    join: &Join,
    left: &DFSchema,
    right: &DFSchema,
    operator: &operators::Join,
    scope: Scope<'_>,
) -> Result<DFSchema> {
    let of = |schema: &DFSchema| schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect::<Vec<_>>();
    let mut qualifiers = of(left);
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => qualifiers.extend(of(right)),
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti => {}
        JoinType::LeftMark | JoinType::RightMark => qualifiers.extend(of(&join.schema).pop()),
    }
    super::qualified(qualifiers, &operator.schema()).map_err(|e| scope.fail(e))
}

/// Feeds a flow into one input of a node.
pub(super) fn feeds(flow: Flow, input: usize) -> impl Iterator<Item = Feed> {
    flow.feeds.into_iter().map(move |feed| Feed { input, ..feed })
}
