//! Parts of URLs, and percent encoding. What is no URL, or has no such part, is null. No state.

use super::scalar::{Argument, define, failed, function, map_text, text};
use arrow::array::{Array, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::sync::Arc;
use url::Url;

/// What a form leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');

/// Returns the functions of this family.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let part = |name: &'static str, part: fn(&Url) -> Option<String>| {
        function(name, &[Argument::Text], DataType::Utf8, move |columns| {
            Ok(map_text(columns, |text| part(&Url::parse(text.trim()).ok()?)))
        })
    };
    vec![
        parse_url(),
        part("url_extract_host", |url| url.host_str().map(str::to_owned)),
        part("url_extract_protocol", |url| Some(url.scheme().to_owned())),
        part("url_extract_path", |url| Some(url.path().to_owned())),
        part("url_extract_query", |url| url.query().map(str::to_owned)),
        part("url_extract_fragment", |url| url.fragment().map(str::to_owned)),
        url_extract_port(),
        url_extract_parameter(),
        url_encode(),
        url_decode(),
        is_url(),
    ]
}

fn part_of(url: &Url, part: &str) -> Option<String> {
    let query = || url.query().map(|query| format!("?{query}")).unwrap_or_default();
    match part {
        "HOST" => url.host_str().map(str::to_owned),
        "PATH" => Some(url.path().to_owned()),
        "QUERY" => url.query().map(str::to_owned),
        "REF" => url.fragment().map(str::to_owned),
        "PROTOCOL" => Some(url.scheme().to_owned()),
        "FILE" => Some(format!("{}{}", url.path(), query())),
        "USERINFO" => userinfo(url),
        "AUTHORITY" => {
            let user = userinfo(url).map(|user| format!("{user}@")).unwrap_or_default();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{user}{}{port}", url.host_str()?))
        }
        _ => None,
    }
}

fn userinfo(url: &Url) -> Option<String> {
    let password = url.password().map(|password| format!(":{password}")).unwrap_or_default();
    (!url.username().is_empty()).then(|| format!("{}{password}", url.username()))
}

const PARTS: [&str; 8] = ["HOST", "PATH", "QUERY", "REF", "PROTOCOL", "FILE", "AUTHORITY", "USERINFO"];

fn check_part(part: &str, _: &DataType) -> Result<(), String> {
    if PARTS.contains(&part.to_uppercase().as_str()) {
        return Ok(());
    }
    Err(format!("a URL has no part '{part}'; its parts are {}", PARTS.join(", ")))
}

fn parameter(url: &Url, key: &str) -> Option<String> {
    url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

/// `parse_url(url, part[, key])`, as in Flink; with a key the part is `QUERY`.
fn parse_url() -> Arc<ScalarUDF> {
    define("parse_url", &[Argument::Text, Argument::Text, Argument::OptionalText], DataType::Utf8)
        .constant(1, check_part)
        .evaluate(|columns| {
            let parts = (0..columns[0].len()).map(|row| {
                let (Some(url), Some(part)) = (text(columns, 0, row), text(columns, 1, row)) else { return Ok(None) };
                check_part(part, &DataType::Utf8).map_err(failed)?;
                let Ok(url) = Url::parse(url.trim()) else { return Ok(None) };
                if columns.len() < 3 {
                    return Ok(part_of(&url, &part.to_uppercase()));
                }
                let is_query = part.eq_ignore_ascii_case("QUERY");
                Ok(text(columns, 2, row).filter(|_| is_query).and_then(|key| parameter(&url, key)))
            });
            Ok(Arc::new(parts.collect::<Result<StringArray>>()?))
        })
}

/// `url_extract_port(url)`: the port as a number, where it is written.
fn url_extract_port() -> Arc<ScalarUDF> {
    function("url_extract_port", &[Argument::Text], DataType::Int64, |columns| {
        let port = |row| Url::parse(text(columns, 0, row)?.trim()).ok()?.port().map(i64::from);
        Ok(Arc::new((0..columns[0].len()).map(port).collect::<Int64Array>()))
    })
}

/// `url_extract_parameter(url, name)`: the first value of a parameter, decoded.
fn url_extract_parameter() -> Arc<ScalarUDF> {
    function("url_extract_parameter", &[Argument::Text, Argument::Text], DataType::Utf8, |columns| {
        let value = |row| parameter(&Url::parse(text(columns, 0, row)?.trim()).ok()?, text(columns, 1, row)?);
        Ok(Arc::new((0..columns[0].len()).map(value).collect::<StringArray>()))
    })
}

/// `url_encode(text)`: as in forms (`application/x-www-form-urlencoded`), a blank is `+`, as in Flink.
fn url_encode() -> Arc<ScalarUDF> {
    function("url_encode", &[Argument::Text], DataType::Utf8, |columns| {
        Ok(map_text(columns, |text| Some(utf8_percent_encode(text, FORM).to_string().replace(' ', "+"))))
    })
}

/// `url_decode(text)`: the reverse; null where a percent sign is not followed by two digits or the bytes are no text.
fn url_decode() -> Arc<ScalarUDF> {
    function("url_decode", &[Argument::Text], DataType::Utf8, |columns| {
        Ok(map_text(columns, |text| {
            let is_whole = text.split('%').skip(1).all(|after| {
                after.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            });
            let blanks = text.replace('+', " ");
            let decoded = percent_decode_str(&blanks).decode_utf8().ok()?.into_owned();
            is_whole.then_some(decoded)
        }))
    })
}

/// `is_url(text)`: whether a text is an absolute URL.
fn is_url() -> Arc<ScalarUDF> {
    function("is_url", &[Argument::Text], DataType::Boolean, |columns| {
        let is = |row| text(columns, 0, row).map(|text| Url::parse(text.trim()).is_ok());
        Ok(Arc::new((0..columns[0].len()).map(is).collect::<BooleanArray>()))
    })
}
