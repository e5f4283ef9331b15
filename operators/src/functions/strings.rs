//! Texts: what Flink, Spark and Postgres have beyond DataFusion's functions. Characters are counted, not bytes. A
//! pattern that is a constant and no regular expression is refused while the query is planned. No state but the
//! regular expressions that were compiled.

use super::compiled::Compiled;
use super::scalar::{Argument, define, failed, function, map_text, text, texts};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, ListBuilder, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use regex::Regex;
use std::sync::Arc;
use uuid::Uuid;

/// Returns the functions of this family.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        split_index(),
        regexp_extract(),
        regexp_extract_all(),
        regexp_split_to_array(),
        locate(),
        is_made_of("is_alpha", |text| text.chars().all(char::is_alphabetic)),
        is_made_of("is_digit", |text| text.chars().all(|c| c.is_ascii_digit())),
        is_made_of("is_decimal", |text| text.trim().parse::<f64>().is_ok_and(f64::is_finite)),
        hex(),
        unhex(),
        bin(),
        uuid_v5(),
        sign(),
    ]
}

/// A list of texts.
pub(super) fn list_of_texts() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// Makes a list of texts for each row; `None` is null.
pub(super) fn text_lists(rows: impl Iterator<Item = Result<Option<Vec<Option<String>>>>>) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        match row? {
            Some(values) => {
                values.into_iter().for_each(|value| lists.values().append_option(value));
                lists.append(true);
            }
            None => lists.append(false),
        }
    }
    let lists: ListArray = lists.finish();
    Ok(Arc::new(lists))
}

fn number(columns: &[ArrayRef], column: usize, row: usize) -> Option<i64> {
    let numbers = columns.get(column)?.as_primitive::<Int64Type>();
    numbers.is_valid(row).then(|| numbers.value(row))
}

fn check_regex(pattern: &str, _: &DataType) -> Result<(), String> {
    compile_regex(pattern).map(|_| ())
}

fn compile_regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("'{pattern}' is not a regular expression: {reason}")
    })
}

/// `split_index(text, separator, n)`: the `n`-th part counted from 0, null outside, as in Flink.
fn split_index() -> Arc<ScalarUDF> {
    function("split_index", &[Argument::Text, Argument::Text, Argument::Count], DataType::Utf8, |columns| {
        let parts = (0..columns[0].len()).map(|row| {
            let (text, separator) = (text(columns, 0, row)?, text(columns, 1, row)?);
            let n = usize::try_from(number(columns, 2, row)?).ok()?;
            match separator {
                "" => (n == 0 && !text.is_empty()).then_some(text),
                _ => text.split(separator).nth(n),
            }
        });
        Ok(Arc::new(parts.collect::<StringArray>()))
    })
}

/// `regexp_extract(text, pattern[, group])`: the group of the first match, 0 (the default) for all of it; null where
/// there is none, as in Flink.
fn regexp_extract() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(compile_regex);
    define("regexp_extract", &[Argument::Text, Argument::Text, Argument::Count], DataType::Utf8)
        .optional(1)
        .alias(&["regexp_substr"])
        .constant(1, check_regex)
        .evaluate(move |columns| {
            let mut batch = compiled.batch();
            let groups = (0..columns[0].len()).map(|row| {
                let (Some(text), Some(pattern)) = (text(columns, 0, row), text(columns, 1, row)) else {
                    return Ok(None);
                };
                let group = if columns.len() > 2 { number(columns, 2, row) } else { Some(0) };
                let Some(group) = group.and_then(|group| usize::try_from(group).ok()) else { return Ok(None) };
                let captures = batch.get(pattern)?.captures(text);
                Ok(captures.and_then(|captures| captures.get(group)).map(|found| found.as_str()))
            });
            Ok(Arc::new(groups.collect::<Result<StringArray>>()?))
        })
}

/// `regexp_extract_all(text, pattern[, group])`: a group of all matches as a list, as in Flink.
fn regexp_extract_all() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(compile_regex);
    define("regexp_extract_all", &[Argument::Text, Argument::Text, Argument::Count], list_of_texts())
        .optional(1)
        .constant(1, check_regex)
        .evaluate(move |columns| {
            let mut batch = compiled.batch();
            text_lists((0..columns[0].len()).map(|row| {
                let (Some(text), Some(pattern)) = (text(columns, 0, row), text(columns, 1, row)) else {
                    return Ok(None);
                };
                let group = if columns.len() > 2 { number(columns, 2, row) } else { Some(0) };
                let Some(group) = group.and_then(|group| usize::try_from(group).ok()) else { return Ok(None) };
                let pattern = batch.get(pattern)?;
                let found = pattern.captures_iter(text).map(|c| c.get(group).map(|found| found.as_str().to_owned()));
                Ok(Some(found.collect()))
            }))
        })
}

/// `regexp_split_to_array(text, pattern)`, as in Postgres.
fn regexp_split_to_array() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(compile_regex);
    define("regexp_split_to_array", &[Argument::Text, Argument::Text], list_of_texts())
        .constant(1, check_regex)
        .evaluate(move |columns| {
            let mut batch = compiled.batch();
            text_lists((0..columns[0].len()).map(|row| {
                let (Some(text), Some(pattern)) = (text(columns, 0, row), text(columns, 1, row)) else {
                    return Ok(None);
                };
                Ok(Some(batch.get(pattern)?.split(text).map(|part| Some(part.to_owned())).collect()))
            }))
        })
}

/// `locate(part, text[, from])`: where a part first stands, counted from 1; 0 where it does not, as in Flink.
fn locate() -> Arc<ScalarUDF> {
    define("locate", &[Argument::Text, Argument::Text, Argument::Count], DataType::Int64).optional(1).evaluate(
        |columns| {
            let places = (0..columns[0].len()).map(|row| {
                let (part, text) = (text(columns, 0, row)?, text(columns, 1, row)?);
                let from = if columns.len() > 2 { number(columns, 2, row)? } else { 1 };
                let Some(skipped) = usize::try_from(from - 1).ok() else { return Some(0) };
                let Some((start, _)) = text.char_indices().nth(skipped) else {
                    return Some(i64::from(part.is_empty() && skipped == 0));
                };
                let found = text[start..].find(part);
                let before = |at: usize| i64::try_from(text[start..start + at].chars().count()).unwrap_or(i64::MAX);
                Some(found.map_or(0, |at| from + before(at)))
            });
            Ok(Arc::new(places.collect::<Int64Array>()))
        },
    )
}

/// `is_alpha`, `is_digit`, `is_decimal`, as in Flink: false for the empty text and for null.
fn is_made_of(name: &'static str, test: fn(&str) -> bool) -> Arc<ScalarUDF> {
    function(name, &[Argument::Text], DataType::Boolean, move |columns| {
        let answers =
            texts(&columns[0]).iter().map(|text| Some(text.is_some_and(|text| !text.is_empty() && test(text))));
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    })
}

/// `hex(number | text)`: hexadecimal digits in upper case, as in Flink.
fn hex() -> Arc<ScalarUDF> {
    function("hex", &[Argument::Scalar], DataType::Utf8, |columns| {
        if *columns[0].data_type() == DataType::Utf8 {
            let digits = |text: &str| Some(text.bytes().map(|byte| format!("{byte:02X}")).collect());
            return Ok(map_text(columns, digits));
        }
        let numbers = arrow::compute::cast(&columns[0], &DataType::Int64)?;
        let digits = numbers.as_primitive::<Int64Type>().iter().map(|n| n.map(|n| format!("{n:X}")));
        Ok(Arc::new(digits.collect::<StringArray>()))
    })
}

/// `unhex(digits)`: the text that hexadecimal digits stand for; null where they stand for none.
fn unhex() -> Arc<ScalarUDF> {
    function("unhex", &[Argument::Text], DataType::Utf8, |columns| {
        Ok(map_text(columns, |digits| {
            let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
            let byte = |at: usize| u8::from_str_radix(padded.get(at..at + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..padded.len()).step_by(2).map(byte).collect();
            String::from_utf8(bytes?).ok()
        }))
    })
}

/// `bin(number)`: binary digits, as in Flink.
fn bin() -> Arc<ScalarUDF> {
    function("bin", &[Argument::Count], DataType::Utf8, |columns| {
        let digits = columns[0].as_primitive::<Int64Type>().iter().map(|n| n.map(|n| format!("{n:b}")));
        Ok(Arc::new(digits.collect::<StringArray>()))
    })
}

fn namespace(name: &str) -> Result<Uuid, String> {
    match name.to_lowercase().as_str() {
        "dns" => Ok(Uuid::NAMESPACE_DNS),
        "url" => Ok(Uuid::NAMESPACE_URL),
        "oid" => Ok(Uuid::NAMESPACE_OID),
        "x500" => Ok(Uuid::NAMESPACE_X500),
        other => {
            Uuid::parse_str(other).map_err(|_| format!("'{name}' is no namespace: write a UUID, dns, url, oid or x500"))
        }
    }
}

/// `uuid_generate_v5(namespace, name)`: the same UUID for the same name always, as in Postgres.
fn uuid_v5() -> Arc<ScalarUDF> {
    define("uuid_generate_v5", &[Argument::Text, Argument::Text], DataType::Utf8)
        .alias(&["uuid_v5"])
        .constant(0, |name, _| namespace(name).map(|_| ()))
        .evaluate(|columns| {
            let uuids = (0..columns[0].len()).map(|row| match (text(columns, 0, row), text(columns, 1, row)) {
                (Some(space), Some(name)) => {
                    let space = namespace(space).map_err(failed)?;
                    Ok(Some(Uuid::new_v5(&space, name.as_bytes()).to_string()))
                }
                _ => Ok(None),
            });
            Ok(Arc::new(uuids.collect::<Result<StringArray>>()?))
        })
}

/// `sign(number)`: -1, 0 or 1.
fn sign() -> Arc<ScalarUDF> {
    function("sign", &[Argument::Number], DataType::Int64, |columns| {
        let numbers = columns[0].as_any().downcast_ref::<Decimal128Array>();
        let numbers = numbers.ok_or_else(|| failed("sign takes a number"))?;
        Ok(Arc::new(numbers.iter().map(|n| n.map(|n| n.signum() as i64)).collect::<Int64Array>()))
    })
}
