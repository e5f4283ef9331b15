//! The pipelines that Headwater ships: SQL files with placeholders for where the data is.

use headwater_core::{Error, Result};

/// A pipeline as shipped: its SQL in files, and what its store looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// The name.
    pub name: &'static str,
    /// The SQL files by name, in order; together they are one pipeline.
    pub files: &'static [(&'static str, &'static str)],
    /// The migrations of its store, in order of their numbers from 1.
    pub migrations: &'static [&'static str],
}

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../", $folder, "/", $name)))),*]
    };
}

/// Programme events in, outcome scores, evidence, metrics and lineage out. Its quantities are defined in
/// `pipelines/impact/README.md`.
pub const IMPACT: Shipped = Shipped {
    name: "impact",
    files: files!("impact": "00_sources.sql", "10_programme_tables.sql", "20_text.sql", "30_facts.sql", "40_metrics.sql", "50_lineage.sql"),
    migrations: &[include_str!("../impact/migrations/0001_impact.sql")],
};

/// The reference tables of the impact pipeline by file name: rates, proxies and costs, which a tenant may replace.
pub const IMPACT_TABLES: &[(&str, &str)] =
    files!("impact": "hour_rates.csv", "value_map.csv", "programme_costs.csv", "exchange_rates.csv");

impl Shipped {
    /// Returns the whole SQL with each placeholder `${name}` replaced by its value. Values stand in string literals,
    /// so a quote in one is doubled.
    ///
    /// # Errors
    /// `Internal` when a placeholder has no value.
    pub fn sql(&self, values: &[(&str, &str)]) -> Result<String> {
        let mut sql = String::new();
        for (file, text) in self.files {
            let mut rest = *text;
            while let Some(start) = rest.find("${") {
                let end = rest[start..].find('}').map(|n| start + n);
                let end = end.ok_or_else(|| Error::internal(format!("{file}: a placeholder is not closed")))?;
                let name = &rest[start + 2..end];
                let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
                let value = value.ok_or_else(|| Error::internal(format!("{file}: no value for '{name}'")))?;
                sql.push_str(&rest[..start]);
                sql.push_str(&value.replace('\'', "''"));
                rest = &rest[end + 1..];
            }
            sql.push_str(rest);
            sql.push('\n');
        }
        Ok(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_quotes_doubled() {
        let shipped = Shipped { name: "t", files: &[("a.sql", "path = '${p}' -- ${p}")], migrations: &[] };
        assert_eq!(shipped.sql(&[("p", "it's")]).expect("all have values"), "path = 'it''s' -- it''s\n");
        let error = shipped.sql(&[]).expect_err("'p' has no value");
        assert_eq!(error.to_string(), "a.sql: no value for 'p'");
    }
}
