//! The merge of staged rows into the table, by net multiplicity: deletions by key, then insertions. Text of SQL and no
//! state; whoever runs it brings the transaction.

use super::PostgresSpec;
use super::schema::{Target, quoted};
use std::ops::Range;

/// The columns of a staging table beside those of the table. Nobody else's have such names.
pub(super) const PART: &str = "_headwater_part";
pub(super) const SEQ: &str = "_headwater_seq";
pub(super) const DIFF: &str = "_headwater_diff";

/// What is merged from where.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Part {
    /// The staging table's name in the schema of the table.
    pub(super) staging: String,
    /// Which of the epochs staged there.
    pub(super) part: i64,
    /// In how many pieces its rows came. One is net already; several may cancel each other.
    pub(super) pieces: u32,
    /// Whether rows are taken back.
    pub(super) deletes: bool,
}

/// The statements for one part.
pub(super) struct Merge<'a> {
    pub(super) spec: &'a PostgresSpec,
    pub(super) target: &'a Target,
    /// The staging table, quoted with its schema where it has one.
    pub(super) staging: String,
    pub(super) part: &'a Part,
}

impl Merge<'_> {
    /// The columns of the table, quoted, each with a prefix.
    fn columns(&self, prefix: &str) -> Vec<String> {
        self.spec.schema.fields().iter().map(|field| format!("{prefix}{}", quoted(field.name()))).collect()
    }

    fn key(&self) -> Vec<String> {
        self.spec.key.iter().map(|at| quoted(self.spec.schema.field(*at).name())).collect()
    }

    /// The net rows of the part.
    fn net(&self) -> String {
        let (staging, part) = (&self.staging, self.part.part);
        let columns = self.columns("").join(", ");
        if !self.part.deletes || self.part.pieces <= 1 {
            return format!("(SELECT {SEQ}, {DIFF}, {columns} FROM {staging} WHERE {PART} = {part})");
        }
        // The type json has no equality; its text has.
        let grouped = self.columns("").into_iter().zip(&self.target.opaque).map(|(name, opaque)| match opaque {
            Some(type_name) => (format!("{name}::text"), format!("{name}::text::{type_name} AS {name}")),
            None => (name.clone(), name),
        });
        let (by, shown): (Vec<String>, Vec<String>) = grouped.unzip();
        format!(
            "(SELECT max({SEQ}) AS {SEQ}, sum({DIFF})::bigint AS {DIFF}, {} FROM {staging} WHERE {PART} = {part} \
             GROUP BY {} HAVING sum({DIFF}) <> 0)",
            shown.join(", "),
            by.join(", ")
        )
    }

    /// Deletes what the part takes back and does not bring anew, so that nothing that refers to a row that is only
    /// changed loses it.
    pub(super) fn deletions(&self) -> Vec<String> {
        if !self.part.deletes {
            return Vec::new();
        }
        let (target, net, key) = (&self.target.name, self.net(), self.key());
        let same = |a: &str, b: &str, is: &str| {
            key.iter().map(|name| format!("{a}.{name} {is} {b}.{name}")).collect::<Vec<_>>().join(" AND ")
        };
        let mut keep = String::new();
        if !self.spec.ignores {
            keep = format!(
                " AND NOT EXISTS (SELECT 1 FROM net AS new WHERE new.{DIFF} > 0 AND {})",
                same("new", "net", "=")
            );
        }
        let mut statements = vec![format!(
            "WITH net AS MATERIALIZED {net} DELETE FROM {target} AS kept USING net \
             WHERE net.{DIFF} < 0 AND {}{keep}",
            same("kept", "net", "=")
        )];
        if self.spec.key.iter().any(|at| self.spec.schema.field(*at).is_nullable()) {
            // A key with a null part is equal to nothing.
            let null: Vec<String> = key.iter().map(|name| format!("net.{name} IS NULL")).collect();
            statements.push(format!(
                "WITH net AS MATERIALIZED {net} DELETE FROM {target} AS kept USING net \
                 WHERE net.{DIFF} < 0 AND ({}) AND {}",
                null.join(" OR "),
                same("kept", "net", "IS NOT DISTINCT FROM")
            ));
        }
        statements
    }

    /// Inserts what the part brings, or the rows of it whose sequence number is in a range.
    pub(super) fn insertion(&self, range: Option<&Range<i64>>) -> String {
        let (target, net, key) = (&self.target.name, self.net(), self.key().join(", "));
        let columns = self.columns("").join(", ");
        let within =
            range.map_or_else(String::new, |range| format!(" AND {SEQ} >= {} AND {SEQ} < {}", range.start, range.end));
        let rows = format!("FROM {net} AS net WHERE {DIFF} > 0{within}");
        if self.spec.key.is_empty() {
            return format!("INSERT INTO {target} ({columns}) SELECT {columns} {rows} ORDER BY {SEQ}");
        }
        let rest: Vec<String> = (0..self.spec.schema.fields().len())
            .filter(|at| !self.spec.key.contains(at))
            .map(|at| quoted(self.spec.schema.field(at).name()))
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        if self.spec.ignores || rest.is_empty() {
            return format!(
                "INSERT INTO {target} ({columns}) SELECT {columns} {rows} ORDER BY {SEQ} ON CONFLICT ({key}) DO NOTHING"
            );
        }
        format!(
            "INSERT INTO {target} ({columns}) SELECT DISTINCT ON ({key}) {columns} {rows} ORDER BY {key}, {SEQ} DESC \
             ON CONFLICT ({key}) DO UPDATE SET {}",
            rest.join(", ")
        )
    }

    /// Takes the net row of a sequence number out of the part, and returns it as JSON.
    pub(super) fn removal(&self, seq: i64) -> String {
        format!(
            "UPDATE {staging} AS staged SET {DIFF} = staged.{DIFF} - net.{DIFF} FROM {net} AS net \
             WHERE staged.{PART} = {part} AND staged.{SEQ} = {seq} AND net.{SEQ} = {seq} \
             RETURNING (SELECT row_to_json(r)::text FROM (SELECT {columns}) AS r)",
            staging = self.staging,
            net = self.net(),
            part = self.part.part,
            columns = self.columns("staged.").join(", ")
        )
    }
}
