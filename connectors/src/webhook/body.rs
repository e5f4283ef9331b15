//! Rows as bodies of requests. Pure.

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use headwater_core::{Batch, Error, Result, consolidate};
use std::ops::Range;

/// Seconds, and a fraction of three, six or nine digits when it is not zero, in UTC.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// What stands for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The row; insertions only.
    Rows,
    /// `{"before", "after", "op"}`: `c` for a row that comes, `d` for one that goes.
    Changes,
}

/// How rows are put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    pub(super) shape: Shape,
    pub(super) is_array: bool,
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

impl Body {
    /// Returns the media type.
    pub(super) fn media_type(&self) -> &'static str {
        if self.is_array { "application/json" } else { "application/x-ndjson" }
    }

    /// Returns one JSON value for each row of an epoch, or for each change of its net change.
    pub(super) fn values(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>> {
        let Some(first) = batches.first() else { return Ok(Vec::new()) };
        let all = Batch::concat(&first.schema(), batches)?;
        let net = if all.diffs.is_some() { consolidate(&all)? } else { all };
        let lines = lines(&net.rows)?;
        let mut values = Vec::with_capacity(lines.len());
        // What goes is told before what comes: of two rows of a key the newer one is then told last.
        for goes in [true, false] {
            for (row, line) in lines.iter().enumerate().filter(|(row, _)| (net.diff(*row) < 0) == goes) {
                let value = match self.shape {
                    Shape::Rows if goes => {
                        return Err(Error::internal("a deletion reached a webhook that holds insertions only"));
                    }
                    Shape::Rows => line.clone(),
                    Shape::Changes if goes => {
                        [&b"{\"before\":"[..], &line[..], b",\"after\":null,\"op\":\"d\"}"].concat()
                    }
                    Shape::Changes => [&b"{\"before\":null,\"after\":"[..], &line[..], b",\"op\":\"c\"}"].concat(),
                };
                for _ in 0..net.diff(row).unsigned_abs() {
                    values.push(value.clone());
                }
            }
        }
        Ok(values)
    }

    /// Cuts values into requests; one that is too long alone has a request of its own.
    pub(super) fn requests(&self, values: &[Vec<u8>]) -> Vec<Range<usize>> {
        let mut requests = Vec::new();
        let (mut start, mut n_bytes) = (0, self.n_frame());
        for (at, value) in values.iter().enumerate() {
            let n_more = value.len() + 1;
            if at > start && (at - start >= self.rows_max || n_bytes + n_more > self.bytes_max) {
                requests.push(start..at);
                (start, n_bytes) = (at, self.n_frame());
            }
            n_bytes += n_more;
        }
        if start < values.len() {
            requests.push(start..values.len());
        }
        requests
    }

    fn n_frame(&self) -> usize {
        usize::from(self.is_array)
    }

    /// Puts values together.
    pub(super) fn join(&self, values: &[Vec<u8>]) -> Vec<u8> {
        match self.is_array {
            true => [&b"["[..], &values.join(&b','), &b"]"[..]].concat(),
            false => values.iter().flat_map(|value| value.iter().chain(b"\n")).copied().collect(),
        }
    }
}

fn lines(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let mut text = Vec::new();
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP.into());
    let builder = builder.with_timestamp_tz_format("%Y-%m-%dT%H:%M:%S%.f%:z".into());
    let mut writer: LineDelimitedWriter<_> = builder.build::<_, LineDelimited>(&mut text);
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(text.split(|byte| *byte == b'\n').take(rows.num_rows()).map(<[u8]>::to_vec).collect())
}
