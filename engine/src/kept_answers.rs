//! What an asynchronous operator answered for the rows of a changing input, kept for as long as the row is there: a
//! row that is taken back must take back exactly what it brought, whatever the store would answer by then.
//!
//! It is a multiset of rows, each with one answer; a row that comes a second time gets the answer of the first. Nothing
//! bounds it but the number of different rows of the input. It never asks anybody.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use headwater_core::{Answer, Batch, Error, Result, Route, Snapshot, StateTable};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

/// The tables of the state: the rows, each with how often it is there and why it has no answer, and their answers.
const ROWS: &str = "rows";
const ANSWERS: &str = "answers";

/// The answers of the rows that are there.
pub(crate) struct KeptAnswers {
    rows: RowConverter,
    row_schema: SchemaRef,
    answers: RowConverter,
    schema: SchemaRef,
    kept: HashMap<Box<[u8]>, Kept>,
    /// The columns by which rows find their subtask.
    route: Vec<usize>,
    /// Rows that have changed since the last snapshot, with whether that has them; `None` before there is one.
    changed: Option<HashMap<Box<[u8]>, bool>>,
    /// Answers that are being taken over, until all of them have come.
    restoring: HashMap<Box<[u8]>, Vec<Box<[u8]>>>,
}

struct Kept {
    /// How often the row is there; never zero.
    n: i64,
    outcome: Outcome,
    /// A snapshot has its answer.
    is_stored: bool,
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
    /// Makes an empty store for rows and answers of these schemas. Rows find their subtask by the columns `route`.
    pub(crate) fn new(rows: &SchemaRef, answers: &SchemaRef, route: &[usize]) -> Result<Self> {
        Ok(Self {
            rows: converter(rows)?,
            row_schema: rows.clone(),
            answers: converter(answers)?,
            schema: answers.clone(),
            kept: HashMap::new(),
            route: route.to_vec(),
            changed: None,
            restoring: HashMap::new(),
        })
    }

    /// Counts the rows of a batch in and out, and says for which of them nothing is known yet.
    pub(crate) fn look(&mut self, batch: &Batch) -> Result<Looked> {
        let encoded = self.rows.convert_columns(batch.rows.columns())?;
        let mut outcomes = Vec::with_capacity(batch.n_rows());
        let (mut asked, mut numbers) = (Vec::new(), Vec::new());
        for (number, row) in (0_u32..).zip(&encoded) {
            let diff = batch.diff(number as usize);
            let key: Box<[u8]> = row.data().into();
            if let Some(changed) = &mut self.changed {
                let is_stored = || self.kept.get(&key).is_some_and(|kept| kept.is_stored);
                changed.entry(key.clone()).or_insert_with(is_stored);
            }
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
                    entry.insert(Kept { n: diff, outcome: outcome.clone(), is_stored: false });
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

    /// Returns what has changed since the last call. It is called when every row has its answer.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot> {
        let changed: Vec<(Box<[u8]>, bool)> = match self.changed.replace(HashMap::new()) {
            Some(changed) => changed.into_iter().collect(),
            None => self.kept.keys().map(|key| (key.clone(), false)).collect(),
        };
        let mut rows = Changes::default();
        let (mut counts, mut errors) = (Vec::new(), Vec::new());
        let mut answers = Changes::default();
        let mut answered: Vec<Box<[u8]>> = Vec::new();
        for (key, was_stored) in &changed {
            let Some(kept) = self.kept.get_mut(key) else {
                if *was_stored {
                    rows.gone.push(key);
                    answers.gone.push(key);
                }
                continue;
            };
            let outcome = kept.outcome.get().ok_or_else(|| Error::internal("a snapshot before all answers"))?;
            rows.there.push(key);
            counts.push(kept.n);
            errors.push(outcome.as_ref().err().map(ToString::to_string));
            // What is stored stays as it is for as long as the row is there.
            if !std::mem::replace(&mut kept.is_stored, true) {
                match outcome {
                    Ok(of_row) if !of_row.is_empty() => {
                        answers.there.extend(std::iter::repeat_n(&**key, of_row.len()));
                        answered.extend(of_row.iter().cloned());
                    }
                    Ok(_) | Err(_) if *was_stored => answers.gone.push(key),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        let more: [(&str, ArrayRef); 2] =
            [("multiplicity", Arc::new(Int64Array::from(counts))), ("error", Arc::new(StringArray::from(errors)))];
        let rows = self.table(ROWS, &rows, more)?;
        let answered = decode(&self.answers, &self.schema, answered.iter().map(AsRef::as_ref))?;
        let more = self.schema.fields().iter().map(|field| field.name().as_str()).zip(answered);
        let answers = self.table(ANSWERS, &answers, more)?;
        Ok(Snapshot { tables: rows.into_iter().chain(answers).collect() })
    }

    fn table<'a>(
        &'a self,
        name: &'static str,
        changes: &Changes<'_>,
        more: impl IntoIterator<Item = (&'a str, ArrayRef)>,
    ) -> Result<Option<StateTable>> {
        if changes.there.is_empty() && changes.gone.is_empty() {
            return Ok(None);
        }
        let names = || self.row_schema.fields().iter().map(|field| field.name().as_str());
        let keys = decode(&self.rows, &self.row_schema, changes.there.iter().copied())?;
        let rows = columns(names().zip(keys).chain(more))?;
        let gone = decode(&self.rows, &self.row_schema, changes.gone.iter().copied())?;
        let removed = if changes.gone.is_empty() { None } else { Some(columns(names().zip(gone))?) };
        let key = (0..self.row_schema.fields().len()).collect();
        Ok(Some(StateTable { name, key, route: Route::Key(self.route.clone()), rows, removed }))
    }

    /// Takes over rows of a table of earlier snapshots.
    pub(crate) fn restore(&mut self, table: &str, rows: &RecordBatch) -> Result<()> {
        self.changed.get_or_insert_default();
        let n_key = self.row_schema.fields().len();
        match table {
            ROWS => {
                let more = [DataType::Int64, DataType::Utf8];
                let stored = stored(table, rows, types(&self.row_schema).chain(&more))?;
                let wrong = || Error::data(format!("the table '{table}' of the state has other columns"));
                let counts = stored[n_key].as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
                let errors = stored[n_key + 1].as_string_opt::<i32>().ok_or_else(wrong)?;
                for (row, key) in self.rows.convert_columns(&stored[..n_key])?.iter().enumerate() {
                    let outcome = match errors.is_valid(row) {
                        true => Outcome::new(OnceLock::from(Err(Error::data(errors.value(row))))),
                        false => Outcome::default(),
                    };
                    self.kept.insert(key.data().into(), Kept { n: counts.value(row), outcome, is_stored: true });
                }
            }
            ANSWERS => {
                let stored = stored(table, rows, types(&self.row_schema).chain(types(&self.schema)))?;
                let keys = self.rows.convert_columns(&stored[..n_key])?;
                for (key, answer) in keys.iter().zip(&self.answers.convert_columns(&stored[n_key..])?) {
                    self.restoring.entry(key.data().into()).or_default().push(answer.data().into());
                }
            }
            other => return Err(Error::data(format!("answers are not kept in a table '{other}'"))),
        }
        Ok(())
    }

    /// Puts together what was taken over.
    pub(crate) fn restore_end(&mut self) -> Result<()> {
        let mut answers = std::mem::take(&mut self.restoring);
        for (key, kept) in &self.kept {
            // A row that failed has its outcome already, and no answers.
            kept.outcome.get_or_init(|| Ok(answers.remove(key).unwrap_or_default()));
        }
        if answers.is_empty() { Ok(()) } else { Err(Error::data("the state has answers of rows that are not there")) }
    }
}

/// Keys of a table that have rows, once for each, and keys that have none any more.
#[derive(Default)]
struct Changes<'a> {
    there: Vec<&'a [u8]>,
    gone: Vec<&'a [u8]>,
}

fn types(schema: &SchemaRef) -> impl Iterator<Item = &DataType> {
    schema.fields().iter().map(|field| field.data_type())
}

fn decode<'a>(
    converter: &RowConverter,
    schema: &SchemaRef,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    let parser = converter.parser();
    let columns = converter.convert_rows(rows.map(|row| parser.parse(row)))?;
    // Dictionaries come back as their values.
    columns.iter().zip(types(schema)).map(|(column, wanted)| Ok(cast(column, wanted)?)).collect()
}

fn columns<'a>(named: impl Iterator<Item = (&'a str, ArrayRef)>) -> Result<RecordBatch> {
    let (names, columns): (Vec<&str>, Vec<ArrayRef>) = named.unzip();
    let field = |(name, column): (&&str, &ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(names.iter().zip(&columns).map(field).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// Returns the columns of a stored table as the types that are expected.
fn stored<'a>(table: &str, rows: &RecordBatch, types: impl Iterator<Item = &'a DataType>) -> Result<Vec<ArrayRef>> {
    let types: Vec<&DataType> = types.collect();
    if types.len() != rows.num_columns() {
        let (n, expected) = (rows.num_columns(), types.len());
        return Err(Error::data(format!("the table '{table}' of the state has {n} columns, {expected} are expected")));
    }
    rows.columns().iter().zip(types).map(|(column, wanted)| Ok(cast(column, wanted)?)).collect()
}

fn converter(schema: &SchemaRef) -> Result<RowConverter> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    RowConverter::new(fields).map_err(|error| {
        let error = Error::invalid(format!("rows that are taken back cannot be kept here: {error}"));
        error.with_help("leave out columns of maps and unions before this step")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::{numbers, values};

    /// Asks for rows of a batch; each number has so many answers, and 9 fails.
    fn ask(kept: &mut KeptAnswers, rows: &[(i64, i64)]) -> (Vec<(i64, i64)>, usize) {
        let diffs = Int64Array::from_iter_values(rows.iter().map(|(_, diff)| *diff));
        let batch = Batch::changing(numbers(rows.iter().map(|(number, _)| *number)), diffs).unwrap();
        let looked = kept.look(&batch).unwrap();
        if let Some(request) = &looked.request {
            let asked = values(request);
            let failed = (0..asked.len()).filter(|row| asked[*row] == 9);
            let failed = failed.map(|row| (row as u32, Error::unavailable("no answer").with_help("ask later")));
            let answers = asked.iter().enumerate().filter(|(_, n)| **n < 9);
            let answers = answers.flat_map(|(row, n)| (0..*n).map(move |answer| (row as u32, 10 * n + answer)));
            let (of, answers): (Vec<u32>, Vec<i64>) = answers.unzip();
            kept.keep(&looked, &Answer { rows: numbers(answers), of, failed: failed.collect() }).unwrap();
        }
        let (changes, failed) = kept.changes(&batch, &looked).unwrap();
        let mut shown: Vec<(i64, i64)> =
            values(&changes.rows).into_iter().enumerate().map(|(row, value)| (value, changes.diff(row))).collect();
        shown.sort_unstable();
        assert!(failed.iter().all(|(_, error)| error.to_string() == "no answer\nhelp: ask later"));
        (shown, failed.len())
    }

    fn empty() -> KeptAnswers {
        let schema = numbers([]).schema();
        KeptAnswers::new(&schema, &schema, &[0]).unwrap()
    }

    fn shown(snapshot: &Snapshot) -> Vec<(&'static str, Vec<i64>, usize)> {
        let table = |table: &StateTable| {
            let mut rows = values(&table.rows);
            rows.sort_unstable();
            (table.name, rows, table.removed.as_ref().map_or(0, RecordBatch::num_rows))
        };
        snapshot.tables.iter().map(table).collect()
    }

    #[test]
    fn what_was_answered_before_a_restart_is_taken_back_after_it() {
        let mut kept = empty();
        ask(&mut kept, &[(0, 1), (1, 2), (2, 1), (9, 1)]);
        let first = kept.snapshot().unwrap();
        assert_eq!(shown(&first), [("rows", vec![0, 1, 2, 9], 0), ("answers", vec![1, 2, 2], 0)]);
        let mut after = empty();
        // Answers may come before their rows.
        for table in first.tables.iter().rev() {
            after.restore(table.name, &table.rows).unwrap();
        }
        after.restore_end().unwrap();
        assert!(after.snapshot().unwrap().tables.is_empty());
        assert_eq!(ask(&mut after, &[(1, -1), (9, 1), (0, 1)]), (vec![(10, -1)], 1));
        assert_eq!(ask(&mut after, &[(2, -1), (1, -1)]), (vec![(10, -1), (20, -1), (21, -1)], 0));
        assert_eq!(shown(&after.snapshot().unwrap()), [("rows", vec![0, 9], 2), ("answers", vec![], 2)]);
    }

    #[test]
    fn a_snapshot_has_what_changed_and_answers_once() {
        let mut kept = empty();
        ask(&mut kept, &[(1, 1), (2, 1), (3, 1)]);
        kept.snapshot().unwrap();
        ask(&mut kept, &[(1, 1), (4, 1), (5, 1), (5, -1)]);
        assert_eq!(shown(&kept.snapshot().unwrap()), [("rows", vec![1, 4], 0), ("answers", vec![4; 4], 0)]);
        // A row that goes and comes again is asked for again.
        ask(&mut kept, &[(3, -1), (3, 1)]);
        assert_eq!(shown(&kept.snapshot().unwrap()), [("rows", vec![3], 0), ("answers", vec![3; 3], 0)]);
        assert!(kept.snapshot().unwrap().tables.is_empty());
    }
}
