//! Scalar functions made of closures over typed values. They keep nothing; memory is bounded by the batch.

use super::value::{Argument, Output, SqlValue, argument, coerced};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::hash::{Hash, Hasher};

/// A closure over one to four values. It is implemented for closures; there is nothing to implement.
pub trait ScalarFunction<Arguments>: Send + Sync + 'static {
    /// The types of the arguments.
    fn arguments() -> Vec<DataType>;
    /// The type of the result.
    fn returns() -> DataType;
    /// Computes a column from columns of those types and equal length; the error is the message of a dead letter.
    fn evaluate(&self, columns: &[ArrayRef], n_rows: usize) -> std::result::Result<ArrayRef, String>;
}

macro_rules! scalar_functions {
    ($(($($name:ident $index:tt),+))*) => {$(
        impl<F, R, $($name),+> ScalarFunction<($($name,)+)> for F
        where
            F: Fn($($name),+) -> R + Send + Sync + 'static,
            R: Output,
            $($name: Argument),+
        {
            fn arguments() -> Vec<DataType> {
                vec![$($name::Value::data_type()),+]
            }

            fn returns() -> DataType {
                R::Value::data_type()
            }

            fn evaluate(&self, columns: &[ArrayRef], n_rows: usize) -> std::result::Result<ArrayRef, String> {
                let mut values = Vec::with_capacity(n_rows);
                for row in 0..n_rows {
                    let given = ($(argument::<$name>(&columns[$index], row),)+);
                    values.push(match given {
                        #[expect(non_snake_case, reason = "the values are called like their types")]
                        ($(Some($name),)+) => self($($name),+).into_value()?,
                        _ => None,
                    });
                }
                Ok(R::Value::column(values))
            }
        }
    )*};
}

scalar_functions! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
}

/// Makes DataFusion's function of a closure.
pub(super) fn udf<Arguments, F: ScalarFunction<Arguments>>(name: &str, function: F) -> ScalarUDF {
    ScalarUDF::from(Typed {
        name: name.to_owned(),
        arguments: F::arguments(),
        returns: F::returns(),
        evaluate: Box::new(move |columns, n_rows| function.evaluate(columns, n_rows)),
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

type Evaluate = Box<dyn Fn(&[ArrayRef], usize) -> std::result::Result<ArrayRef, String> + Send + Sync>;

/// A closure as DataFusion sees it. Two are the same if their names are: a planner knows one of each name.
struct Typed {
    name: String,
    arguments: Vec<DataType>,
    returns: DataType,
    evaluate: Evaluate,
    signature: Signature,
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Typed {}

impl Hash for Typed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl ScalarUDFImpl for Typed {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerced(&self.name, &self.arguments, given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let n_rows = if is_constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|argument| argument.to_array(n_rows)).collect::<Result<Vec<_>>>()?;
        let column = (self.evaluate)(&columns, n_rows).map_err(DataFusionError::Execution)?;
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?));
        }
        Ok(ColumnarValue::Array(column))
    }
}
