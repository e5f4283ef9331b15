//! How the key of a row is made of its columns: `customer:{id}`. Pure.

use arrow::datatypes::SchemaRef;
use headwater_core::{Error, Result};

/// Texts with columns between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A column by index into the declared ones.
    Column(usize),
}

impl Pattern {
    /// Makes the pattern of one column alone.
    pub(super) fn column(column: usize) -> Self {
        Self(vec![Part::Column(column)])
    }

    /// Reads a pattern.
    pub(super) fn parse(text: &str, schema: &SchemaRef) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                let error = Error::invalid(format!("the option key = '{text}' has a {{ without its }}"));
                return Err(error.with_help("write key = 'prefix:{column}'"));
            };
            let column = schema.index_of(name.trim()).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                Error::invalid(format!("the option key = '{text}' names no column of the table: '{name}'"))
                    .with_help(format!("its columns are: {}", names.join(", ")))
            })?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Column(column));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let pattern = Self(parts);
        if pattern.columns().is_empty() {
            let error = Error::invalid(format!("the option key = '{text}' is the same for all rows"));
            return Err(error.with_help("name a column in it: key = 'prefix:{column}'"));
        }
        Ok(pattern)
    }

    /// Returns the columns, each once, in the order of their first use.
    pub(super) fn columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        for part in &self.0 {
            match part {
                Part::Column(column) if !columns.contains(column) => columns.push(*column),
                Part::Column(_) | Part::Text(_) => {}
            }
        }
        columns
    }

    /// Makes the key of a row; `values` has the texts of each of [`Pattern::columns`].
    pub(super) fn fill(&self, values: &[Vec<String>], row: usize) -> String {
        let columns = self.columns();
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Column(column) => {
                let place = columns.iter().position(|other| other == column).unwrap_or_default();
                values[place][row].clone()
            }
        };
        self.0.iter().map(part).collect()
    }

    /// Prints the pattern.
    pub(super) fn shown(&self, schema: &SchemaRef) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Column(column) => format!("{{{}}}", schema.field(*column).name()),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    #[test]
    fn keys_are_made_of_texts_and_columns() {
        let field = |name: &str| Field::new(name, DataType::Utf8, true);
        let schema = Arc::new(Schema::new(vec![field("id"), field("region"), field("name")]));
        let pattern = Pattern::parse("c:{region}:{ id }/{region}", &schema).expect("a pattern");
        assert_eq!(pattern.columns(), [1, 0]);
        assert_eq!(pattern.shown(&schema), "c:{region}:{id}/{region}");
        let values = [vec!["no".to_owned(), "se".to_owned()], vec!["7".to_owned(), "8".to_owned()]];
        assert_eq!(pattern.fill(&values, 1), "c:se:8/se");
        for (text, message) in [
            ("c:{id", "the option key = 'c:{id' has a { without its }"),
            ("c:{ID}", "the option key = 'c:{ID}' names no column of the table: 'ID'"),
            ("c", "the option key = 'c' is the same for all rows"),
        ] {
            assert_eq!(Pattern::parse(text, &schema).expect_err("is refused").message(), message);
        }
    }
}
