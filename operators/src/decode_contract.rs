//! Decodes raw records into the rows of an event contract. Every record becomes a row or a dead letter, never neither;
//! there is no state, and nothing is bigger than the batch that came in.

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use headwater_contracts::{Contract, Decoded};
use headwater_core::{Batch, Error, Operator, OperatorSpec, Output, Result, TaskContext};

/// Turns rows of `value: Binary, position: Utf8` into rows of a contract.
#[derive(Debug, Clone)]
pub struct DecodeContract {
    contract: &'static Contract,
    source: String,
}

impl DecodeContract {
    /// Makes it for a contract of the catalogue; `source` is the name that dead letters give to where records come from.
    #[must_use]
    pub fn new(contract: &'static Contract, source: impl Into<String>) -> Self {
        Self { contract, source: source.into() }
    }
}

impl OperatorSpec for DecodeContract {
    fn describe(&self) -> String {
        format!("decode contract {} {}", self.contract.event_type(), self.contract.version())
    }

    fn schema(&self) -> SchemaRef {
        self.contract.schema()
    }

    fn build(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for DecodeContract {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let (values, positions) = raw_columns(&batch.rows)?;
        let Decoded { rows, dead_letters } = self.contract.decode(values, positions, &self.source)?;
        for letter in dead_letters {
            out.dead_letter(letter);
        }
        out.emit(Batch::append_only(rows));
        Ok(())
    }
}

fn raw_columns(rows: &RecordBatch) -> Result<(&arrow::array::BinaryArray, &StringArray)> {
    let values = rows.column_by_name("value").and_then(|column| column.as_binary_opt());
    let positions = rows.column_by_name("position").and_then(|column| column.as_string_opt());
    values.zip(positions).ok_or_else(|| Error::internal("raw records are rows of value: Binary and position: Utf8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;
    use arrow::array::BinaryArray;
    use headwater_core::Message;
    use std::sync::Arc;

    #[test]
    fn every_record_becomes_a_row_or_a_dead_letter() {
        let good = br#"{"type":"buddy.feedback.submitted","data":{},"metadata":{}}"#;
        let values = BinaryArray::from_iter_values([good.as_slice(), b"{", b""]);
        let positions = StringArray::from_iter_values(["a:0", "a:59", "a:60"]);
        let columns: Vec<(&str, arrow::array::ArrayRef)> =
            vec![("value", Arc::new(values)), ("position", Arc::new(positions))];
        let rows = RecordBatch::try_from_iter(columns).expect("two columns");
        let contract = headwater_contracts::find("buddy.feedback.submitted").expect("a contract");
        let spec = DecodeContract::new(contract, "inbox");
        assert_eq!(spec.describe(), format!("decode contract buddy.feedback.submitted {}", contract.version()));
        let mut out = Output::default();
        let mut operator = spec.build(&context()).expect("it builds");
        operator.on_batch(0, Batch::append_only(rows), &mut out).expect("a good batch");
        let letters = out.take_dead_letters();
        let n_rows = |message: &Message| match message {
            Message::Batch(batch) => batch.n_rows(),
            other => panic!("unexpected {other:?}"),
        };
        let rows: usize = out.take_messages().iter().map(n_rows).sum();
        assert_eq!(rows + letters.len(), 3);
        let undecodable: Vec<&str> = letters.iter().skip(1).map(|letter| letter.position.as_str()).collect();
        assert_eq!(undecodable, ["a:59", "a:60"]);
        assert!(letters.iter().all(|letter| letter.source == "inbox"));
    }

    #[test]
    fn rows_of_another_shape_are_a_fault_of_the_plan() {
        let rows = RecordBatch::try_from_iter([("x", crate::testing::ints([1]))]).expect("a column");
        let contract = &headwater_contracts::catalog()[0];
        let mut operator = DecodeContract::new(contract, "t").build(&context()).expect("it builds");
        let error = operator.on_batch(0, Batch::append_only(rows), &mut Output::default()).expect_err("no records");
        assert_eq!(error.to_string(), "raw records are rows of value: Binary and position: Utf8");
    }
}
