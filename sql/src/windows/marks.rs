//! What columns say about themselves: that they are the event time, a window over event time, or a part of one. The
//! marks travel as metadata of the columns, so every projection carries them. Marks are texts; there is no state.

use datafusion::arrow::datatypes::{Field, IntervalMonthDayNano, Schema, SchemaRef};
use datafusion::common::{DFSchema, Result, ScalarValue};
use headwater_operators::functions::WindowRule;
use std::collections::HashMap;
use std::sync::Arc;

const EVENT_TIME: &str = "headwater.event_time";
const WINDOW: &str = "headwater.window";
const PART: &str = "headwater.window_part";
/// The event time that a table declares, or a query makes.
const DECLARED: &str = "declared";
/// The end of a window, which is an event time only where somebody asks for it.
const END_OF_WINDOW: &str = "end";

/// The parts of a window that can be columns of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Start,
    End,
    /// The last moment before the end.
    Time,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Time => "time",
        }
    }
}

/// Marks a column as the event time of its table.
pub(crate) fn mark_event_time(schema: &SchemaRef, column: usize) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| if index == column { with(field, EVENT_TIME, DECLARED) } else { field.as_ref().clone() })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Marks a column as a window; the text says which.
pub(super) fn mark_window(field: &Field, window: &str) -> Field {
    with(field, WINDOW, window)
}

/// Marks a column as a part of a window: ends are event times, because rows come before the watermark that closes
/// their window.
pub(super) fn mark_part(field: &Field, part: Part, window: &str) -> Field {
    let field = with(field, PART, &format!("{} {window}", part.name()));
    match part {
        Part::Start => field,
        Part::End => with(&field, EVENT_TIME, END_OF_WINDOW),
        Part::Time => with(&field, EVENT_TIME, DECLARED),
    }
}

fn with(field: &Field, mark: &str, value: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(mark.to_owned(), value.to_owned());
    field.clone().with_metadata(metadata)
}

/// Whether a column is the event time of its rows.
pub(crate) fn is_event_time(field: &Field) -> bool {
    field.metadata().contains_key(EVENT_TIME)
}

/// Whether a column is the event time that is meant where none is named.
pub(super) fn is_declared(field: &Field) -> bool {
    field.metadata().get(EVENT_TIME).is_some_and(|value| value == DECLARED)
}

/// Whether a column is a window over event time.
pub(crate) fn is_window(field: &Field) -> bool {
    field.metadata().contains_key(WINDOW)
}

/// Returns which window a column is.
pub(crate) fn window_of(field: &Field) -> Option<&str> {
    field.metadata().get(WINDOW).map(String::as_str)
}

/// Returns which part of which window a column is.
pub(crate) fn part_of(field: &Field) -> Option<(Part, &str)> {
    let (name, window) = field.metadata().get(PART)?.split_once(' ')?;
    [Part::Start, Part::End, Part::Time].into_iter().find(|part| part.name() == name).map(|part| (part, window))
}

/// Returns a field without the marks.
pub(crate) fn without_marks(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.retain(|key, _| key != EVENT_TIME && key != WINDOW && key != PART);
    field.clone().with_metadata(metadata)
}

/// Returns a schema without the marks: its rows come at another time than the watermark promises.
pub(crate) fn unmarked(schema: &DFSchema) -> Result<DFSchema> {
    marked_as(schema, |_| false)
}

/// Returns a schema in which only one window and its parts keep their marks: rows come when that window closes, so the
/// time of anything else may have passed.
pub(crate) fn marked_only_by(schema: &DFSchema, window: &str) -> Result<DFSchema> {
    marked_as(schema, |field| window_of(field) == Some(window) || part_of(field).is_some_and(|(_, w)| w == window))
}

fn marked_as(schema: &DFSchema, keeps: impl Fn(&Field) -> bool) -> Result<DFSchema> {
    let fields = schema.iter().map(|(qualifier, field)| {
        if keeps(field) {
            return (qualifier.cloned(), field.clone());
        }
        (qualifier.cloned(), Arc::new(without_marks(field)))
    });
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}

/// Writes down a window: its function, what follows the time in the call, and the time.
pub(super) fn window_text(function: &str, constants: &[Option<&ScalarValue>], time: &str) -> String {
    let mut text = function.to_owned();
    for constant in constants.iter().flatten() {
        match constant {
            ScalarValue::IntervalMonthDayNano(Some(i)) => {
                text.push_str(&format!("|i{} {} {}", i.months, i.days, i.nanoseconds));
            }
            ScalarValue::TimestampNanosecond(Some(origin), _) => text.push_str(&format!("|o{origin}")),
            other => match other.try_as_str().flatten() {
                Some(zone) => text.push_str(&format!("|z{zone}")),
                None => text.push_str("|?"),
            },
        }
    }
    format!("{text}#{time}")
}

/// Returns the name of the function that makes a window.
pub(crate) fn function_of(window: &str) -> &str {
    window.split(['|', '#']).next().unwrap_or_default()
}

/// Reads the rule of a window that was written down; `None` for sessions, which have none.
pub(crate) fn rule_of(window: &str) -> Option<WindowRule> {
    let (call, _) = window.split_once('#')?;
    let mut parts = call.split('|');
    let function = parts.next()?;
    let constants: Option<Vec<ScalarValue>> = parts.map(constant).collect();
    if function == super::SESSION { None } else { WindowRule::from_constants(function, &constants?).ok() }
}

fn constant(text: &str) -> Option<ScalarValue> {
    if let Some(zone) = text.strip_prefix('z') {
        return Some(ScalarValue::from(zone));
    }
    if let Some(origin) = text.strip_prefix('o') {
        return origin.parse().ok().map(|origin| ScalarValue::TimestampNanosecond(Some(origin), None));
    }
    let mut numbers = text.strip_prefix('i')?.split(' ');
    let (months, days, nanos) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let interval = IntervalMonthDayNano::new(months.parse().ok()?, days.parse().ok()?, nanos.parse().ok()?);
    Some(ScalarValue::IntervalMonthDayNano(Some(interval)))
}
