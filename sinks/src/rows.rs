//! Rows as text: JSON lines, Debezium JSON lines and CSV. Pure; timestamps are ISO 8601 in UTC with a `Z`.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use headwater_core::{Batch, Error, Options, Result};

/// Seconds, and a fraction of three, six or nine digits when it is not zero.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// One object a row; insertions only.
    Json,
    /// `{"before", "after", "op"}` a change: `c` for an insertion, `d` for a deletion.
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

    /// Appends the rows as text; `is_first` is whether nothing stands in the file yet.
    pub(crate) fn write(self, batch: &Batch, is_first: bool, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Csv { header, delimiter } => {
                let builder = CsvBuilder::new().with_header(header && is_first).with_delimiter(delimiter);
                let builder = builder.with_timestamp_format(TIMESTAMP.into()).with_date_format("%Y-%m-%d".into());
                Ok(builder.build(out).write(&batch.rows)?)
            }
            Self::Json => json(&batch.rows, out),
            Self::DebeziumJson => debezium(batch, out),
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

fn debezium(batch: &Batch, out: &mut Vec<u8>) -> Result<()> {
    let mut lines = Vec::new();
    json(&batch.rows, &mut lines)?;
    for (row, line) in lines.split(|byte| *byte == b'\n').take(batch.n_rows()).enumerate() {
        let diff = batch.diff(row);
        for _ in 0..diff.unsigned_abs() {
            if diff > 0 {
                out.extend_from_slice(b"{\"before\":null,\"after\":");
                out.extend_from_slice(line);
                out.extend_from_slice(b",\"op\":\"c\"}\n");
            } else {
                out.extend_from_slice(b"{\"before\":");
                out.extend_from_slice(line);
                out.extend_from_slice(b",\"after\":null,\"op\":\"d\"}\n");
            }
        }
    }
    Ok(())
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
        TextFormat::DebeziumJson.write(&rows, true, &mut out).expect("writes");
        let expected = "{\"before\":{\"id\":1,\"name\":\"a\"},\"after\":null,\"op\":\"d\"}\n\
             {\"before\":null,\"after\":{\"id\":1,\"name\":\"b\"},\"op\":\"c\"}\n\
             {\"before\":null,\"after\":{\"id\":2,\"name\":null},\"op\":\"c\"}\n\
             {\"before\":null,\"after\":{\"id\":2,\"name\":null},\"op\":\"c\"}\n";
        assert_eq!(text(&out), expected);
    }

    #[test]
    fn a_deletion_among_insertions_is_refused() {
        let error = insertions(batch(&[(1, None, -1)]), "t").expect_err("a deletion");
        assert_eq!(error.kind(), headwater_core::ErrorKind::Internal);
        assert_eq!(insertions(batch(&[(1, None, 3)]), "t").expect("insertions").num_rows(), 3);
    }
}
