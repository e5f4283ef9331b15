//! Documents made of values: `to_json`, `json_object`, `json_array`. What is JSON by its type, because it is the
//! result of one of these functions, is set in as it is; other text becomes a string. No state.

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The mark of columns whose text is JSON.
pub(crate) const JSON: &str = "headwater.json";

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let build = |name, aliases: &[&str], shape| {
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Build { name, aliases, shape, signature }))
    };
    vec![
        build("to_json", &["to_jsonb", "row_to_json", "json_string", "json_quote"], Shape::Value),
        build("json_array", &["json_build_array", "jsonb_build_array"], Shape::Array),
        build("json_object", &["json_build_object", "jsonb_build_object"], Shape::Object),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    /// The one argument.
    Value,
    /// All arguments.
    Array,
    /// Keys and values in turn.
    Object,
}

/// Makes a document of each row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Build {
    name: &'static str,
    aliases: Vec<String>,
    shape: Shape,
    signature: Signature,
}

impl ScalarUDFImpl for Build {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let metadata = HashMap::from([(JSON.to_owned(), "true".to_owned())]);
        Ok(Arc::new(Field::new(self.name, DataType::Utf8, true).with_metadata(metadata)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match self.shape {
            Shape::Value if given.len() != 1 => {
                return plan_err!("{} takes 1 argument, not {}", self.name, given.len());
            }
            Shape::Object if given.len() % 2 == 1 => {
                return plan_err!("{} takes keys and values in turn, and a value is missing", self.name);
            }
            _ => {}
        }
        let is_key = |at: usize| self.shape == Shape::Object && at.is_multiple_of(2);
        let coerced = |(at, given): (usize, &DataType)| match given {
            DataType::Null => DataType::Utf8,
            // A key is a text, whatever it was made of.
            _ if is_key(at) => DataType::Utf8,
            // Digits that a number in JSON cannot lose.
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            other => other.clone(),
        };
        Ok(given.iter().enumerate().map(coerced).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let n_rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|argument| argument.to_array(n_rows)).collect::<Result<Vec<_>>>()?;
        let is_json = |at: usize| args.arg_fields[at].metadata().contains_key(JSON);
        let documents: StringArray = match self.shape {
            Shape::Value if columns[0].null_count() == n_rows => StringArray::new_null(n_rows),
            Shape::Value => {
                let values = as_json(&columns[0], is_json(0))?.into_iter().enumerate();
                // SQL's null has no JSON, as in Postgres.
                values.map(|(row, value)| columns[0].is_valid(row).then_some(value)).collect()
            }
            Shape::Array => {
                let values = columns.iter().enumerate().map(|(at, column)| as_json(column, is_json(at)));
                let values = values.collect::<Result<Vec<_>>>()?;
                (0..n_rows).map(|row| Some(joined(values.iter().map(|column| column[row].clone()), '[', ']'))).collect()
            }
            Shape::Object => objects(&columns, is_json, n_rows)?,
        };
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&documents, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(documents)))
    }
}

fn joined(parts: impl Iterator<Item = String>, open: char, close: char) -> String {
    let parts: Vec<String> = parts.collect();
    format!("{open}{}{close}", parts.join(","))
}

fn objects(columns: &[ArrayRef], is_json: impl Fn(usize) -> bool, n_rows: usize) -> Result<StringArray> {
    let mut values = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        if at % 2 == 0 && column.null_count() > 0 {
            return Err(crate::functions::scalar::failed("a key of a JSON object is null"));
        }
        values.push(as_json(column, at % 2 == 1 && is_json(at))?);
    }
    let member = |row: usize, at: usize| format!("{}:{}", values[at][row], values[at + 1][row]);
    let object = |row| joined((0..columns.len()).step_by(2).map(|at| member(row, at)), '{', '}');
    Ok((0..n_rows).map(|row| Some(object(row))).collect())
}

/// Returns each value of a column as JSON; null is `null`.
fn as_json(column: &ArrayRef, is_json: bool) -> Result<Vec<String>> {
    const NAME: &str = "v";
    if is_json {
        let texts = crate::functions::scalar::texts(column).iter();
        return Ok(texts.map(|text| text.unwrap_or("null").to_owned()).collect());
    }
    if column.is_empty() {
        return Ok(Vec::new());
    }
    // The writer has numbers, times, lists and structs in the form that sinks have them in.
    let schema = Arc::new(Schema::new(vec![Field::new(NAME, column.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![column.clone()])?;
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let lines = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    let frame = format!("{{\"{NAME}\":");
    let value = |line: &str| line.strip_prefix(&frame).and_then(|line| line.strip_suffix('}')).map(str::to_owned);
    Ok(lines.lines().filter_map(value).collect())
}
