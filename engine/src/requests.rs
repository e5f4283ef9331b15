//! One request of an asynchronous operator: asks until there is an answer or none is to be expected.
//!
//! What is unavailable, or does not answer in time, is asked again after a pause; what is at fault in itself is halved
//! until the rows at fault are alone. So what comes back is an answer for every row, or an error that ends the
//! pipeline. It keeps nothing beyond the request; `f` faulty rows of `n` cost `O(f log n)` further tries.

use crate::retry::Backoff;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use headwater_core::{Answer, AsyncOperator, Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Asks for all rows of a request.
pub(crate) async fn ask(
    operator: Arc<dyn AsyncOperator>,
    rows: RecordBatch,
    patience: Duration,
    mut backoff: Backoff,
) -> Result<Answer> {
    let mut parts = vec![(0, rows)];
    let mut answers: Vec<Answer> = Vec::new();
    let (mut of, mut failed) = (Vec::new(), Vec::new());
    while let Some((offset, part)) = parts.pop() {
        let n_rows = part.num_rows();
        match ask_for_part(operator.as_ref(), &part, patience, &mut backoff).await {
            Ok(answer) => {
                of.extend(answer.of.iter().map(|row| row + number(offset)));
                failed.extend(answer.failed.iter().map(|(row, error)| (row + number(offset), error.clone())));
                answers.push(answer);
            }
            Err(error) => match error.kind() {
                ErrorKind::Data if n_rows > 1 => {
                    let half = n_rows / 2;
                    parts.push((offset + half, part.slice(half, n_rows - half)));
                    parts.push((offset, part.slice(0, half)));
                }
                ErrorKind::Data | ErrorKind::Unavailable => {
                    failed.extend((offset..offset + n_rows).map(|row| (number(row), error.clone())));
                }
                ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Internal => {
                    return Err(error);
                }
            },
        }
    }
    let rows = match answers.as_slice() {
        [] => None,
        [only] => Some(only.rows.clone()),
        [first, ..] => Some(concat_batches(&first.rows.schema(), answers.iter().map(|answer| &answer.rows))?),
    };
    Ok(Answer {
        rows: rows.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))),
        of,
        failed,
    })
}

async fn ask_for_part(
    operator: &dyn AsyncOperator,
    rows: &RecordBatch,
    patience: Duration,
    backoff: &mut Backoff,
) -> Result<Answer> {
    loop {
        let error = match timeout(patience, operator.answer(rows.clone())).await {
            Ok(Ok(answer)) => {
                backoff.succeeded();
                check(&answer, rows.num_rows())?;
                return Ok(answer);
            }
            Ok(Err(error)) => error,
            Err(_) => Error::unavailable(format!("no answer within {patience:?}")),
        };
        match backoff.failed(error) {
            Ok(pause) => sleep(pause).await,
            Err(error) => {
                backoff.succeeded();
                return Err(error);
            }
        }
    }
}

/// Checks that an answer says for each of its rows which row of the request it is about.
fn check(answer: &Answer, n_rows: usize) -> Result<()> {
    let grows = answer.of.is_sorted() && answer.failed.is_sorted_by_key(|(row, _)| *row);
    let greatest = answer.of.last().max(answer.failed.last().map(|(row, _)| row));
    if grows && answer.of.len() == answer.rows.num_rows() && greatest.is_none_or(|row| (*row as usize) < n_rows) {
        return Ok(());
    }
    Err(Error::internal(format!("an answer of {} rows does not fit its request of {n_rows}", answer.rows.num_rows())))
}

fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
