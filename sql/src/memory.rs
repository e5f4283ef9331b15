//! A table between statements: it has columns and no connector, and any number of statements insert into it. Its rows
//! are a stream that is never stored. Its state is the declaration.
//!
//! A `PRIMARY KEY` alone is a promise of whoever inserts. With the option `version` the newest row of each key stands
//! for it, and the others are taken back.

use crate::catalog::Context;
use crate::create_table::{OptionSyntax, TableSyntax};
use crate::declared::Declared;
use crate::errors::at_ident;
use crate::near::help_for_name;
use crate::parser::normalized;
use crate::position::WithPlace;
use crate::table::key_indices;
use headwater_core::{Error, Result};

/// The option that says which of two rows with one key is newer.
const VERSION: &str = "version";

/// A table between statements as declared.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) declared: Declared,
    /// The key and the version column, where the newest row of each key stands for it.
    pub(crate) dedup: Option<(Vec<usize>, usize)>,
}

impl Memory {
    /// Whether the options are those of a table without a connector.
    pub(crate) fn is_meant(options: &[OptionSyntax]) -> bool {
        !options.is_empty() && options.iter().all(|option| option.name == VERSION)
    }

    /// Checks a declaration.
    pub(crate) fn declare(syntax: &TableSyntax, options: &[OptionSyntax], context: &Context<'_>) -> Result<Self> {
        let name = normalized(&syntax.name);
        if let Some(watermark) = &syntax.watermark {
            let error = Error::invalid(format!("the table '{name}' takes its event time from what is inserted"));
            let help = "leave WATERMARK out, or add WITH (connector = '…')";
            return Err(at_ident(error.with_help(help), &watermark.column));
        }
        let declared = Declared::new(syntax, context)?.ok_or_else(|| {
            let error = Error::invalid(format!("the table '{name}' has neither columns nor a connector"));
            at_ident(error.with_help("list its columns, or add WITH (connector = '…')"), &syntax.name)
        })?;
        if let Some((column, span)) = declared.metadata() {
            let error = Error::invalid(format!("the column '{column}' needs a connector that knows its metadata"));
            return Err(error.with_help("leave METADATA out, or add WITH (connector = '…')").with_place(span));
        }
        let key = key_indices(&syntax.primary_key, Some(&declared.schema))?;
        let dedup = match options.iter().find(|option| option.name == VERSION) {
            None => None,
            Some(option) if key.is_empty() => {
                let error = Error::invalid(format!("the table '{name}' has a version, but no PRIMARY KEY"));
                return Err(error.with_help("declare PRIMARY KEY (…), or leave version out").with_place(option.span));
            }
            Some(option) => {
                let names: Vec<&str> = declared.schema.fields().iter().map(|field| field.name().as_str()).collect();
                let index = declared.schema.index_of(&option.value).map_err(|_| {
                    let error = Error::invalid(format!("there is no column '{}' for the version", option.value));
                    error.with_help(help_for_name("columns", &option.value, &names)).with_place(option.span)
                })?;
                Some((key, index))
            }
        };
        Ok(Self { declared, dedup })
    }

    /// Returns the columns that the table itself looks at, whoever reads it.
    pub(crate) fn own_columns(&self) -> Vec<usize> {
        let mut columns = self.required();
        if let Some((key, version)) = &self.dedup {
            columns.extend(key);
            columns.push(*version);
        }
        columns
    }

    /// Returns the columns that are `NOT NULL`.
    pub(crate) fn required(&self) -> Vec<usize> {
        let fields = self.declared.schema.fields().iter().enumerate();
        fields.filter(|(_, field)| !field.is_nullable()).map(|(index, _)| index).collect()
    }
}
