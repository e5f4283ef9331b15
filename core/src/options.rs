//! The options of a table, as written in `WITH (…)`. Every option that is given must be read by somebody: one that
//! nobody knows is a mistake of the user, and is reported with the names that would have been understood.

use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

/// The longest list of known names that an error message spells out.
const NAMES_SHOWN_MAX: usize = 20;

/// Options by name, and which of them were asked for.
#[derive(Default)]
pub struct Options {
    values: BTreeMap<String, String>,
    /// What is shown in the place of values that must not be.
    shown: BTreeMap<String, String>,
    asked: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Options {
    /// Values that are hidden stay so.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.values.iter().map(|(name, value)| (name, self.shown.get(name).unwrap_or(value)));
        f.debug_map().entries(shown).finish()
    }
}

impl Clone for Options {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), shown: self.shown.clone(), asked: Mutex::default() }
    }
}

impl FromIterator<(String, String)> for Options {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(options: I) -> Self {
        Self { values: options.into_iter().collect(), shown: BTreeMap::new(), asked: Mutex::default() }
    }
}

impl Options {
    /// Says what is shown of an option whose value came from somewhere else and may be a secret.
    pub fn hide(&mut self, name: impl Into<String>, shown: impl Into<String>) {
        self.shown.insert(name.into(), shown.into());
    }

    /// Gives an option another value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// Returns an option as it may be shown: as it was written, not as it was filled in.
    pub fn shown(&self, name: &str) -> Option<&str> {
        self.shown.get(name).map(String::as_str).or_else(|| self.get(name))
    }

    /// Returns an option, or `None` when it is not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.to_owned());
        self.values.get(name).map(String::as_str)
    }

    /// Returns the options whose names start with `prefix`, by the rest of their names.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.keys().filter_map(move |name| Some((name.strip_prefix(prefix)?, self.get(name)?)))
    }

    /// Returns an option that must be given.
    ///
    /// # Errors
    /// `Invalid`, with the name.
    pub fn require(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            Error::invalid(format!("the option '{name}' is missing")).with_help(format!("add {name} = '…' to WITH"))
        })
    }

    /// Returns an option parsed as `T`, or `None` when it is not given.
    ///
    /// # Errors
    /// `Invalid`, with the name, the value and `expected`, which describes the values that are understood.
    pub fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| {
            let value = self.shown(name).unwrap_or_default();
            Error::invalid(format!("the option {name} = '{value}' is not understood"))
                .with_help(format!("use {expected}"))
        })
    }

    /// Returns an option that is a duration, such as `500 ms`, `5 seconds` or `1 hour 30 minutes`; `None` when it is
    /// not given.
    ///
    /// # Errors
    /// `Invalid`, with the name and the value.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        duration(value).map(Some).ok_or_else(|| {
            Error::invalid(format!("the option {name} = '{value}' is not understood"))
                .with_help("write numbers with units from milliseconds to days, such as '5 seconds' or '500 ms'")
        })
    }

    /// Returns an option that is one of a list, or `default` when it is not given.
    ///
    /// # Errors
    /// `Invalid`, with the name, the value and the list.
    pub fn one_of<'a>(&'a self, name: &str, default: &'a str, choices: &[&str]) -> Result<&'a str> {
        let value = self.get(name).unwrap_or(default);
        if choices.contains(&value) {
            return Ok(value);
        }
        let value = self.shown(name).unwrap_or_default();
        Err(Error::invalid(format!("the option {name} = '{value}' is not understood"))
            .with_help(format!("use one of: {}", choices.join(", "))))
    }

    /// Checks that every option that is given was asked for.
    ///
    /// # Errors
    /// `Invalid`, with the first unknown name and those that were asked for.
    pub fn check_all_known(&self) -> Result<()> {
        let asked = self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(unknown) = self.values.keys().find(|name| !asked.contains(*name)) else { return Ok(()) };
        let known: Vec<&str> = asked.iter().map(String::as_str).take(NAMES_SHOWN_MAX).collect();
        Err(Error::invalid(format!("there is no option '{unknown}'"))
            .with_help(format!("the options here are: {}", known.join(", "))))
    }
}

/// Reads pairs of a number and a unit, with or without a space between them.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let millis: u64 = match rest[..letters].to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
    }
    (!text.trim().is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_option_nobody_asked_for_is_an_error() {
        let options = options(&[("path", "a"), ("pth", "b")]);
        options.get("path");
        let error = options.check_all_known().expect_err("'pth' is unknown");
        assert_eq!(error.to_string(), "there is no option 'pth'\nhelp: the options here are: path");
    }

    #[test]
    fn a_family_of_options_is_known_by_its_prefix() {
        let options = options(&[("librdkafka.linger.ms", "5"), ("topic", "t")]);
        assert_eq!(options.with_prefix("librdkafka.").collect::<Vec<_>>(), [("linger.ms", "5")]);
        let error = options.check_all_known().expect_err("'topic' is unknown");
        assert_eq!(error.message(), "there is no option 'topic'");
    }

    #[test]
    fn a_hidden_value_is_not_in_a_message() {
        let mut options = options(&[("format", "s3cret")]);
        options.hide("format", "{{ KEY }}");
        let error = options.one_of("format", "json", &["json"]).expect_err("is not one");
        assert_eq!(error.message(), "the option format = '{{ KEY }}' is not understood");
        assert_eq!(options.get("format"), Some("s3cret"));
    }

    #[test]
    fn values_are_checked_with_their_name() {
        let options = options(&[("rows", "many")]);
        let error = options.parse::<u64>("rows", "a whole number").expect_err("'many' is no number");
        assert_eq!(error.to_string(), "the option rows = 'many' is not understood\nhelp: use a whole number");
        assert_eq!(options.parse::<u64>("other", "a whole number").expect("not given"), None);
    }

    #[test]
    fn durations_have_units() {
        let cases = [("500 ms", 500), ("5s", 5_000), ("1 hour 30 minutes", 5_400_000), ("2days", 172_800_000)];
        for (text, millis) in cases {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "seconds", "5 fortnights", "-1 s", "99999999999999999999 s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
