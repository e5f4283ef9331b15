//! Subjects: which are well-formed, which a pattern matches, and how a row makes its own. Pure.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use headwater_core::{Error, Result};

/// The token that stands for exactly one token.
const ONE: &str = "*";
/// The token that stands for all that follow, at least one.
const REST: &str = ">";

/// The longest subject that a row may make. Servers end connections over lines of more than 4096 bytes, which hold the
/// subject and some more.
const BYTES_MAX: usize = 2048;

/// Whether a text is a subject; with `wildcards`, or a pattern of subjects.
pub(super) fn is_subject(text: &str, wildcards: bool) -> bool {
    let n_tokens = text.split('.').count();
    let is_token = |(index, token): (usize, &str)| match token {
        ONE => wildcards,
        REST => wildcards && index + 1 == n_tokens,
        _ => !token.is_empty() && !token.chars().any(|c| c.is_whitespace() || c.is_control() || c == '*' || c == '>'),
    };
    text.split('.').enumerate().all(is_token)
}

/// Reads a list of patterns, and refuses two that can match one subject: their messages would come twice.
pub(super) fn parse_filters(text: &str) -> Result<Vec<String>> {
    let filters: Vec<String> = text.split(',').map(str::trim).map(str::to_owned).collect();
    for (index, filter) in filters.iter().enumerate() {
        if !is_subject(filter, true) {
            return Err(Error::invalid(format!("'{filter}' is no subject"))
                .with_help("write tokens with dots between them, * for any one of them, > for all that follow"));
        }
        if let Some(other) = filters[..index].iter().find(|other| overlap(other, filter)) {
            return Err(Error::invalid(format!("the subjects '{other}' and '{filter}' overlap"))
                .with_help("leave the narrower one out"));
        }
    }
    Ok(filters)
}

/// Whether some subject matches both patterns.
pub(super) fn overlap(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(REST), Some(_)) | (Some(_), Some(REST)) => return true,
            (Some(a), Some(b)) if a == b || a == ONE || b == ONE => {}
            _ => return false,
        }
    }
}

/// Whether every subject that `narrow` matches is matched by `wide`.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(REST), Some(_)) => return true,
            (Some(_), Some(REST)) => return false,
            (Some(a), Some(b)) if a == b || a == ONE => {}
            _ => return false,
        }
    }
}

/// How the subject of a row is made: a constant, or one with the values of columns in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(usize),
}

impl Template {
    /// Reads the option `subject`: `orders.new`, `orders.{region}`, `{subject}`.
    pub(super) fn parse(text: &str, schema: &Schema) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                let error = Error::invalid(format!("the option subject = '{text}' has a {{ without its }}"));
                return Err(error.with_help("write subject = 'prefix.{column}'"));
            };
            let column = schema.index_of(name.trim()).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                Error::invalid(format!("the option subject = '{text}' names no column of the table: '{name}'"))
                    .with_help(format!("its columns are: {}", names.join(", ")))
            })?;
            if schema.field(column).data_type().is_nested() {
                return Err(Error::invalid(format!("the column '{name}' is nested and cannot be in a subject")));
            }
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            parts.push(Part::Column(column));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));
        let template = Self { text: text.to_owned(), parts };
        if !is_subject(&template.pattern().replace('*', "x"), false) || text.contains(['*', '>']) {
            return Err(Error::invalid(format!("the option subject = '{text}' is no subject"))
                .with_help("write tokens with dots between them, such as 'orders.new' or 'orders.{region}'"));
        }
        Ok(template)
    }

    /// Returns the option as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns a pattern of the subjects that it makes when no value has a dot in it.
    pub(super) fn pattern(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Column(_) => ONE,
        });
        let joined = parts.collect::<String>();
        // A token that is only partly a value is any token.
        joined.split('.').map(|token| if token.contains(ONE) { ONE } else { token }).collect::<Vec<_>>().join(".")
    }

    /// Returns the subject of each row, or what is wrong with it.
    pub(super) fn subjects(&self, rows: &RecordBatch) -> Result<Vec<Result<String, String>>> {
        let text_of = |column: &usize| cast(rows.column(*column), &DataType::Utf8);
        let columns: Vec<Option<ArrayRef>> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Column(column) => text_of(column).map(Some),
                Part::Text(_) => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let subject = |row: usize| {
            let mut subject = String::new();
            for (part, values) in self.parts.iter().zip(&columns) {
                match (part, values) {
                    (Part::Text(text), _) => subject.push_str(text),
                    (Part::Column(_), Some(values)) if values.is_valid(row) => {
                        subject.push_str(values.as_string::<i32>().value(row));
                    }
                    (Part::Column(column), _) => {
                        return Err(format!(
                            "'{}' is null and cannot be in a subject",
                            rows.schema().field(*column).name()
                        ));
                    }
                }
            }
            if subject.len() > BYTES_MAX {
                return Err(format!("the subject has {} bytes, NATS takes {BYTES_MAX} here", subject.len()));
            }
            if is_subject(&subject, false) { Ok(subject) } else { Err(format!("'{subject}' is no subject")) }
        };
        Ok((0..rows.num_rows()).map(subject).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;
    use std::sync::Arc;

    #[test]
    fn patterns_match_token_by_token() {
        for (wide, narrow) in [("a.*", "a.b"), ("a.>", "a.b.c"), (">", "a"), ("*.b", "a.b"), ("a.>", "a.*.c")] {
            assert!(covers(wide, narrow) && overlap(wide, narrow), "{wide} covers {narrow}");
        }
        for (wide, narrow) in [("a.*", "a.b.c"), ("a.>", "a"), ("a.*", "a.>"), ("a.b", "a.*"), ("a", "b")] {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
        assert!(overlap("a.*.c", "a.b.>") && overlap("*.x", "y.*") && !overlap("a.b", "a.c") && !overlap("a", "a.b"));
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in ["", "a..b", ".a", "a.", "a b", "a.>.b", "a*", "a.b>"] {
            assert!(!is_subject(text, true), "{text}");
        }
        assert!(is_subject("a.*.>", true) && !is_subject("a.*", false));
        let error = parse_filters("a.*,a.b").expect_err("overlap");
        assert_eq!(error.to_string(), "the subjects 'a.*' and 'a.b' overlap\nhelp: leave the narrower one out");
        assert_eq!(parse_filters("a.*, b").expect("apart"), ["a.*", "b"]);
    }

    #[test]
    fn a_row_makes_its_subject() {
        let fields = vec![Field::new("region", DataType::Utf8, true), Field::new("id", DataType::Int64, false)];
        let schema = Arc::new(Schema::new(fields));
        let regions = StringArray::from(vec![Some("no"), None, Some("a b"), Some("x.y")]);
        let columns: Vec<ArrayRef> = vec![Arc::new(regions), Arc::new(Int64Array::from(vec![1, 2, 3, 4]))];
        let rows = RecordBatch::try_new(schema.clone(), columns).expect("two columns");
        let template = Template::parse("orders.{region}.n{id}", &schema).expect("a template");
        assert_eq!(template.pattern(), "orders.*.*");
        let made = template.subjects(&rows).expect("texts");
        assert_eq!(made[0].as_deref(), Ok("orders.no.n1"));
        assert_eq!(made[1].as_deref(), Err(&"'region' is null and cannot be in a subject".to_owned()));
        assert!(made[2].is_err());
        assert_eq!(made[3].as_deref(), Ok("orders.x.y.n4"));
        for text in ["a.{nope}", "a.{id", "a.*", "a..b", ""] {
            Template::parse(text, &schema).expect_err("no template");
        }
    }
}
