//! Dated rates: what an hour of volunteering is worth, chosen by the date of the activity.
//!
//! Never holds a rate in code: rates are a file with source and date (`pipelines/impact/hour_rates.csv`), and a tenant
//! can bring another. Immutable once read.

use headwater_core::{Error, Result};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// What an hour is worth in a region, as published for one year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourRate {
    /// The region, `US` or `US-CA` and the like; upper case.
    pub region: String,
    /// The year that the figure is about.
    pub figure_year: i32,
    /// When it was published, as far as known: `2022-04`.
    pub released: Option<String>,
    /// What an hour is worth.
    pub value: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// Who says so.
    pub source: String,
}

/// A table of rates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HourRates {
    by_region: BTreeMap<String, BTreeMap<i32, HourRate>>,
}

const HEADER: &str = "region,figure_year,released,value,currency,source";

impl HourRates {
    /// Returns the table that ships with Headwater: the published figures for the United States.
    pub fn shipped() -> Result<Self> {
        Self::from_csv(include_str!("../../../pipelines/impact/hour_rates.csv"))
    }

    /// Reads a table. The last column may hold commas; no field is quoted. A year that occurs twice in a region is refused.
    pub fn from_csv(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        if lines.next().map(|(_, line)| line.trim_start_matches('\u{feff}').trim()) != Some(HEADER) {
            return Err(Error::invalid(format!("a table of hour rates begins with the line '{HEADER}'")));
        }
        let mut rates = Self::default();
        for (at, line) in lines {
            let wrong = |what: &str| Error::invalid(format!("line {} of the hour rates: {what}", at + 1));
            let fields: Vec<&str> = line.splitn(6, ',').map(str::trim).collect();
            let [region, year, released, value, currency, source] = fields[..] else {
                return Err(wrong("not six fields"));
            };
            let figure_year = year.parse().map_err(|_| wrong("figure_year is no year"))?;
            let value: Decimal = value.parse().map_err(|_| wrong("value is no number"))?;
            if value <= Decimal::ZERO || region.is_empty() || currency.len() != 3 || source.is_empty() {
                return Err(wrong("region, a value above 0, a currency and a source are needed"));
            }
            let rate = HourRate {
                region: region.to_ascii_uppercase(),
                figure_year,
                released: (!released.is_empty()).then(|| released.to_owned()),
                value,
                currency: currency.to_ascii_uppercase(),
                source: source.to_owned(),
            };
            let of_region = rates.by_region.entry(rate.region.clone()).or_default();
            if of_region.insert(figure_year, rate).is_some() {
                return Err(wrong("this region and year stand twice"));
            }
        }
        Ok(rates)
    }

    /// Returns the rate for an activity in a year: the figure of that year, else the last one before it. A state without
    /// a figure takes its country's. `None` if there is none: no rate is better than a wrong one.
    #[must_use]
    pub fn for_year(&self, region: &str, year: i32) -> Option<&HourRate> {
        let region = region.to_ascii_uppercase();
        let latest = |region: &str| self.by_region.get(region)?.range(..=year).next_back().map(|(_, rate)| rate);
        latest(&region).or_else(|| latest(region.split('-').next()?))
    }

    /// Returns all rates by region and year.
    pub fn iter(&self) -> impl Iterator<Item = &HourRate> {
        self.by_region.values().flat_map(BTreeMap::values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_activity_date() {
        let rates = HourRates::shipped().unwrap();
        let value = |region: &str, year| rates.for_year(region, year).map(|rate| rate.value.to_string());
        assert_eq!(value("US", 2021).as_deref(), Some("29.95"));
        assert_eq!(value("US", 2022).as_deref(), Some("31.80"));
        assert_eq!(value("us-ca", 2022).as_deref(), Some("37.32"));
        assert_eq!(value("US-CA", 2021).as_deref(), Some("29.95"), "a state without a figure takes its country's");
        assert_eq!(value("US", 2019).as_deref(), Some("25.43"), "a year without a figure takes the one before");
        assert_eq!(value("US", 2026).as_deref(), Some("31.80"));
        assert_eq!(value("US", 1990), None);
        assert_eq!(value("NO", 2022), None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let with = |line: &str| HourRates::from_csv(&format!("{HEADER}\n{line}\n")).map_err(|e| e.message().to_owned());
        assert!(with("US,2022,2023-04,31.80,USD,somebody, somewhere").is_ok());
        assert_eq!(with("US,2022,,x,USD,s").unwrap_err(), "line 2 of the hour rates: value is no number");
        assert!(with("US,2022,,1,USD,s\nUS,2022,,2,USD,s").unwrap_err().contains("line 3"));
        assert!(HourRates::from_csv("").is_err());
    }
}
