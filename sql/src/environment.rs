//! `{{ NAME }}` in the options of a table: what the environment says is put in its place. A value never reaches a
//! message: where the option is shown, it is shown as it was written. State: the variables, copied once.

use crate::create_table::OptionSyntax;
use crate::position::WithPlace;
use headwater_core::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// The variables that options may name.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    /// The names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Fills in the value of an option, and keeps how it was written.
    pub(crate) fn fill(&self, option: &mut OptionSyntax) -> Result<()> {
        if !option.value.contains("{{") {
            return Ok(());
        }
        let filled = self.filled(&option.value).map_err(|e| e.with_place(option.span))?;
        option.written = Some(std::mem::replace(&mut option.value, filled));
        Ok(())
    }

    fn filled(&self, text: &str) -> Result<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                let error = Error::invalid(format!("'{text}' opens {{{{ and does not close it"));
                return Err(error.with_help("write {{ NAME }}"));
            };
            let name = name.trim();
            let Some(value) = self.0.get(name) else {
                let error = Error::invalid(format!("there is no environment variable '{name}'"));
                return Err(error.with_help(format!("set it where headwater runs: {name}=… headwater run …")));
            };
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String> {
        let variables = [("USER", "eva"), ("KEY", "s3cret")];
        let environment: Environment =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(format!("{environment:?}"), r#"{"KEY", "USER"}"#);
        environment.filled(text)
    }

    #[test]
    fn variables_are_put_in_and_missing_ones_are_named() {
        assert_eq!(filled("{{USER}}:{{ KEY }}@host").expect("both are there"), "eva:s3cret@host");
        assert_eq!(filled("{{ X }}").expect_err("is not there").message(), "there is no environment variable 'X'");
        assert!(filled("{{ USER").expect_err("is not closed").message().contains("does not close"));
    }
}
