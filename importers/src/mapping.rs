//! Column mappings: which header means which field and what a cell may hold. They are TOML files that a user can copy and
//! edit; those that come with the program are embedded. It never looks at rows; its state is one parsed file.

use crate::Kind;
use headwater_core::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The most columns that an error message spells out.
const COLUMNS_SHOWN_MAX: usize = 30;

/// How ratings are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum RatingScale {
    /// From 1, the worst, to 5, the best.
    #[serde(rename = "1-5")]
    OneToFive,
    /// From 0 to 1.
    #[serde(rename = "0-1")]
    ZeroToOne,
}

impl RatingScale {
    /// Returns the scale with this name.
    ///
    /// # Errors
    /// `Invalid`, with the names there are.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "1-5" => Ok(Self::OneToFive),
            "0-1" => Ok(Self::ZeroToOne),
            _ => Err(Error::invalid(format!("'{name}' is no rating scale")).with_help("use 1-5 or 0-1")),
        }
    }
}

/// What a cell may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CellType {
    Text,
    Email,
    Date,
    Duration,
    Hours,
    Number,
    Rating,
    Cefr,
    List,
    People,
    Object,
    Choice,
}

/// One field and its column.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldMapping {
    pub(crate) name: String,
    headers: Vec<String>,
    #[serde(rename = "type")]
    pub(crate) cell_type: CellType,
    #[serde(default)]
    pub(crate) required: bool,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) length_max: Option<usize>,
    /// Whether a date may lie ahead of the import.
    #[serde(default)]
    pub(crate) future: bool,
    /// The meaning of each choice, by its lower-case text; `*` is any other.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, String>,
}

impl FieldMapping {
    /// Returns what a choice means.
    pub(crate) fn choice(&self, text: &str) -> Option<&str> {
        let folded = text.trim().to_lowercase();
        self.values.get(&folded).or_else(|| self.values.get("*")).map(String::as_str)
    }
}

/// The column mapping of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    pub(crate) title: String,
    pub(crate) file_words: Vec<String>,
    pub(crate) id_prefixes: Vec<String>,
    #[serde(default = "one_to_five")]
    pub(crate) rating_scale: RatingScale,
    #[serde(default)]
    ignored: Vec<String>,
    #[serde(rename = "field")]
    pub(crate) fields: Vec<FieldMapping>,
}

fn one_to_five() -> RatingScale {
    RatingScale::OneToFive
}

/// Where the fields are in a file.
#[derive(Debug)]
pub(crate) struct Layout {
    /// For each field of the mapping its column.
    pub(crate) columns: Vec<Option<usize>>,
    /// Headers that no field takes.
    pub(crate) unused: Vec<String>,
}

impl Mapping {
    /// Returns the mapping that comes with the program.
    ///
    /// # Errors
    /// `Internal`, never: a test parses each of them.
    pub fn embedded(kind: Kind) -> Result<Self> {
        toml::from_str(kind.embedded_mapping())
            .map_err(|error| Error::internal(format!("the mapping of '{kind}' cannot be read: {error}")))
    }

    /// Returns the mapping `<folder>/<kind>.toml` when there is one, else the one that comes with the program.
    ///
    /// # Errors
    /// `Invalid` when the file is no mapping or lacks a field that the importer needs.
    pub fn load(kind: Kind, folder: Option<&Path>) -> Result<Self> {
        let Some(path) = folder.map(|folder| folder.join(format!("{kind}.toml"))).filter(|path| path.exists()) else {
            return Self::embedded(kind);
        };
        let shown = path.display();
        let text =
            std::fs::read_to_string(&path).map_err(|error| Error::io(format!("cannot read '{shown}'"), error))?;
        Self::parse(kind, &text).map_err(|error| error.at(format!("mapping '{shown}'")))
    }

    fn parse(kind: Kind, text: &str) -> Result<Self> {
        let mapping: Self = toml::from_str(text)
            .map_err(|error| Error::invalid(format!("is no column mapping: {}", error.message())).with_cause(error))?;
        let known = Self::embedded(kind)?;
        for field in &mapping.fields {
            if known.field(&field.name).is_none() {
                let names: Vec<&str> = known.fields.iter().map(|field| field.name.as_str()).collect();
                return Err(Error::invalid(format!("the importer knows no field '{}'", field.name))
                    .with_help(format!("its fields are: {}", names.join(", "))));
            }
        }
        for field in &known.fields {
            let given = mapping.field(&field.name);
            let fits =
                given.is_some_and(|given| given.cell_type == field.cell_type && given.required >= field.required);
            if !fits && (field.required || given.is_some()) {
                return Err(Error::invalid(format!("the field '{}' must stay as it is", field.name)).with_help(
                    format!(
                        "keep its type{}; headers, limits and values are yours to change",
                        if field.required { " and required = true" } else { "" }
                    ),
                ));
            }
        }
        Ok(mapping)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&FieldMapping> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Finds the columns of a file.
    ///
    /// # Errors
    /// `Invalid` when a required column is missing or two columns mean the same field.
    pub(crate) fn layout(&self, headers: &[String]) -> Result<Layout> {
        let folded: Vec<String> = headers.iter().map(|header| fold_header(header)).collect();
        let mut taken = vec![false; headers.len()];
        let mut columns = Vec::with_capacity(self.fields.len());
        let mut missing = Vec::new();
        for field in &self.fields {
            let is_ours = |header: &String| field.headers.iter().any(|name| fold_header(name) == *header);
            let found: Vec<usize> =
                folded.iter().enumerate().filter(|(_, header)| is_ours(header)).map(|(i, _)| i).collect();
            if let [first, second, ..] = found[..] {
                let message =
                    format!("the columns '{}' and '{}' both mean '{}'", headers[first], headers[second], field.name);
                return Err(Error::invalid(message).with_help("remove one of them from the file, or from the mapping"));
            }
            if found.is_empty() && field.required {
                missing.push(field.headers.join(" or "));
            }
            found.iter().for_each(|column| taken[*column] = true);
            columns.push(found.first().copied());
        }
        if !missing.is_empty() {
            let shown: Vec<&str> = headers.iter().map(String::as_str).take(COLUMNS_SHOWN_MAX).collect();
            return Err(Error::invalid(format!("{} need the column {}", self.title, missing.join(", ")))
                .with_help(format!("the file has: {}", shown.join(", "))));
        }
        let unused = headers.iter().zip(taken).filter(|(_, taken)| !taken).map(|(header, _)| header.clone());
        Ok(Layout { columns, unused: unused.collect() })
    }

    /// Returns how many columns of a file this mapping understands, or `None` when one that it needs is missing.
    pub(crate) fn score(&self, headers: &[String]) -> Option<usize> {
        let layout = self.layout(headers).ok()?;
        let known = layout.unused.iter().filter(|header| self.ignored.contains(&fold_header(header))).count();
        Some(layout.columns.iter().flatten().count() + known)
    }
}

/// Returns a header as headers are compared.
fn fold_header(header: &str) -> String {
    header.trim().to_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(line: &str) -> Vec<String> {
        line.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn every_embedded_mapping_is_a_valid_mapping() {
        for kind in Kind::ALL {
            let mapping = Mapping::parse(*kind, kind.embedded_mapping()).expect("parses");
            assert!(!mapping.fields.is_empty());
        }
    }

    #[test]
    fn headers_are_compared_without_case_and_with_aliases() {
        let mapping = Mapping::embedded(Kind::Credentials).expect("embedded");
        let line = "Credential-ID, User Email ,PROVIDER,course_id,Course Title,credential_type,issued_at,More";
        let layout = mapping.layout(&headers(line)).expect("all there");
        assert_eq!(layout.unused, ["More"]);
        assert_eq!(layout.columns[..2], [Some(0), Some(1)]);
    }

    #[test]
    fn missing_and_double_columns_are_named() {
        let mapping = Mapping::embedded(Kind::BuddyEvents).expect("embedded");
        let error = mapping.layout(&headers("match_id,event_date")).expect_err("no event_type").to_string();
        assert_eq!(error, "buddy events need the column event_type\nhelp: the file has: match_id, event_date");
        let error =
            mapping.layout(&headers("match_id,Match ID,event_type,event_date")).expect_err("two ids").to_string();
        assert!(error.starts_with("the columns 'match_id' and 'Match ID' both mean 'match_id'"), "{error}");
    }

    #[test]
    fn a_mapping_of_the_user_may_not_lose_what_the_importer_needs() {
        let text = Kind::BuddyEvents.embedded_mapping();
        let error = Mapping::parse(Kind::BuddyEvents, &text.replace("required = true", "")).expect_err("too lax");
        assert!(error.message().contains("'match_id' must stay as it is"), "{error}");
        let error =
            Mapping::parse(Kind::BuddyEvents, &text.replace("\"attendees\"", "\"guests\"")).expect_err("no field");
        assert!(error.message().contains("knows no field 'guests'"), "{error}");
        Mapping::parse(Kind::BuddyEvents, &text.replace("[\"match_id\"]", "[\"Paar\"]")).expect("headers may change");
    }
}
