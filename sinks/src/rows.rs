//! Rows as text: JSON lines, Debezium JSON lines and CSV. Pure; timestamps are ISO 8601 in UTC with a `Z`.

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, UInt32Array};
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::{Field, Schema};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::row::{Row, RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_core::{Batch, Error, Options, Result, consolidate};
use std::collections::HashMap;
use std::sync::Arc;

/// Seconds, and a fraction of three, six or nine digits when it is not zero.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// One object a row; insertions only.
    Json,
    /// `{"before", "after", "op"}` a change: `c` for an insertion, `d` for a deletion, and `u` for a deletion that is
    /// followed by the insertion of a row with the same key.
    DebeziumJson,
    /// One line a row; insertions only.
    Csv {
        /// Whether a file starts with the names of the columns.
        header: bool,
        /// What separates fields.
        delimiter: u8,
    },
}

impl TextFormat {
    /// Reads the options of a text format.
    pub(crate) fn parse(name: &str, options: &Options) -> Result<Self> {
        Ok(match name {
            "csv" => Self::Csv {
                header: options.parse("csv.header", "true or false")?.unwrap_or(true),
                delimiter: match options.get("csv.delimiter").unwrap_or(",") {
                    "\\t" | "tab" => b'\t',
                    text if text.len() == 1 => text.as_bytes()[0],
                    text => return Err(Error::invalid(format!("the option csv.delimiter = '{text}' is no character"))),
                },
            },
            "debezium_json" => Self::DebeziumJson,
            _ => Self::Json,
        })
    }

    /// Whether a deletion can be written.
    pub(crate) fn holds_changes(self) -> bool {
        self == Self::DebeziumJson
    }

    /// Appends the rows as text; `key` are the columns that name a row, and `is_first` is whether nothing stands in the
    /// file yet.
    pub(crate) fn write(self, batch: &Batch, key: &[usize], is_first: bool, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Csv { header, delimiter } => {
                let builder = CsvBuilder::new().with_header(header && is_first).with_delimiter(delimiter);
                let builder = builder.with_timestamp_format(TIMESTAMP.into()).with_date_format("%Y-%m-%d".into());
                Ok(builder.build(out).write(&batch.rows)?)
            }
            Self::Json => json(&batch.rows, out),
            Self::DebeziumJson => debezium(batch, key, out),
        }
    }
}

/// Appends rows as JSON lines, with nulls.
pub(crate) fn json(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP.into());
    let builder = builder.with_timestamp_tz_format("%Y-%m-%dT%H:%M:%S%.f%:z".into());
    let mut writer: LineDelimitedWriter<_> = builder.build::<_, LineDelimited>(out);
    writer.write(rows)?;
    Ok(writer.finish()?)
}

/// Dates as `2026-01-31`, decimals with all their digits, and whatever else Arrow can show.
pub(crate) fn shown(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let text = |row| match column.is_null(row) {
        true => Ok(None),
        false => Ok(Some(formatter.value(row).try_to_string()?)),
    };
    (0..column.len()).map(text).collect()
}

/// Nested values as JSON.
pub(crate) fn nested(field: &Field, column: &ArrayRef) -> Result<Vec<Option<String>>> {
    const WRAPPED: &str = "v";
    let wrapped = Arc::new(field.clone().with_name(WRAPPED));
    let rows = RecordBatch::from(StructArray::from(vec![(wrapped.clone(), column.clone())]));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![wrapped])), rows.columns().to_vec())?;
    let mut lines = Vec::new();
    json(&rows, &mut lines)?;
    let n_before = format!("{{\"{WRAPPED}\":").len();
    let text = |(row, line): (usize, &[u8])| {
        let inner = line.get(n_before..line.len().saturating_sub(1)).filter(|_| !column.is_null(row));
        inner.map(|inner| String::from_utf8_lossy(inner).into_owned())
    };
    Ok(lines.split(|byte| *byte == b'\n').take(column.len()).enumerate().map(text).collect())
}

/// Returns the net change of an epoch in the order in which it is written: with a key, the deletion of a row stands
/// right before the insertion of the one that has its key.
pub(crate) fn net_change(batches: &[Batch], key: &[usize]) -> Result<Option<Batch>> {
    let Some(first) = batches.first() else { return Ok(None) };
    let all = Batch::concat(&first.schema(), batches)?;
    if all.diffs.is_none() {
        return Ok(Some(all));
    }
    let net = consolidate(&all)?;
    if key.is_empty() {
        return Ok(Some(net));
    }
    let keys = key_rows(&net, key)?;
    let mut places: HashMap<Row<'_>, usize> = HashMap::with_capacity(net.n_rows());
    let mut groups: Vec<Vec<u32>> = Vec::with_capacity(net.n_rows());
    for (row, key) in keys.iter().enumerate() {
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(u32::try_from(row).map_err(|_| Error::internal("an epoch of more than 2^32 rows"))?);
    }
    net.take(&UInt32Array::from(groups.concat())).map(Some)
}

pub(crate) fn key_rows(batch: &Batch, key: &[usize]) -> Result<Rows> {
    let columns: Vec<ArrayRef> = key.iter().map(|index| batch.rows.column(*index).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?.convert_columns(&columns)?)
}

fn debezium(batch: &Batch, key: &[usize], out: &mut Vec<u8>) -> Result<()> {
    let mut lines = Vec::new();
    json(&batch.rows, &mut lines)?;
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').take(batch.n_rows()).collect();
    let keys = if key.is_empty() { None } else { Some(key_rows(batch, key)?) };
    let mut row = 0;
    while let Some(line) = lines.get(row).copied() {
        let is_pair = |keys: &Rows| {
            row + 1 < lines.len()
                && (batch.diff(row), batch.diff(row + 1)) == (-1, 1)
                && keys.row(row) == keys.row(row + 1)
        };
        if keys.as_ref().is_some_and(is_pair) {
            change(line, lines[row + 1], "u", out);
            row += 2;
            continue;
        }
        let diff = batch.diff(row);
        for _ in 0..diff.unsigned_abs() {
            match diff > 0 {
                true => change(b"null", line, "c", out),
                false => change(line, b"null", "d", out),
            }
        }
        row += 1;
    }
    Ok(())
}

fn change(before: &[u8], after: &[u8], op: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"before\":");
    out.extend_from_slice(before);
    out.extend_from_slice(b",\"after\":");
    out.extend_from_slice(after);
    out.extend_from_slice(b",\"op\":\"");
    out.extend_from_slice(op.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Repeats rows of a multiplicity above one and refuses deletions.
pub(crate) fn insertions(batch: Batch, sink: &str) -> Result<RecordBatch> {
    let Some(diffs) = &batch.diffs else { return Ok(batch.rows) };
    if diffs.values().iter().any(|diff| *diff < 0) {
        return Err(Error::internal(format!("a deletion reached the sink '{sink}', which holds insertions only")));
    }
    let indices = diffs.values().iter().enumerate().flat_map(|(row, diff)| {
        std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), usize::try_from(*diff).unwrap_or(0))
    });
    let indices = UInt32Array::from(indices.collect::<Vec<u32>>());
    Ok(arrow::compute::take_record_batch(&batch.rows, &indices)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::tests::{batch, text};

    #[test]
    fn changes_are_written_as_debezium_objects() {
        let mut out = Vec::new();
        let rows = batch(&[(1, Some("a"), -1), (1, Some("b"), 1), (2, None, 2)]);
        TextFormat::DebeziumJson.write(&rows, &[], true, &mut out).expect("writes");
        let expected = "{\"before\":{\"id\":1,\"name\":\"a\"},\"after\":null,\"op\":\"d\"}\n\
             {\"before\":null,\"after\":{\"id\":1,\"name\":\"b\"},\"op\":\"c\"}\n\
             {\"before\":null,\"after\":{\"id\":2,\"name\":null},\"op\":\"c\"}\n\
             {\"before\":null,\"after\":{\"id\":2,\"name\":null},\"op\":\"c\"}\n";
        assert_eq!(text(&out), expected);
    }

    #[test]
    fn with_a_key_a_row_that_replaces_another_is_one_update() {
        let epoch = [
            batch(&[(1, Some("a"), 1), (2, Some("b"), -1), (3, Some("c"), -1)]),
            batch(&[(3, Some("d"), 1), (1, Some("a"), -1), (1, Some("e"), 1), (4, Some("f"), 1)]),
        ];
        let written = |key: &[usize]| {
            let net = net_change(&epoch, key).expect("has an order").expect("is not empty");
            let mut out = Vec::new();
            TextFormat::DebeziumJson.write(&net, key, true, &mut out).expect("writes");
            text(&out).to_owned()
        };
        let expected = "{\"before\":{\"id\":2,\"name\":\"b\"},\"after\":null,\"op\":\"d\"}\n\
             {\"before\":{\"id\":3,\"name\":\"c\"},\"after\":{\"id\":3,\"name\":\"d\"},\"op\":\"u\"}\n\
             {\"before\":null,\"after\":{\"id\":1,\"name\":\"e\"},\"op\":\"c\"}\n\
             {\"before\":null,\"after\":{\"id\":4,\"name\":\"f\"},\"op\":\"c\"}\n";
        assert_eq!(written(&[0]), expected);
        assert_eq!(written(&[]).matches("\"op\":\"u\"").count(), 0);
        assert_eq!(written(&[]).lines().count(), 5);
    }

    #[test]
    fn a_deletion_among_insertions_is_refused() {
        let error = insertions(batch(&[(1, None, -1)]), "t").expect_err("a deletion");
        assert_eq!(error.kind(), headwater_core::ErrorKind::Internal);
        assert_eq!(insertions(batch(&[(1, None, 3)]), "t").expect("insertions").num_rows(), 3);
    }
}
