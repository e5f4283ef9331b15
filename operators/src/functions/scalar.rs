//! What all functions share: arguments that are coerced, constants that are checked while planning, batches in and out.
//!
//! Never computes anything of a domain. A function is a name, a list of argument types and one call over columns of
//! equal length; two functions are the same if their names are. No state; memory is bounded by the batch.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Numbers are computed with ten places: 28 digits before the point fit.
pub(crate) const NUMBER_SCALE: i8 = 10;
const NUMBER: DataType = DataType::Decimal128(38, NUMBER_SCALE);
/// The type of times.
pub(crate) const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

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
    /// Any number, as `Float64`.
    Float,
    /// `Boolean`.
    Flag,
    /// A timestamp, date or text, as `Timestamp(ns)`.
    Time,
    /// A CEFR level as text, or its score as a number.
    Level,
    /// Text or bytes, as `Binary`.
    Bytes,
    /// A list of texts.
    Texts,
    /// A timestamp or date as `Timestamp(ns)`, a number as it is, text as `Utf8`.
    Scalar,
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

impl Argument {
    fn coerce(self, function: &str, position: usize, given: &DataType) -> Result<DataType> {
        let text = is_text(given);
        let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        let is_list = matches!(given, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..));
        let as_given = || if *given == DataType::Null { DataType::Utf8 } else { given.clone() };
        let (fits, target, what) = match self {
            Self::Text | Self::OptionalText => (text, DataType::Utf8, "text"),
            Self::Number => (given.is_numeric(), NUMBER, "a number"),
            Self::Count => (given.is_numeric(), DataType::Int64, "a whole number"),
            Self::Float => (given.is_numeric(), DataType::Float64, "a number"),
            Self::Flag => (*given == DataType::Boolean, DataType::Boolean, "a truth value"),
            Self::Time => (text || given.is_temporal(), TIME, "a timestamp"),
            Self::Level if text => (true, DataType::Utf8, "text"),
            Self::Level => (given.is_numeric(), NUMBER, "a CEFR level or its score"),
            Self::Bytes => (text || is_bytes(given), DataType::Binary, "text or bytes"),
            Self::Texts => (is_list, texts, "a list of texts"),
            Self::Scalar if text => (true, DataType::Utf8, "text"),
            Self::Scalar if is_instant(given) => (true, TIME, "a timestamp"),
            Self::Scalar => (given.is_numeric(), as_given(), "a timestamp, a number or text"),
        };
        if fits || *given == DataType::Null {
            return Ok(target);
        }
        plan_err!("argument {position} of {function} must be {what}, not {given}")
    }
}

/// The body of a function: columns of the coerced types and equal length in, one column of that length out.
pub(crate) type Evaluate = Box<dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync>;
/// Checks a constant text, given the type of the first argument; the error is a sentence for the user.
type Check = fn(&str, &DataType) -> Result<(), String>;
/// The type of a result by the coerced types of the arguments.
type Returns = fn(&[DataType]) -> Result<DataType>;

/// What a function is, before it has a body.
pub(crate) struct Definition {
    name: &'static str,
    aliases: Vec<String>,
    arguments: &'static [Argument],
    n_optional: usize,
    returns: Option<Returns>,
    fixed: DataType,
    checks: Vec<(usize, Check)>,
}

/// Begins the definition of a function; all arguments are needed.
pub(crate) fn define(name: &'static str, arguments: &'static [Argument], returns: DataType) -> Definition {
    let n_optional = arguments.iter().filter(|argument| **argument == Argument::OptionalText).count();
    Definition { name, aliases: Vec::new(), arguments, n_optional, returns: None, fixed: returns, checks: Vec::new() }
}

impl Definition {
    /// Adds other names.
    pub(crate) fn alias(mut self, names: &[&str]) -> Self {
        self.aliases.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Says how many of the last arguments may be left out.
    pub(crate) fn optional(mut self, n_optional: usize) -> Self {
        self.n_optional = n_optional;
        self
    }

    /// Takes the type of the result from the types of the arguments.
    pub(crate) fn returns(mut self, returns: Returns) -> Self {
        self.returns = Some(returns);
        self
    }

    /// Checks an argument while the query is planned, where it is a constant.
    pub(crate) fn constant(mut self, argument: usize, check: Check) -> Self {
        self.checks.push((argument, check));
        self
    }

    /// Completes the function.
    pub(crate) fn evaluate(
        self,
        evaluate: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Scalar { definition: self, evaluate: Box::new(evaluate), signature }))
    }

    fn check_count(&self, n_given: usize) -> Result<()> {
        let most = self.arguments.len();
        let fewest = most - self.n_optional;
        if (fewest..=most).contains(&n_given) {
            return Ok(());
        }
        let n = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
        let noun = if n == "1" { "argument" } else { "arguments" };
        plan_err!("{} takes {n} {noun}, not {n_given}", self.name)
    }
}

/// Makes a function for SQL without anything special.
pub(crate) fn function(
    name: &'static str,
    arguments: &'static [Argument],
    returns: DataType,
    evaluate: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    define(name, arguments, returns).evaluate(evaluate)
}

/// Makes the error for values on which a function fails: the row becomes a dead letter.
pub(crate) fn failed(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(message.into())
}

/// Returns a column of texts as such.
pub(crate) fn texts(column: &ArrayRef) -> &StringArray {
    column.as_string::<i32>()
}

/// Returns the text of a row; `None` where there is no such column or the value is null.
pub(crate) fn text(columns: &[ArrayRef], column: usize, row: usize) -> Option<&str> {
    let texts = texts(columns.get(column)?);
    texts.is_valid(row).then(|| texts.value(row))
}

/// Makes a text of each row from the text of the first column; null stays null.
pub(crate) fn map_text(columns: &[ArrayRef], map: impl Fn(&str) -> Option<String>) -> ArrayRef {
    Arc::new(texts(&columns[0]).iter().map(|value| value.and_then(&map)).collect::<StringArray>())
}

/// A pure function over rows.
struct Scalar {
    definition: Definition,
    evaluate: Evaluate,
    signature: Signature,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.definition.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match self.definition.returns {
            Some(returns) => returns(arg_types),
            None => Ok(self.definition.fixed.clone()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        for (argument, check) in &self.definition.checks {
            let constant = args.scalar_arguments.get(*argument).copied().flatten();
            if let Some(text) = constant.and_then(|constant| constant.try_as_str().flatten())
                && let Err(message) = check(text, args.arg_fields[0].data_type())
            {
                return plan_err!("in {}: {message}", self.definition.name);
            }
        }
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.definition.name, self.return_type(&types)?, true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let Definition { name, arguments, .. } = &self.definition;
        self.definition.check_count(arg_types.len())?;
        let given = arg_types.iter().zip(*arguments).enumerate();
        given.map(|(at, (given, argument))| argument.coerce(name, at + 1, given)).collect()
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
