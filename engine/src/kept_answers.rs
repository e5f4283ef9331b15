//! What an asynchronous operator answered for the rows of a changing input, kept for as long as the row is there: a
//! row that is taken back must take back exactly what it brought, whatever the store would answer by then.
//!
//! It is a multiset of rows, each with one answer; a row that comes a second time gets the answer of the first. Nothing
//! bounds it but the number of different rows of the input. It never asks anybody.

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use headwater_core::{Answer, Batch, Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

/// The answers of the rows that are there.
pub(crate) struct KeptAnswers {
    rows: RowConverter,
    answers: RowConverter,
    schema: SchemaRef,
    kept: HashMap<Box<[u8]>, Kept>,
}

struct Kept {
    /// How often the row is there; never zero.
    n: i64,
    outcome: Outcome,
}

/// What came back for a row, once it has: its result rows, or why there are none.
type Outcome = Arc<OnceLock<Result<Vec<Box<[u8]>>>>>;

/// Rows of a batch, each with its answer.
pub(crate) struct Looked {
    outcomes: Vec<Outcome>,
    /// Those of them that have to be asked for.
    asked: Vec<Outcome>,
    /// The rows to ask for; `None` where all are known.
    pub(crate) request: Option<RecordBatch>,
}

impl KeptAnswers {
    /// Makes an empty store for rows and answers of these schemas.
    pub(crate) fn new(rows: &SchemaRef, answers: &SchemaRef) -> Result<Self> {
        Ok(Self { rows: converter(rows)?, answers: converter(answers)?, schema: answers.clone(), kept: HashMap::new() })
    }

    /// Counts the rows of a batch in and out, and says for which of them nothing is known yet.
    pub(crate) fn look(&mut self, batch: &Batch) -> Result<Looked> {
        let encoded = self.rows.convert_columns(batch.rows.columns())?;
        let mut outcomes = Vec::with_capacity(batch.n_rows());
        let (mut asked, mut numbers) = (Vec::new(), Vec::new());
        for (number, row) in (0_u32..).zip(&encoded) {
            let diff = batch.diff(number as usize);
            let key: Box<[u8]> = row.data().into();
            match self.kept.entry(key) {
                Entry::Occupied(mut entry) => {
                    outcomes.push(entry.get().outcome.clone());
                    entry.get_mut().n += diff;
                    if entry.get().n == 0 {
                        entry.remove();
                    }
                }
                Entry::Vacant(entry) => {
                    let outcome = Outcome::default();
                    entry.insert(Kept { n: diff, outcome: outcome.clone() });
                    outcomes.push(outcome.clone());
                    asked.push(outcome);
                    numbers.push(number);
                }
            }
        }
        let request = match numbers.len() {
            0 => None,
            _ => Some(take_record_batch(&batch.rows, &UInt32Array::from(numbers))?),
        };
        Ok(Looked { outcomes, asked, request })
    }

    /// Keeps what came back for the rows that were asked for.
    pub(crate) fn keep(&self, looked: &Looked, answer: &Answer) -> Result<()> {
        let encoded =
            if answer.of.is_empty() { None } else { Some(self.answers.convert_columns(answer.rows.columns())?) };
        let mut results: Vec<Result<Vec<Box<[u8]>>>> = vec![Ok(Vec::new()); looked.asked.len()];
        for (row, of) in answer.of.iter().enumerate() {
            if let (Some(encoded), Ok(rows)) = (&encoded, &mut results[*of as usize]) {
                rows.push(encoded.row(row).data().into());
            }
        }
        for (row, error) in &answer.failed {
            results[*row as usize] = Err(error.clone());
        }
        for (outcome, result) in looked.asked.iter().zip(results) {
            if outcome.set(result).is_err() {
                return Err(Error::internal("a row was answered twice"));
            }
        }
        Ok(())
    }

    /// Lays the answers of a batch out as changes, and returns the rows that failed with them.
    pub(crate) fn changes(&self, batch: &Batch, looked: &Looked) -> Result<(Batch, Vec<(u32, Error)>)> {
        let parser = self.answers.parser();
        let (mut rows, mut diffs, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (number, outcome) in (0_u32..).zip(&looked.outcomes) {
            let diff = batch.diff(number as usize);
            match outcome.get() {
                Some(Ok(answer)) => {
                    rows.extend(answer.iter().map(|row| parser.parse(row)));
                    diffs.extend(answer.iter().map(|_| diff));
                }
                // The row itself is among the dead letters already when it is taken back.
                Some(Err(error)) if diff > 0 => failed.push((number, error.clone())),
                Some(Err(_)) => {}
                None => return Err(Error::internal("a row was passed on before its answer")),
            }
        }
        let columns = self.answers.convert_rows(rows)?;
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok((Batch::changing(rows, Int64Array::from(diffs))?, failed))
    }
}

fn converter(schema: &SchemaRef) -> Result<RowConverter> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    RowConverter::new(fields).map_err(|error| {
        let error = Error::invalid(format!("rows that are taken back cannot be kept here: {error}"));
        error.with_help("leave out columns of maps and unions before this step")
    })
}
