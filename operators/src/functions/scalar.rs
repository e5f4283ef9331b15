//! What the domain functions share: arguments that are coerced, nulls in and out, batches in and out.
//!
//! Never computes anything of the domain. A function is a name, a list of argument types and one call over columns of
//! equal length; two functions are the same if their names are. No state; memory is bounded by the batch.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Numbers are computed with ten places: 28 digits before the point fit.
pub(crate) const NUMBER_SCALE: i8 = 10;
const NUMBER: DataType = DataType::Decimal128(38, NUMBER_SCALE);

/// What an argument is made into before the function sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Any string type, as `Utf8`.
    Text,
    /// The same, and it may be left out; such arguments stand at the end.
    OptionalText,
    /// Any number, as `Decimal128(38, 10)`.
    Number,
    /// Any number, as `Int64`.
    Count,
    /// `Boolean`.
    Flag,
    /// A timestamp, date or text, as `Timestamp(ns)`.
    Time,
    /// A CEFR level as text, or its score as a number.
    Level,
}

impl Argument {
    fn coerce(self, function: &str, position: usize, given: &DataType) -> Result<DataType> {
        let text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let any = *given == DataType::Null;
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let (fits, target, what) = match self {
            Self::Text | Self::OptionalText => (text, DataType::Utf8, "text"),
            Self::Number => (given.is_numeric(), NUMBER, "a number"),
            Self::Count => (given.is_numeric(), DataType::Int64, "a count"),
            Self::Flag => (*given == DataType::Boolean, DataType::Boolean, "a truth value"),
            Self::Time => (text || given.is_temporal(), time, "a timestamp"),
            Self::Level if text => (true, DataType::Utf8, "text"),
            Self::Level => (given.is_numeric(), NUMBER, "a CEFR level or its score"),
        };
        if fits || any {
            return Ok(target);
        }
        plan_err!("argument {position} of {function} must be {what}, not {given}")
    }
}

/// The body of a function: columns of the coerced types and equal length in, one column of that length out.
pub(crate) type Evaluate = Box<dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync>;

/// A pure function over rows.
struct Scalar {
    name: &'static str,
    arguments: &'static [Argument],
    returns: DataType,
    evaluate: Evaluate,
    signature: Signature,
}

/// Makes a function for SQL.
pub(crate) fn function(
    name: &'static str,
    arguments: &'static [Argument],
    returns: DataType,
    evaluate: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let evaluate: Evaluate = Box::new(evaluate);
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Scalar { name, arguments, returns, evaluate, signature }))
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let most = self.arguments.len();
        let fewest = self.arguments.iter().filter(|argument| **argument != Argument::OptionalText).count();
        if !(fewest..=most).contains(&arg_types.len()) {
            let n = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
            return plan_err!("{} takes {n} arguments, not {}", self.name, arg_types.len());
        }
        let given = arg_types.iter().zip(self.arguments).enumerate();
        given.map(|(at, (given, argument))| argument.coerce(self.name, at + 1, given)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let n_rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|argument| argument.to_array(n_rows)).collect::<Result<Vec<_>>>()?;
        let answer = (self.evaluate)(&columns)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?));
        }
        Ok(ColumnarValue::Array(answer))
    }
}
