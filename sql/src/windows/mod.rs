//! Windows in SQL: finds the event-time column that a call leaves unsaid, adds the time zone that is set, marks the
//! result as a window over event time, and gives rows that are in several windows or in sessions a step of their own.
//! It computes nothing itself: what runs is in `operators`. No state.

mod assign;
mod calls;
mod groups;
mod marks;

use crate::errors::wrapped;
use crate::optimize::coerced;
use crate::position::{Place, WithPlace};
use crate::settings::Settings;
use crate::types::TIMESTAMP;
pub(crate) use assign::AssignWindows;
use calls::Resolved;
pub(crate) use calls::{Written, part_taken};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, lit};
use headwater_core::Error;
use headwater_operators::functions::WindowRule;
pub(crate) use marks::{
    Part, function_of, is_event_time, is_window, mark_event_time, marked_only_by, part_of, rule_of, unmarked,
    window_of, without_marks,
};
use std::sync::Arc;

/// Windows that tile.
pub(crate) const TUMBLE: &str = "tumble";
/// Windows of one width that start at every slide.
pub(crate) const HOP: &str = "hop";
/// Windows that grow by steps.
pub(crate) const CUMULATE: &str = "cumulate";
/// Windows without gaps between their rows.
pub(crate) const SESSION: &str = "session";
/// The last moment of a window.
pub(crate) const WINDOW_TIME: &str = "window_time";
/// The functions that make windows.
pub(crate) const FUNCTIONS: [&str; 4] = [TUMBLE, HOP, CUMULATE, SESSION];

/// Resolves every window function of a plan.
pub(crate) fn resolve_windows(plan: LogicalPlan, settings: &Settings, place: &Place) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| {
        let mut inputs = DFSchema::empty();
        for input in node.inputs() {
            inputs.merge(input.schema());
        }
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| resolve_call(expr, &inputs, settings, place))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        let (node, left_over) = assign::assign_windows(node.data)?;
        if let Some(function) = left_over {
            let error = Error::invalid(format!("{function} cannot stand here: it decides how many rows there are"));
            let help =
                format!("write it in GROUP BY, or in the select list of a subquery: SELECT *, {function}(…) AS w");
            return Err(wrapped(placed(error.with_help(help), function, place)));
        }
        // A mark that appears below must be seen above, so the schema is made anew at every node.
        Ok(Transformed::yes(groups::with_whole_windows(node.recompute_schema()?)?))
    })?;
    Ok(resolved.data)
}

fn resolve_call(expr: Expr, inputs: &DFSchema, settings: &Settings, place: &Place) -> Result<Transformed<Expr>> {
    if let Some(marked) = calls::with_part_marked(&expr, inputs) {
        return Ok(Transformed::yes(marked));
    }
    let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
    let Some(written) = calls::as_written(call) else { return Ok(Transformed::no(expr)) };
    let function = call.name();
    let mut args = call.args.clone();
    let first = args.first().map(|arg| arg.get_type(inputs)).transpose()?;
    match first {
        Some(DataType::Interval(_) | DataType::Duration(_)) => args.insert(0, event_time_of(function, inputs, place)?),
        Some(DataType::Timestamp(..)) if first == Some(TIMESTAMP) => {}
        Some(DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) => {
            args[0] = Expr::Cast(Cast::new(Box::new(args[0].clone()), TIMESTAMP));
        }
        other => {
            let what = other.map_or_else(|| "nothing".to_owned(), |data_type| data_type.to_string());
            let error = Error::invalid(format!("{function} takes a time and {}, not {what}", intervals(function)))
                .with_help(format!("write {}", example(function)));
            return Err(wrapped(placed(error, function, place)));
        }
    }
    let n_constants = 1 + calls::n_intervals(function);
    if args.len() < n_constants {
        let error = Error::invalid(format!("{function} takes a time and {}", intervals(function)));
        return Err(wrapped(placed(error.with_help(format!("write {}", example(function))), function, place)));
    }
    // What follows the time must be constant where it is planned: `timestamp '2024-04-01'` is a cast of a text so far.
    let config = Arc::new(ConfigOptions::new());
    let n_keys = if function == SESSION { args.len() - n_constants } else { 0 };
    let n_args = args.len() - n_keys;
    for arg in &mut args[1..n_args] {
        *arg = coerced(arg.clone(), inputs, &config)?;
    }
    if function == SESSION {
        check_gap(&args[1], place)?;
    } else {
        let zone = settings.time_zone.as_deref();
        let is_origin = |arg: &Expr| arg.get_type(inputs).is_ok_and(|t| matches!(t, DataType::Timestamp(..)));
        if args.get(n_constants).is_some_and(is_origin) {
            args.insert(n_constants, lit(zone.unwrap_or("UTC")));
        } else if let (true, Some(zone)) = (args.len() == n_constants, zone) {
            args.push(lit(zone));
        }
    }
    if matches!(function, HOP | CUMULATE) {
        check_rule(function, &args[1..], place)?;
    }
    Ok(Transformed::yes(Resolved::call(written, args)))
}

fn intervals(function: &str) -> &'static str {
    if calls::n_intervals(function) == 1 { "an interval" } else { "two intervals" }
}

fn example(function: &str) -> &'static str {
    match function {
        HOP => "hop(interval '1 hour', interval '1 day') for a window of a day that starts every hour",
        CUMULATE => "cumulate(interval '1 hour', interval '1 day') for a window that grows by hours to a day",
        SESSION => "session(interval '30 minutes') for rows with no longer gap between them",
        _ => "tumble(interval '1 month') or tumble(ts, interval '1 month', 'Europe/Oslo')",
    }
}

fn check_rule(function: &str, args: &[Expr], place: &Place) -> Result<()> {
    let constants: Option<Vec<ScalarValue>> = args.iter().map(|arg| arg.as_literal().cloned()).collect();
    let message = match constants.map(|constants| WindowRule::from_constants(function, &constants)) {
        Some(Ok(_)) => return Ok(()),
        Some(Err(error)) => error.strip_backtrace().replace("Error during planning: ", ""),
        None => format!("what follows the time in {function} must be constant"),
    };
    let error = Error::invalid(message).with_help(format!("write {}", example(function)));
    Err(wrapped(placed(error, function, place)))
}

fn check_gap(gap: &Expr, place: &Place) -> Result<()> {
    let nanos = match gap {
        Expr::Literal(gap, _) => gap_ns(gap),
        _ => None,
    };
    if nanos.is_some_and(|nanos| nanos > 0) {
        return Ok(());
    }
    let error = Error::invalid("the gap of session must be a positive interval of a fixed length");
    Err(wrapped(placed(error.with_help(format!("write {}", example(SESSION))), SESSION, place)))
}

/// Returns the gap of sessions in nanoseconds; `None` when it has no fixed length.
pub(crate) fn gap_ns(gap: &ScalarValue) -> Option<i64> {
    const DAY: i64 = 86_400_000_000_000;
    match gap {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 => {
            i64::from(i.days).checked_mul(DAY)?.checked_add(i.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(i)) => {
            i64::from(i.days).checked_mul(DAY)?.checked_add(i64::from(i.milliseconds) * 1_000_000)
        }
        _ => None,
    }
}

fn event_time_of(function: &str, inputs: &DFSchema, place: &Place) -> Result<Expr> {
    let columns = |is: fn(&datafusion::arrow::datatypes::Field) -> bool| -> Vec<Column> {
        inputs.iter().filter(|(_, field)| is(field)).map(Column::from).collect()
    };
    let declared = columns(marks::is_declared);
    let columns = if declared.is_empty() { columns(is_event_time) } else { declared };
    let intervals = if calls::n_intervals(function) == 1 { "interval '…'" } else { "interval '…', interval '…'" };
    match columns.as_slice() {
        [column] => Ok(Expr::Column(column.clone())),
        [] => {
            let error = Error::invalid(format!("{function}(interval) needs an event-time column, and its input has none"))
                .with_help(format!(
                    "write {function}(ts, {intervals}), or declare WATERMARK FOR ts in the table and select ts in every view",
                ));
            Err(wrapped(placed(error, function, place)))
        }
        several => {
            let names: Vec<String> = several.iter().map(Column::flat_name).collect();
            let error = Error::invalid(format!("the input has several event-time columns: {}", names.join(", ")))
                .with_help(format!("say which one: {function}({}, {intervals})", names[0]));
            Err(wrapped(placed(error, function, place)))
        }
    }
}

fn placed(error: Error, function: &str, place: &Place) -> Error {
    match place.find_call(function) {
        Some(span) => error.with_place(span),
        None => error,
    }
}
