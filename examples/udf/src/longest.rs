//! `longest(text)`: DataFusion's kind of aggregate function. Its state is one text, and it cannot take a text back;
//! it need not, because over changes the engine gives the texts that are left to a new accumulator.

use headwater_sql::datafusion::arrow::array::{ArrayRef, AsArray};
use headwater_sql::datafusion::arrow::datatypes::DataType;
use headwater_sql::datafusion::common::{Result, ScalarValue};
use headwater_sql::datafusion::logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf};
use std::sync::Arc;

/// Makes the function.
#[must_use]
pub fn longest() -> AggregateUDF {
    create_udaf(
        "longest",
        vec![DataType::Utf8],
        Arc::new(DataType::Utf8),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<Longest>::default())),
        Arc::new(vec![DataType::Utf8]),
    )
}

/// The longest text so far; of two that are equally long the first in the alphabet.
#[derive(Debug, Default)]
struct Longest {
    text: Option<String>,
}

impl Accumulator for Longest {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let key = |text: &str| (std::cmp::Reverse(text.chars().count()), text.to_owned());
        let given = columns[0].as_string::<i32>().iter().flatten();
        let best = given.chain(self.text.as_deref()).min_by_key(|text| key(text)).map(str::to_owned);
        self.text = best;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8(self.text.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.text.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
