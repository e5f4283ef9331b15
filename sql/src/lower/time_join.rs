//! Lowers joins that event time bounds: `a.ts BETWEEN b.ts - INTERVAL '…' AND b.ts + INTERVAL '…'`, in any spelling,
//! and joins of one window with the same window. Their rows are freed by the watermark, and what they show is final.
//!
//! A join is one of these when both inputs are append-only, the two times are event times, and their difference has
//! two bounds of a fixed length: months have none. Any other join is a regular one. No state.

use super::flow::{Feed, Flow, flow_like};
use super::{Lowering, Scope, kinder};
use crate::settings::{EmitSetting, LateSetting, Lateness};
use crate::windows::{Part, is_event_time, is_window, part_of, unmarked, window_of};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, Operator};
use headwater_core::{Exchange, OperatorSpec, Result};
use headwater_operators::{IntervalJoin, IntervalJoinConfig, JoinKind, TimeOf};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const DAY_NS: i64 = 86_400_000_000_000;

/// How two inputs are held together by time.
pub(super) struct Timing {
    kind: JoinKind,
    times: [TimeOf; 2],
    min_ns: i64,
    max_ns: i64,
    /// What is left of the condition.
    filter: Option<Expr>,
    allowed_lateness_ns: i64,
}

/// Two inputs with the columns of their keys.
pub(super) struct Sides {
    pub(super) left: Flow,
    pub(super) right: Flow,
    pub(super) left_keys: Vec<usize>,
    pub(super) right_keys: Vec<usize>,
}

/// Finds out whether time bounds a join.
pub(super) fn timing(join: &Join, sides: &Sides, scope: Scope<'_>) -> Option<Timing> {
    let Sides { left, right, left_keys, right_keys } = sides;
    if left.changing || right.changing || join.null_aware {
        return None;
    }
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::LeftSemi,
        JoinType::LeftAnti => JoinKind::LeftAnti,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::LeftMark | JoinType::RightMark => return None,
    };
    let allowed_lateness_ns = waits(kinder(left.lateness, right.lateness), scope)?;
    let timing = |times, min_ns, max_ns, filter| Timing { kind, times, min_ns, max_ns, filter, allowed_lateness_ns };
    let keys = left_keys.iter().zip(right_keys);
    let mut equal = keys.filter_map(|(l, r)| equal_times(&left.schema, *l, &right.schema, *r));
    if let Some((times, difference_ns)) = equal.next() {
        return Some(timing(times, difference_ns, difference_ns, join.filter.clone()));
    }
    let mut found: BTreeMap<(usize, usize), Bounds> = BTreeMap::new();
    let conditions = join.filter.as_ref().map(split_conjunction).unwrap_or_default();
    for (number, condition) in conditions.iter().enumerate() {
        for (times, min, max) in bounds_of(condition, &left.schema, &right.schema) {
            let bounds = found.entry(times).or_default();
            bounds.min = bounds.min.max(min);
            bounds.max = match (bounds.max, max) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            bounds.conditions.push(number);
        }
    }
    let (times, bounds) = found.into_iter().find(|(_, bounds)| bounds.min.is_some() && bounds.max.is_some())?;
    let rest = conditions.iter().enumerate().filter(|(number, _)| !bounds.conditions.contains(number));
    let filter = conjunction(rest.map(|(_, condition)| (*condition).clone()));
    let (times, shift_ns) = times_of(&left.schema, times.0, &right.schema, times.1);
    let (min, max) = (bounds.min?.checked_add(shift_ns)?, bounds.max?.checked_add(shift_ns)?);
    Some(timing(times, min, max, filter))
}

/// Returns the times of two equal columns, and their difference.
fn equal_times(left: &DFSchema, l: usize, right: &DFSchema, r: usize) -> Option<([TimeOf; 2], i64)> {
    if is_window(left.field(l)) && is_window(right.field(r)) {
        return Some(([TimeOf::Window(l), TimeOf::Window(r)], 0));
    }
    (is_time(left, l) && is_time(right, r)).then(|| times_of(left, l, right, r))
}

/// Returns the times of two columns, and by what their difference is greater than that of the columns: the end of a
/// window is not in it, and its rows come before the watermark of the instant before.
fn times_of(left: &DFSchema, l: usize, right: &DFSchema, r: usize) -> ([TimeOf; 2], i64) {
    let is_end = |field: &Field| matches!(part_of(field), Some((Part::End, _)));
    let of = |field: &Field, index| if is_end(field) { (TimeOf::End(index), -1) } else { (TimeOf::Column(index), 0) };
    let ((left, left_shift), (right, right_shift)) = (of(left.field(l), l), of(right.field(r), r));
    ([left, right], left_shift - right_shift)
}

/// Returns how long a join waits for late rows; `None` where it waits for ever and so must keep everything.
pub(super) fn waits(declared: Lateness, scope: Scope<'_>) -> Option<i64> {
    let set = scope.settings.lateness;
    let allowed_ns = set.allowed_ns.or(declared.allowed_ns);
    match set.late.or(declared.late).or(allowed_ns.map(|_| LateSetting::Update)) {
        Some(LateSetting::Update) => allowed_ns,
        Some(LateSetting::DeadLetter) | None => Some(0),
    }
}

/// Bounds of `left - right`, and the conditions that say so.
#[derive(Default)]
struct Bounds {
    min: Option<i64>,
    max: Option<i64>,
    conditions: Vec<usize>,
}

/// A bound of the difference of a left and a right column: the columns, the least and the greatest value.
type Found = ((usize, usize), Option<i64>, Option<i64>);

fn bounds_of(condition: &Expr, left: &DFSchema, right: &DFSchema) -> Vec<Found> {
    let compared = match condition {
        Expr::BinaryExpr(BinaryExpr { left: l, op, right: r }) => vec![(l.as_ref(), *op, r.as_ref())],
        Expr::Between(between) if !between.negated => vec![
            (between.expr.as_ref(), Operator::GtEq, between.low.as_ref()),
            (between.expr.as_ref(), Operator::LtEq, between.high.as_ref()),
        ],
        _ => return Vec::new(),
    };
    let found: Option<Vec<Found>> = compared.into_iter().map(|(l, op, r)| bound(l, op, r, left, right)).collect();
    found.unwrap_or_default()
}

fn bound(l: &Expr, op: Operator, r: &Expr, left: &DFSchema, right: &DFSchema) -> Option<Found> {
    let difference = linear(l, left, right)?.plus(linear(r, left, right)?.negated()?)?;
    // What stands for `left - right + constant`, and the comparison of that with zero.
    let (times, constant, op) = match difference {
        Linear { left: Some((l, 1)), right: Some((r, -1)), constant } => ((l, r), constant, op),
        Linear { left: Some((l, -1)), right: Some((r, 1)), constant } => ((l, r), constant.checked_neg()?, op.swap()?),
        _ => return None,
    };
    let at = constant.checked_neg()?;
    match op {
        Operator::Eq => Some((times, Some(at), Some(at))),
        Operator::GtEq => Some((times, Some(at), None)),
        Operator::Gt => Some((times, Some(at.checked_add(1)?), None)),
        Operator::LtEq => Some((times, None, Some(at))),
        Operator::Lt => Some((times, None, Some(at.checked_sub(1)?))),
        _ => None,
    }
}

/// A sum of at most one left and one right event time, each with a factor, and nanoseconds.
#[derive(Clone, Copy, Default)]
struct Linear {
    left: Option<(usize, i64)>,
    right: Option<(usize, i64)>,
    constant: i64,
}

impl Linear {
    fn plus(self, other: Self) -> Option<Self> {
        let sum = |a: Option<(usize, i64)>, b: Option<(usize, i64)>| match (a, b) {
            (Some(_), Some(_)) => None,
            (a, b) => Some(a.or(b)),
        };
        let constant = self.constant.checked_add(other.constant)?;
        Some(Self { left: sum(self.left, other.left)?, right: sum(self.right, other.right)?, constant })
    }

    fn negated(self) -> Option<Self> {
        let negate = |(column, factor): (usize, i64)| (column, -factor);
        let constant = self.constant.checked_neg()?;
        Some(Self { left: self.left.map(negate), right: self.right.map(negate), constant })
    }
}

fn linear(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<Linear> {
    match expr {
        Expr::Column(column) => {
            let of = |schema: &DFSchema| schema.maybe_index_of_column(column).filter(|index| is_time(schema, *index));
            match (of(left), of(right)) {
                (Some(index), None) => Some(Linear { left: Some((index, 1)), ..Linear::default() }),
                (None, Some(index)) => Some(Linear { right: Some((index, 1)), ..Linear::default() }),
                _ => None,
            }
        }
        Expr::Literal(value, _) => Some(Linear { constant: fixed_ns(value)?, ..Linear::default() }),
        Expr::Alias(alias) => linear(&alias.expr, left, right),
        Expr::Negative(inner) => linear(inner, left, right)?.negated(),
        Expr::Cast(cast) if is_length(cast.field.data_type()) => linear(&cast.expr, left, right),
        Expr::BinaryExpr(BinaryExpr { left: l, op: Operator::Plus, right: r }) => {
            linear(l, left, right)?.plus(linear(r, left, right)?)
        }
        Expr::BinaryExpr(BinaryExpr { left: l, op: Operator::Minus, right: r }) => {
            linear(l, left, right)?.plus(linear(r, left, right)?.negated()?)
        }
        _ => None,
    }
}

/// The types in which the difference of two times may be compared without a change of its value.
fn is_length(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(TimeUnit::Nanosecond))
}

/// Returns the length of an interval or duration; `None` where it depends on where it begins.
fn fixed_ns(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 => {
            i64::from(i.days).checked_mul(DAY_NS)?.checked_add(i.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(i)) => {
            let time_ns = i64::from(i.milliseconds).checked_mul(1_000_000)?;
            i64::from(i.days).checked_mul(DAY_NS)?.checked_add(time_ns)
        }
        ScalarValue::DurationNanosecond(Some(n)) => Some(*n),
        ScalarValue::DurationMicrosecond(Some(n)) => n.checked_mul(1_000),
        ScalarValue::DurationMillisecond(Some(n)) => n.checked_mul(1_000_000),
        ScalarValue::DurationSecond(Some(n)) => n.checked_mul(1_000_000_000),
        _ => None,
    }
}

/// Whether a column is an event time without a time zone, in which a day has a fixed length.
pub(super) fn is_time(schema: &DFSchema, index: usize) -> bool {
    let field = schema.field(index);
    is_event_time(field) && *field.data_type() == DataType::Timestamp(TimeUnit::Nanosecond, None)
}

impl<'a> Lowering<'a> {
    /// Lowers a join that time bounds.
    pub(super) fn time_join(&mut self, join: &'a Join, timing: Timing, sides: Sides, scope: Scope<'a>) -> Result<Flow> {
        let Timing { kind, times, min_ns, max_ns, filter, allowed_lateness_ns } = timing;
        let Sides { left, right, left_keys, right_keys } = sides;
        let both = left.schema.join(&right.schema).map_err(|e| scope.fail(e))?;
        let filter = filter.map(|filter| scope.physical(&filter, &both)).transpose()?;
        let on = left_keys.iter().zip(&right_keys).map(|(l, r)| {
            let of = |flow: &Flow, index: usize| {
                scope.physical(&Expr::from(flow.schema.qualified_field(index)), &flow.schema)
            };
            Ok((of(&left, *l)?, of(&right, *r)?))
        });
        let config = IntervalJoinConfig {
            kind,
            left: left.rows(),
            right: right.rows(),
            on: on.collect::<Result<_>>()?,
            filter,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            times,
            min_ns,
            max_ns,
            early: scope.settings.emit == Some(EmitSetting::Changes),
            allowed_lateness_ns,
        };
        let operator = IntervalJoin::new(config)?;
        let lateness = kinder(left.lateness, right.lateness);
        let schema = output_schema(&operator, &left.schema, &right.schema, times).map_err(|e| scope.fail(e))?;
        let operator = operator.with_schema(schema.inner().clone())?;
        let exchange = |keys: Vec<usize>| if keys.is_empty() { Exchange::Gather } else { Exchange::Hash(keys) };
        let left = self.exchange(left, exchange(left_keys), scope);
        let right = self.exchange(right, exchange(right_keys), scope);
        let mut flow = flow_like(Arc::new(schema.clone()), operator.output_changing(), lateness);
        flow.label = "join";
        let feeds = |flow: Flow, input: usize| flow.feeds.into_iter().map(move |feed| Feed { input, ..feed });
        flow.feeds = feeds(left, 0).chain(feeds(right, 1)).collect();
        Ok(flow.then(operator, schema))
    }
}

/// Returns the columns of the output. The two times are event times of it too, as far as the watermark holds for them;
/// other times may have passed long before a row comes.
fn output_schema(
    operator: &IntervalJoin,
    left: &DFSchema,
    right: &DFSchema,
    times: [TimeOf; 2],
) -> Result<DFSchema, datafusion::common::DataFusionError> {
    let fields = operator.schema();
    let n_left = left.fields().len();
    let both = fields.fields().len() > n_left;
    let mut qualifiers: Vec<_> = left.iter().map(|(qualifier, _)| qualifier.cloned()).collect();
    if both {
        qualifiers.extend(right.iter().map(|(qualifier, _)| qualifier.cloned()));
    }
    let marked = super::qualified(qualifiers, &fields)?;
    let keeps = operator.keeps_time();
    let is_kept = |index: usize| {
        let (side, schema, index) = if index < n_left { (0, left, index) } else { (1, right, index - n_left) };
        let time = times[side].column();
        match window_text(schema.field(time)) {
            // A window is the same on both sides, whichever of them a row has.
            Some(window) if operator.is_windowed() => window_text(schema.field(index)) == Some(window),
            _ => keeps[side] && index == time,
        }
    };
    let plain = unmarked(&marked)?;
    let fields = marked.iter().zip(plain.iter()).enumerate().map(|(index, (marked, (qualifier, plain)))| {
        let field = if is_kept(index) { marked.1 } else { plain };
        (qualifier.cloned(), field.clone())
    });
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}

/// Returns which window a column is, or is a part of.
fn window_text(field: &Field) -> Option<&str> {
    window_of(field).or_else(|| part_of(field).map(|(_, window)| window))
}
