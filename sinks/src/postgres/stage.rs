//! Rows on their way into staging by COPY, inside the caller's transaction. Where the server refuses a block for its
//! data, it is halved until the rows at fault are alone. No state.

use super::PostgresSpec;
use super::encode::Cells;
use super::failure::{is_data, words};
use super::merge::{DIFF, PART, SEQ};
use super::schema::{Target, names};
use bytes::Bytes;
use futures::SinkExt;
use headwater_core::{Batch, Result};
use std::ops::Range;
use std::pin::pin;
use tokio_postgres::{Client, CopyInSink, Error as PgError};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: &[u8] = &[0xff, 0xff];

/// Rows as COPY takes them, and those that no column could hold.
pub(super) struct Encoded {
    bytes: Bytes,
    /// Where the rows end.
    ends: Vec<usize>,
    /// Which row of the batch each one is.
    rows: Vec<usize>,
    /// Rows of the batch that cannot be written, and why.
    pub(super) refused: Vec<(usize, String)>,
}

/// Writes the rows of a batch with their part and sequence numbers, which start at `seq`.
pub(super) fn encode(spec: &PostgresSpec, target: &Target, batch: &Batch, part: i64, seq: i64) -> Result<Encoded> {
    let fields = spec.schema.fields().iter().zip(batch.rows.columns()).zip(&target.shapes);
    let cells: Vec<Cells> =
        fields.map(|((field, column), shape)| Cells::new(field, column, shape)).collect::<Result<_>>()?;
    let n_fields = i16::try_from(cells.len() + 3).unwrap_or(i16::MAX).to_be_bytes();
    let (mut out, mut ends, mut rows, mut refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..batch.n_rows() {
        let start = out.len();
        out.extend_from_slice(&n_fields);
        let place = i64::try_from(row).unwrap_or(i64::MAX);
        for number in [part, seq.saturating_add(place), batch.diff(row)] {
            out.extend_from_slice(&8_i32.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
        }
        match cells.iter().try_for_each(|cells| cells.append(row, &mut out)) {
            Ok(()) => {
                ends.push(out.len());
                rows.push(row);
            }
            Err(message) => {
                out.truncate(start);
                refused.push((row, message));
            }
        }
    }
    Ok(Encoded { bytes: out.into(), ends, rows, refused })
}

impl Encoded {
    fn slice(&self, range: &Range<usize>) -> Bytes {
        let start = if range.start == 0 { 0 } else { self.ends[range.start - 1] };
        let end = if range.end == 0 { 0 } else { self.ends[range.end - 1] };
        self.bytes.slice(start..end)
    }

    /// Copies all rows into `staging`; returns how many went in. Those that the server refused are added to `refused`.
    pub(super) async fn copy(&mut self, client: &Client, spec: &PostgresSpec, staging: &str) -> Result<u64, PgError> {
        let columns: Vec<usize> = (0..spec.schema.fields().len()).collect();
        let comma = if columns.is_empty() { "" } else { ", " };
        let copy = format!(
            "COPY {staging} ({PART}, {SEQ}, {DIFF}{comma}{}) FROM STDIN (FORMAT binary)",
            names(spec, &columns)
        );
        let mut n_copied = 0;
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..self.ends.len()).collect();
        while let Some(range) = ranges.pop() {
            if range.is_empty() {
                continue;
            }
            client.batch_execute("SAVEPOINT block").await?;
            match send(client, &copy, self.slice(&range)).await {
                Ok(n) => {
                    n_copied += n;
                    client.batch_execute("RELEASE SAVEPOINT block").await?;
                }
                Err(error) if is_data(&error) => {
                    client.batch_execute("ROLLBACK TO SAVEPOINT block; RELEASE SAVEPOINT block").await?;
                    if range.len() == 1 {
                        self.refused.push((self.rows[range.start], words(&error)));
                    } else {
                        let middle = range.start + range.len() / 2;
                        ranges.extend([middle..range.end, range.start..middle]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(n_copied)
    }
}

async fn send(client: &Client, copy: &str, rows: Bytes) -> Result<u64, PgError> {
    let sink: CopyInSink<Bytes> = client.copy_in(copy).await?;
    let mut sink = pin!(sink);
    for piece in [Bytes::from_static(SIGNATURE), rows, Bytes::from_static(END)] {
        sink.send(piece).await?;
    }
    sink.finish().await
}
