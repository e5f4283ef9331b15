//! `single_value(x)`: the only row of a group. It is what a scalar subquery that could give several rows is wrapped
//! into: none gives null, and several are a mistake of the query, as in a batch, that ends the pipeline. Its state is
//! one value and a count.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use headwater_core::Error;
use std::sync::Arc;

/// Returns the function.
#[must_use]
pub fn single_value() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(SingleValue { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        args.first().cloned().ok_or_else(|| DataFusionError::Plan("single_value takes one argument".to_owned()))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(Single { empty: value.clone(), value, n_rows: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = Field::new("value", args.return_field.data_type().clone(), true);
        Ok(vec![Arc::new(value), Arc::new(Field::new("n", DataType::Int64, true))])
    }
}

#[derive(Debug)]
struct Single {
    value: ScalarValue,
    empty: ScalarValue,
    n_rows: usize,
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let Some(column) = values.first().filter(|column| !column.is_empty()) {
            self.n_rows += column.len();
            self.value = ScalarValue::try_from_array(column, column.len() - 1)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.n_rows {
            0 => Ok(self.empty.clone()),
            1 => Ok(self.value.clone()),
            n => {
                let error = Error::invalid(format!("a subquery that stands for one value gave {n} rows"));
                let help = "add LIMIT 1, or an aggregate function such as max or array_agg, to the subquery";
                Err(DataFusionError::External(Box::new(error.with_help(help))))
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(i64::try_from(self.n_rows).ok())])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[1].len() {
            let ScalarValue::Int64(Some(n)) = ScalarValue::try_from_array(&states[1], row)? else { continue };
            if n > 0 {
                self.n_rows += usize::try_from(n).unwrap_or(0);
                self.value = ScalarValue::try_from_array(&states[0], row)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ints;

    fn single() -> Single {
        let empty = ScalarValue::Int64(None);
        Single { value: empty.clone(), empty, n_rows: 0 }
    }

    #[test]
    fn no_row_is_null_and_one_row_is_its_value() {
        assert_eq!(single().evaluate().expect("a value"), ScalarValue::Int64(None));
        let mut one = single();
        one.update_batch(&[ints([7])]).expect("a row");
        assert_eq!(one.evaluate().expect("a value"), ScalarValue::Int64(Some(7)));
    }

    #[test]
    fn two_rows_are_a_mistake_also_where_they_are_equal() {
        let mut two = single();
        two.update_batch(&[ints([7, 7])]).expect("rows");
        let error = crate::expression::engine_error(two.evaluate().expect_err("two rows"));
        assert_eq!(error.to_string().lines().next(), Some("a subquery that stands for one value gave 2 rows"));
        assert!(error.help().is_some_and(|help| help.contains("LIMIT 1")));
    }
}
