//! Looks at the event time of rows as they leave a source: which rows may go on, and how far they move the watermark.
//!
//! A row without event time, or with one too far ahead of the wall clock, is a dead letter and moves nothing: one
//! wrong clock must not close everybody's windows. It is pure; when all rows are good it copies none.
//!
//! Of a batch of changes no row is held back, because its deletion may come at a time when the same row would pass:
//! then something would be taken back that never came. Deletions, and rows too far ahead, only move nothing.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute;
use arrow::datatypes::TimestampNanosecondType;
use arrow::json::LineDelimitedWriter;
use headwater_core::{Batch, DeadLetter, Error, EventTime, EventTimeSpec, Reason, Result};

/// The columns in which sources say where a row was, the first that there is.
const POSITION_COLUMNS: [&str; 2] = ["_position", "position"];

/// What is left of a batch.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The rows that may go on.
    pub(crate) batch: Batch,
    /// The others.
    pub(crate) letters: Vec<DeadLetter>,
    /// The greatest watermark that the rows allow; `None` when no row says anything.
    pub(crate) watermark: Option<EventTime>,
}

/// Splits a batch of `source` into rows that may go on and dead letters; `latest` is the greatest event time allowed.
pub(crate) fn check(spec: &dyn EventTimeSpec, batch: Batch, latest: EventTime, source: &str) -> Result<Checked> {
    if batch.diffs.is_some() {
        return Ok(Checked { watermark: watermark_of_changes(spec, &batch, latest)?, batch, letters: Vec::new() });
    }
    let times = spec.event_time(&batch.rows)?;
    let times = nanoseconds(times.as_ref(), &batch, spec)?;
    let all_good = times.null_count() == 0 && compute::max(times).is_none_or(|time| time <= latest.0);
    if all_good {
        let watermark = watermark(spec, &batch)?;
        return Ok(Checked { batch, letters: Vec::new(), watermark });
    }
    let good = |time: Option<i64>| time.is_some_and(|time| time <= latest.0);
    let keep: BooleanArray = times.iter().map(|time| Some(good(time))).collect();
    let bad = batch.filter(&compute::not(&keep)?)?;
    let bad_times = times.iter().filter(|time| !good(*time));
    let letters = payloads(&bad.rows)?
        .into_iter()
        .zip(positions(&bad.rows))
        .zip(bad_times)
        .map(|((payload, position), time)| {
            let (reason, message) = fault(spec, latest, time);
            DeadLetter { reason, message, path: String::new(), source: source.to_owned(), position, payload }
        })
        .collect();
    let batch = batch.filter(&keep)?;
    let watermark = watermark(spec, &batch)?;
    Ok(Checked { batch, letters, watermark })
}

/// Returns the greatest watermark that insertions allow which are not too far ahead.
fn watermark_of_changes(spec: &dyn EventTimeSpec, batch: &Batch, latest: EventTime) -> Result<Option<EventTime>> {
    let times = spec.event_time(&batch.rows)?;
    let times = nanoseconds(times.as_ref(), batch, spec)?;
    let moves = |(row, time): (usize, Option<i64>)| batch.diff(row) > 0 && time.is_some_and(|time| time <= latest.0);
    let moving: BooleanArray = times.iter().enumerate().map(|change| Some(moves(change))).collect();
    if moving.true_count() == 0 {
        return Ok(None);
    }
    watermark(spec, &batch.filter(&moving)?)
}

fn watermark(spec: &dyn EventTimeSpec, batch: &Batch) -> Result<Option<EventTime>> {
    if batch.is_empty() {
        return Ok(None);
    }
    let allowed = spec.watermark(&batch.rows)?;
    Ok(compute::max(nanoseconds(allowed.as_ref(), batch, spec)?).map(EventTime))
}

fn nanoseconds<'a>(
    array: &'a dyn Array,
    batch: &Batch,
    spec: &dyn EventTimeSpec,
) -> Result<&'a TimestampNanosecondArray> {
    let times = array.as_primitive_opt::<TimestampNanosecondType>().filter(|times| times.len() == batch.n_rows());
    times.ok_or_else(|| {
        let found = format!("{} values of {}", array.len(), array.data_type());
        Error::internal(format!("{}: {found} for {} rows", spec.describe(), batch.n_rows()))
    })
}

/// Says what is wrong with the event time of a row.
fn fault(spec: &dyn EventTimeSpec, latest: EventTime, time: Option<i64>) -> (Reason, String) {
    match time {
        None => (Reason::MissingField, format!("the event time is null ({})", spec.describe())),
        Some(time) => {
            (Reason::Ahead, format!("the event time {} is after {latest}, the latest allowed now", EventTime(time)))
        }
    }
}

/// Returns each row as one JSON object.
pub(crate) fn payloads(rows: &RecordBatch) -> Result<Vec<String>> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).map_err(|error| Error::internal(error.to_string()))?;
    // JSON escapes line breaks inside of strings, so each line is one row.
    Ok(text.lines().map(str::to_owned).collect())
}

/// Returns where each row was, as far as it says.
pub(crate) fn positions(rows: &RecordBatch) -> Vec<String> {
    let column = POSITION_COLUMNS.iter().find_map(|name| rows.column_by_name(name)?.as_string_opt::<i32>());
    match column {
        Some(texts) => texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect(),
        None => vec![String::new(); rows.num_rows()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::{EventTimeOfColumn, timed};

    #[test]
    fn good_rows_pass_and_move_the_watermark() {
        let batch = Batch::append_only(timed(&[(1, Some(10)), (2, Some(30)), (3, Some(20))]));
        let checked = check(&EventTimeOfColumn { delay: 5 }, batch.clone(), EventTime(30), "s").unwrap();
        assert_eq!(checked.batch, batch);
        assert_eq!((checked.letters.len(), checked.watermark), (0, Some(EventTime(25))));
    }

    #[test]
    fn rows_without_or_ahead_of_time_are_dead_letters_and_move_nothing() {
        let batch = Batch::append_only(timed(&[(1, Some(10)), (2, None), (3, Some(31))]));
        let checked = check(&EventTimeOfColumn { delay: 5 }, batch, EventTime(30), "s").unwrap();
        assert_eq!(checked.batch.rows, timed(&[(1, Some(10))]));
        assert_eq!(checked.watermark, Some(EventTime(5)));
        let seen: Vec<_> = checked.letters.iter().map(|l| (l.reason, l.source.as_str(), l.payload.as_str())).collect();
        let ahead = r#"{"n":3,"t":"1970-01-01T00:00:00.000000031"}"#;
        assert_eq!(seen, [(Reason::MissingField, "s", r#"{"n":2}"#), (Reason::Ahead, "s", ahead)]);
    }

    #[test]
    fn of_changes_no_row_is_held_back_and_only_insertions_move_the_watermark() {
        let rows = timed(&[(1, Some(10)), (2, Some(29)), (3, None), (4, Some(31))]);
        let batch = Batch::changing(rows, vec![1, -1, -1, 1].into()).unwrap();
        let checked = check(&EventTimeOfColumn { delay: 5 }, batch.clone(), EventTime(30), "s").unwrap();
        assert_eq!(checked.batch, batch);
        assert_eq!((checked.letters.len(), checked.watermark), (0, Some(EventTime(5))));
    }

    #[test]
    fn a_batch_of_nothing_but_bad_rows_says_nothing_about_time() {
        let batch = Batch::append_only(timed(&[(3, Some(31))]));
        let checked = check(&EventTimeOfColumn { delay: 5 }, batch, EventTime(30), "s").unwrap();
        assert!(checked.batch.is_empty() && checked.watermark.is_none());
    }
}
