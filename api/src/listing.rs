//! Pages of rows as JSON: one SELECT with bound values, filters, a keyset and a limit.
//!
//! Only text written in this crate becomes SQL; everything that came from a client is a bound value. A page has at
//! most `limit` rows, whatever the table holds.

use crate::cursor;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::store::Store;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};
use serde_json::{Map, Value, json};

/// The rows of a page when the client does not say.
const LIMIT_DEFAULT: usize = 50;
/// The most rows of a page.
const LIMIT_MAX: usize = 100;

/// What becomes of a column on its way to JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As SQLite has it.
    Plain,
    /// JSON text, sent as JSON.
    Json,
    /// 0 or 1, sent as a boolean.
    Flag,
}

/// A column of the answer: the SQL expression and its name in JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) sql: &'static str,
    pub(crate) name: &'static str,
    pub(crate) form: Form,
}

/// Names a column that is sent as it is.
pub(crate) const fn plain(sql: &'static str, name: &'static str) -> Column {
    Column { sql, name, form: Form::Plain }
}

/// Names a column of JSON text.
pub(crate) const fn nested(sql: &'static str, name: &'static str) -> Column {
    Column { sql, name, form: Form::Json }
}

/// Names a column of 0 and 1.
pub(crate) const fn flag(sql: &'static str, name: &'static str) -> Column {
    Column { sql, name, form: Form::Flag }
}

/// A question for a page of rows.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    columns: &'static [Column],
    from: &'static str,
    keys: &'static [&'static str],
    descending: bool,
    conditions: Vec<String>,
    values: Vec<Sql>,
}

/// A page of rows, and the cursor of the next.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    /// Lays the page out as the answer.
    pub(crate) fn into_json(self) -> Value {
        json!({ "items": self.items, "next_cursor": self.next_cursor })
    }
}

impl Listing {
    /// Asks for columns of a FROM clause; `keys` are columns that are never null and together unique.
    pub(crate) fn new(columns: &'static [Column], from: &'static str, keys: &'static [&'static str]) -> Self {
        Self { columns, from, keys, descending: false, conditions: Vec::new(), values: Vec::new() }
    }

    /// Puts the greatest key first.
    #[must_use]
    pub(crate) fn newest_first(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Adds a condition whose `?` are bound to the values.
    pub(crate) fn filter(&mut self, condition: impl Into<String>, values: impl IntoIterator<Item = String>) {
        let before = self.values.len();
        let condition = condition.into();
        self.values.extend(values.into_iter().map(Sql::Text));
        debug_assert_eq!(condition.matches('?').count(), self.values.len() - before, "{condition}");
        self.conditions.push(condition);
    }

    /// Adds `column IN (…)`; with no value nothing matches.
    pub(crate) fn filter_in<'a>(&mut self, column: &str, values: impl IntoIterator<Item = &'a str>) {
        let values: Vec<String> = values.into_iter().map(String::from).collect();
        let marks = vec!["?"; values.len()].join(", ");
        self.filter(format!("{column} IN ({marks})"), values);
    }

    /// Adds `column = ?` when the client gave the parameter.
    pub(crate) fn filter_equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.filter(format!("{column} = ?"), [value.to_owned()]);
        }
    }

    /// Reads the page that `limit` and `cursor` ask for.
    pub(crate) async fn page(self, store: &Store, path: &str, asked: &Parameters) -> Result<Page, Problem> {
        let limit = asked.integer("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
        let question = cursor::question(&[path, &asked.without(&["cursor", "limit"])]);
        let after = asked.get("cursor").map(|text| cursor::decode(&question, text, self.keys.len())).transpose()?;
        let (mut items, mut keys) = store.read(move |connection| self.run(connection, after, limit)).await?;
        let next_cursor = (items.len() > limit).then(|| {
            items.truncate(limit);
            keys.truncate(limit);
            keys.last().map(|key| cursor::encode(&question, key))
        });
        Ok(Page { items, next_cursor: next_cursor.flatten() })
    }

    /// Reads the first rows that match, without a cursor.
    pub(crate) fn first(self, connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Value>> {
        let (mut items, _) = self.run(connection, None, limit)?;
        items.truncate(limit);
        Ok(items)
    }

    /// Reads one row more than the page holds: whether it exists tells whether there is a next page.
    fn run(
        mut self,
        connection: &Connection,
        after: Option<Vec<Sql>>,
        limit: usize,
    ) -> rusqlite::Result<(Vec<Value>, Vec<Vec<Sql>>)> {
        if let Some(after) = after {
            let marks = vec!["?"; self.keys.len()].join(", ");
            let compare = if self.descending { '<' } else { '>' };
            self.conditions.push(format!("({}) {compare} ({marks})", self.keys.join(", ")));
            self.values.extend(after);
        }
        let sql = self.sql(limit + 1);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(self.values))?;
        let (mut items, mut keys) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            items.push(to_json(row, self.columns)?);
            let key = (0..self.keys.len()).map(|at| row.get(self.columns.len() + at));
            keys.push(key.collect::<rusqlite::Result<Vec<Sql>>>()?);
        }
        Ok((items, keys))
    }

    fn sql(&self, limit: usize) -> String {
        let columns = self.columns.iter().map(|column| column.sql).chain(self.keys.iter().copied());
        let columns = columns.collect::<Vec<_>>().join(", ");
        let filters = match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE ({})", self.conditions.join(") AND (")),
        };
        let direction = if self.descending { " DESC" } else { "" };
        let order: Vec<String> = self.keys.iter().map(|key| format!("{key}{direction}")).collect();
        format!("SELECT {columns} FROM {}{filters} ORDER BY {} LIMIT {limit}", self.from, order.join(", "))
    }
}

fn to_json(row: &Row<'_>, columns: &[Column]) -> rusqlite::Result<Value> {
    let mut object = Map::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        object.insert(column.name.into(), value_to_json(row.get_ref(at)?, column.form));
    }
    Ok(Value::Object(object))
}

fn value_to_json(value: ValueRef<'_>, form: Form) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) if form == Form::Flag => json!(number != 0),
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let parsed = if form == Form::Json { serde_json::from_str(&text).ok() } else { None };
            parsed.unwrap_or_else(|| json!(text))
        }
        ValueRef::Blob(bytes) => json!(String::from_utf8_lossy(bytes)),
    }
}
