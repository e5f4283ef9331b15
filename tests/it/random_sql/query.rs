//! Makes random queries of everything that a stream and a batch can both answer, and whose answer does not depend on
//! the order of rows. A query is text; what it is made of is kept, so that a failing one can be cut down to the part
//! that fails. No state but the chance that is handed in.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bool,
    Time,
    /// A value that is only looked at.
    Other,
}

/// A query with the columns of its result and the queries inside of it.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) columns: Vec<(String, Kind)>,
    pub(super) parts: Vec<Query>,
}

/// The tables there are, with the columns of each.
const TABLES: [&str; 2] = ["t", "u"];
const COLUMNS: [(&str, Kind); 6] =
    [("id", Kind::Int), ("k", Kind::Int), ("v", Kind::Int), ("s", Kind::Text), ("b", Kind::Bool), ("ts", Kind::Time)];

/// Makes queries.
pub(super) struct Maker<'a, R> {
    chance: &'a mut R,
    n_names: usize,
}

impl<'a, R: Rng> Maker<'a, R> {
    pub(super) fn new(chance: &'a mut R) -> Self {
        Self { chance, n_names: 0 }
    }

    /// Makes a query of queries up to `depth` deep.
    pub(super) fn query(&mut self, depth: usize) -> Query {
        if depth == 0 {
            return self.table();
        }
        match self.chance.random_range(0..17) {
            16 => self.unnest(depth),
            0 | 1 => self.projection(depth),
            2..=4 => self.aggregate(depth),
            5 => self.distinct(depth),
            6..=8 => self.join(depth),
            9 | 10 => self.subquery(depth),
            11 => self.set_operation(depth),
            12 => self.over(depth),
            13 => self.top_n(depth),
            14 => self.window(depth),
            _ => self.grouping_sets(depth),
        }
    }

    fn name(&mut self) -> String {
        self.n_names += 1;
        format!("c{}", self.n_names)
    }

    fn alias(&mut self) -> String {
        self.n_names += 1;
        format!("r{}", self.n_names)
    }

    fn one_of<'b>(&mut self, choices: &[&'b str]) -> &'b str {
        choices.choose(self.chance).expect("there is a choice")
    }

    fn table(&mut self) -> Query {
        let table = self.one_of(&TABLES);
        let columns: Vec<(String, Kind)> = COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Query { sql: format!("SELECT id, k, v, s, b, ts FROM {table}"), columns, parts: Vec::new() }
    }

    /// Makes a query to read from, as it stands in FROM.
    fn source(&mut self, depth: usize) -> (Query, String, Vec<(String, Kind)>) {
        let query = self.query(depth - 1);
        let alias = self.alias();
        let columns = query.columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect();
        let from = format!("({}) AS {alias}", query.sql);
        (query, from, columns)
    }

    fn column(&mut self, columns: &[(String, Kind)], kind: Kind) -> Option<String> {
        let fitting: Vec<&String> = columns.iter().filter(|(_, k)| *k == kind).map(|(name, _)| name).collect();
        fitting.choose(self.chance).map(|name| (*name).clone())
    }

    fn int(&mut self, columns: &[(String, Kind)], depth: usize) -> String {
        let column = self.column(columns, Kind::Int).unwrap_or_else(|| "3".to_owned());
        if depth == 0 {
            return column;
        }
        match self.chance.random_range(0..8) {
            0 => self.chance.random_range(0..5).to_string(),
            1 => format!("({} + {})", self.int(columns, depth - 1), self.int(columns, depth - 1)),
            2 => format!("({} - {})", self.int(columns, depth - 1), self.int(columns, depth - 1)),
            3 => format!("({column} % 3)"),
            4 => format!("coalesce({column}, {})", self.int(columns, depth - 1)),
            5 => {
                let (test, value) = (self.test(columns, depth - 1), self.int(columns, depth - 1));
                format!("CASE WHEN {test} THEN {value} ELSE {column} END")
            }
            _ => column,
        }
    }

    fn text(&mut self, columns: &[(String, Kind)]) -> String {
        let column = self.column(columns, Kind::Text).unwrap_or_else(|| "'a'".to_owned());
        match self.chance.random_range(0..5) {
            0 => format!("upper({column})"),
            1 => format!("({column} || 'x')"),
            _ => column,
        }
    }

    fn test(&mut self, columns: &[(String, Kind)], depth: usize) -> String {
        if depth > 0 && self.chance.random_bool(0.4) {
            let (a, b) = (self.test(columns, depth - 1), self.test(columns, depth - 1));
            return match self.chance.random_range(0..3) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                _ => format!("(NOT {a})"),
            };
        }
        match self.chance.random_range(0..8) {
            0 => format!("{} IS NULL", self.int(columns, 0)),
            1 => format!("{} = {}", self.text(columns), self.text(columns)),
            2 => format!("{} IN (1, 3, 4)", self.int(columns, 0)),
            3 => format!("{} BETWEEN 1 AND 3", self.int(columns, 1)),
            4 => self.column(columns, Kind::Bool).unwrap_or_else(|| "true".to_owned()),
            5 => format!("{} LIKE 'a%'", self.text(columns)),
            _ => {
                let sign = self.one_of(&["=", "<>", "<", "<=", ">", ">="]);
                format!("{} {sign} {}", self.int(columns, 1), self.int(columns, 1))
            }
        }
    }

    fn value(&mut self, columns: &[(String, Kind)]) -> (String, Kind) {
        match self.chance.random_range(0..6) {
            0 => (self.text(columns), Kind::Text),
            1 => (self.test(columns, 1), Kind::Bool),
            2 => match self.column(columns, Kind::Time) {
                Some(time) => (format!("date_trunc('minute', {time})"), Kind::Time),
                None => (self.int(columns, 1), Kind::Int),
            },
            _ => (self.int(columns, 2), Kind::Int),
        }
    }

    /// Names values and lays them out as a select list.
    fn list(&mut self, values: Vec<(String, Kind)>) -> (String, Vec<(String, Kind)>) {
        let mut columns = Vec::with_capacity(values.len());
        let mut texts = Vec::with_capacity(values.len());
        for (value, kind) in values {
            let name = self.name();
            texts.push(format!("{value} AS {name}"));
            columns.push((name, kind));
        }
        (texts.join(", "), columns)
    }

    fn where_clause(&mut self, columns: &[(String, Kind)]) -> String {
        let present = self.column(columns, Kind::Time).filter(|_| self.chance.random_bool(0.15));
        if let Some(time) = present {
            let other = self.test(columns, 0);
            return match self.chance.random_range(0..4) {
                0 => format!(" WHERE {time} > {{now}} - INTERVAL '50 seconds'"),
                1 => format!(" WHERE {time} <= {{now}} AND {other}"),
                2 => format!(" WHERE {{now}} - INTERVAL '10 seconds' >= {time}"),
                _ => format!(" WHERE date_trunc('minute', {{now}}) <= {time} AND {other}"),
            };
        }
        if self.chance.random_bool(0.5) { format!(" WHERE {}", self.test(columns, 2)) } else { String::new() }
    }

    fn projection(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        let n_values = self.chance.random_range(1..4);
        let mut values: Vec<(String, Kind)> = (0..n_values).map(|_| self.value(&columns)).collect();
        values.extend(columns.choose(self.chance).cloned());
        let (list, named) = self.list(values);
        let filter = self.where_clause(&columns);
        Query { sql: format!("SELECT {list} FROM {from}{filter}"), columns: named, parts: vec![part] }
    }

    fn aggregate_call(&mut self, columns: &[(String, Kind)]) -> (String, Kind) {
        let (int, text) = (self.int(columns, 1), self.text(columns));
        let test = self.test(columns, 0);
        let (call, kind) = match self.chance.random_range(0..20) {
            0 | 1 => ("count(*)".to_owned(), Kind::Int),
            2 => (format!("count({int})"), Kind::Int),
            3 => (format!("count(DISTINCT {text})"), Kind::Int),
            4 | 5 => (format!("sum({int})"), Kind::Int),
            6 => (format!("min({int})"), Kind::Int),
            7 => (format!("max({text})"), Kind::Text),
            8 => (format!("avg({int})"), Kind::Other),
            9 => (format!("bool_or({test})"), Kind::Bool),
            10 => (format!("array_agg({int} ORDER BY {int})"), Kind::Other),
            11 => (format!("string_agg({text}, ',' ORDER BY {text} DESC)"), Kind::Text),
            12 => (format!("median({int})"), Kind::Other),
            13 => (format!("round(stddev({int}), 6)"), Kind::Other),
            14 => (format!("bit_xor({int})"), Kind::Int),
            15 => (format!("sum(DISTINCT {int})"), Kind::Int),
            16 => (format!("first_value({int} ORDER BY {int} DESC NULLS LAST)"), Kind::Int),
            17 => (format!("bool_and({test})"), Kind::Bool),
            18 => (format!("CAST(approx_distinct({int}) AS BIGINT)"), Kind::Int),
            _ => (format!("percentile_cont(0.25) WITHIN GROUP (ORDER BY {int})"), Kind::Other),
        };
        let takes_filter = !call.starts_with("round") && !call.starts_with("CAST");
        if takes_filter && self.chance.random_bool(0.2) {
            let filter = self.test(columns, 1);
            return (format!("{call} FILTER (WHERE {filter})"), kind);
        }
        (call, kind)
    }

    fn aggregate(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        let n_keys = self.chance.random_range(0..3);
        let keys: Vec<(String, Kind)> = (0..n_keys).map(|_| self.value(&columns)).collect();
        let n_calls = self.chance.random_range(1..4);
        let calls: Vec<(String, Kind)> = (0..n_calls).map(|_| self.aggregate_call(&columns)).collect();
        let by: Vec<String> = (1..=keys.len()).map(|place| place.to_string()).collect();
        let (list, named) = self.list(keys.into_iter().chain(calls).collect());
        let filter = self.where_clause(&columns);
        let group = if by.is_empty() { String::new() } else { format!(" GROUP BY {}", by.join(", ")) };
        let having = match self.chance.random_range(0..4) {
            0 if !by.is_empty() => " HAVING count(*) > 1".to_owned(),
            1 if !by.is_empty() => format!(" HAVING sum({}) >= 2", self.int(&columns, 0)),
            _ => String::new(),
        };
        Query { sql: format!("SELECT {list} FROM {from}{filter}{group}{having}"), columns: named, parts: vec![part] }
    }

    fn grouping_sets(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        // DataFusion takes a constant that is grouped by for the same in every grouping set.
        let (Some(a), Some(b)) = (self.column(&columns, Kind::Int), self.column(&columns, Kind::Text)) else {
            return self.aggregate(depth);
        };
        let a = format!("coalesce({a}, 7)");
        let sets = match self.chance.random_range(0..3) {
            0 => format!("ROLLUP ({a}, {b})"),
            1 => format!("CUBE ({a}, {b})"),
            _ => format!("GROUPING SETS (({a}, {b}), ({b}), ())"),
        };
        let (call, kind) = self.aggregate_call(&columns);
        let (list, named) = self.list(vec![(a, Kind::Int), (b, Kind::Text), (call, kind)]);
        Query { sql: format!("SELECT {list} FROM {from} GROUP BY {sets}"), columns: named, parts: vec![part] }
    }

    fn distinct(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        let values: Vec<(String, Kind)> = (0..self.chance.random_range(1..3)).map(|_| self.value(&columns)).collect();
        if self.chance.random_bool(0.4) {
            let plain: Vec<(String, Kind)> = columns.iter().filter(|(_, kind)| *kind != Kind::Other).cloned().collect();
            if let Some((key, _)) = plain.first().cloned() {
                let order: Vec<&str> = plain.iter().map(|(name, _)| name.as_str()).collect();
                let order = order.join(", ");
                let (list, named) = self.list(plain.clone());
                let sql = format!("SELECT DISTINCT ON ({key}) {list} FROM {from} ORDER BY {order}");
                return Query { sql, columns: named, parts: vec![part] };
            }
        }
        let (list, named) = self.list(values);
        let filter = self.where_clause(&columns);
        Query { sql: format!("SELECT DISTINCT {list} FROM {from}{filter}"), columns: named, parts: vec![part] }
    }

    fn join(&mut self, depth: usize) -> Query {
        let (left, left_from, left_columns) = self.source(depth);
        let right_depth = self.chance.random_range(1..=depth);
        let (right, right_from, right_columns) = self.source(right_depth);
        let both: Vec<(String, Kind)> = left_columns.iter().chain(&right_columns).cloned().collect();
        let kind = self.one_of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "JOIN", "LEFT JOIN"]);
        let equal = format!("{} = {}", self.int(&left_columns, 0), self.int(&right_columns, 0));
        let condition = match self.chance.random_range(0..6) {
            0 => format!("{equal} AND {}", self.test(&both, 0)),
            // An outer join on an inequality alone is quadratic; the tables are small.
            1 if kind != "FULL JOIN" => format!("{} < {}", self.int(&left_columns, 0), self.int(&right_columns, 0)),
            2 => format!("{equal} AND {} = {}", self.text(&left_columns), self.text(&right_columns)),
            3 => match (self.column(&left_columns, Kind::Time), self.column(&right_columns, Kind::Time)) {
                (Some(left), Some(right)) => format!(
                    "{equal} AND {left} BETWEEN {right} - INTERVAL '20 seconds' AND {right} + INTERVAL '5 seconds'"
                ),
                _ => equal,
            },
            _ => equal,
        };
        let mut values: Vec<(String, Kind)> = (0..2).filter_map(|_| both.choose(self.chance).cloned()).collect();
        values.push(self.value(&both));
        let (list, named) = self.list(values);
        let filter = self.where_clause(&both);
        let sql = format!("SELECT {list} FROM {left_from} {kind} {right_from} ON {condition}{filter}");
        Query { sql, columns: named, parts: vec![left, right] }
    }

    fn subquery(&mut self, depth: usize) -> Query {
        let (outer, from, columns) = self.source(depth);
        let (inner, inner_from, inner_columns) = self.source(1);
        let (a, b) = (self.int(&columns, 0), self.int(&inner_columns, 0));
        let inner_test = self.test(&inner_columns, 0);
        let mut values: Vec<(String, Kind)> = columns.choose(self.chance).cloned().into_iter().collect();
        values.push(self.value(&columns));
        let condition = match self.chance.random_range(0..7) {
            0 => format!("EXISTS (SELECT 1 FROM {inner_from} WHERE {a} = {b} AND {inner_test})"),
            1 => format!("NOT EXISTS (SELECT 1 FROM {inner_from} WHERE {a} = {b} AND {inner_test})"),
            2 => format!("{a} IN (SELECT {b} FROM {inner_from} WHERE {inner_test})"),
            3 => format!("{a} NOT IN (SELECT {b} FROM {inner_from} WHERE {inner_test})"),
            4 => {
                let test = self.test(&columns, 0);
                format!("({test} OR {a} IN (SELECT {b} FROM {inner_from} WHERE {inner_test}))")
            }
            5 => format!("{a} >= (SELECT max({b}) FROM {inner_from} WHERE {inner_test})"),
            _ => {
                let other = self.int(&inner_columns, 0);
                values.push((format!("(SELECT sum({other}) FROM {inner_from} WHERE {b} = {a})"), Kind::Int));
                "true".to_owned()
            }
        };
        let (list, named) = self.list(values);
        let sql = format!("SELECT {list} FROM {from} WHERE {condition}");
        Query { sql, columns: named, parts: vec![outer, inner] }
    }

    fn set_operation(&mut self, depth: usize) -> Query {
        let (left, left_from, left_columns) = self.source(depth);
        let (right, right_from, right_columns) = self.source(1);
        let name = (self.name(), self.name());
        let of = |a: &str, b: &str, from: &str| format!("SELECT {a} AS {}, {b} AS {} FROM {from}", name.0, name.1);
        let left_sql = of(&self.int(&left_columns, 1), &self.text(&left_columns), &left_from);
        let right_sql = of(&self.int(&right_columns, 1), &self.text(&right_columns), &right_from);
        let operator = self.one_of(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
        let columns = vec![(name.0.clone(), Kind::Int), (name.1.clone(), Kind::Text)];
        Query { sql: format!("{left_sql} {operator} {right_sql}"), columns, parts: vec![left, right] }
    }

    /// The columns that rows can be ordered by, so that rows which are equal in the order are equal.
    fn order_by_all(columns: &[(String, Kind)]) -> Option<String> {
        let is_plain = columns.iter().all(|(_, kind)| *kind != Kind::Other);
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        is_plain.then(|| names.join(", "))
    }

    fn over(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        // A number alone would be the place of a column.
        let int = self.column(&columns, Kind::Int).unwrap_or_else(|| "(1 + 1)".to_owned());
        let key = self.value(&columns).0;
        let partition = if self.chance.random_bool(0.7) { format!("PARTITION BY {key} ") } else { String::new() };
        let direction = self.one_of(&["", " DESC", " NULLS FIRST"]);
        let peers = format!("{partition}ORDER BY {int}{direction}");
        let mut calls = vec![
            (format!("CAST(rank() OVER ({peers}) AS BIGINT)"), Kind::Int),
            (format!("CAST(dense_rank() OVER ({peers}) AS BIGINT)"), Kind::Int),
            (format!("sum({int}) OVER ({peers})"), Kind::Int),
            (format!("count(*) OVER ({})", partition.trim()), Kind::Int),
            (format!("max({int}) OVER ({peers} GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"), Kind::Int),
            (format!("cume_dist() OVER ({peers})"), Kind::Other),
        ];
        if let Some(all) = Self::order_by_all(&columns) {
            let total = format!("{partition}ORDER BY {all}");
            calls.push((format!("CAST(row_number() OVER ({total}) AS BIGINT)"), Kind::Int));
            calls.push((format!("lag({int}) OVER ({total})"), Kind::Int));
            calls.push((format!("lead({int}, 2, 0) OVER ({total})"), Kind::Int));
            calls.push((format!("sum({int}) OVER ({total} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)"), Kind::Int));
            calls.push((format!("min({int}) OVER ({total} ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)"), Kind::Int));
            calls.push((format!("CAST(ntile(3) OVER ({total}) AS BIGINT)"), Kind::Int));
            calls.push((format!("first_value({int}) OVER ({total})"), Kind::Int));
        }
        let mut values: Vec<(String, Kind)> = columns.choose(self.chance).cloned().into_iter().collect();
        for _ in 0..self.chance.random_range(1..3) {
            values.extend(calls.choose(self.chance).cloned());
        }
        let (list, named) = self.list(values);
        let filter = self.where_clause(&columns);
        Query { sql: format!("SELECT {list} FROM {from}{filter}"), columns: named, parts: vec![part] }
    }

    fn top_n(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        let Some(all) = Self::order_by_all(&columns) else { return self.over(depth) };
        let n = self.chance.random_range(1..4);
        let (list, named) = self.list(columns.clone());
        let direction = self.one_of(&["", " DESC"]);
        let sql = match self.chance.random_range(0..3) {
            0 => format!("SELECT {list} FROM {from} ORDER BY {all}{direction} LIMIT {n}"),
            1 => format!("SELECT {list} FROM {from} ORDER BY {all}{direction} LIMIT {n} OFFSET 1"),
            _ => {
                let (key, _) = self.value(&columns);
                let number = self.name();
                let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                let inner = format!(
                    "SELECT {list}, row_number() OVER (PARTITION BY {key} ORDER BY {all}{direction}) AS {number} FROM {from}"
                );
                format!("SELECT {} FROM ({inner}) AS q WHERE {number} <= {n}", names.join(", "))
            }
        };
        Query { sql, columns: named, parts: vec![part] }
    }

    fn unnest(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        let (a, b) = (self.int(&columns, 1), self.int(&columns, 0));
        let filter = self.where_clause(&columns);
        let kept = columns.choose(self.chance).cloned();
        if self.chance.random_bool(0.5) {
            let values = kept.into_iter().chain([(format!("unnest([{a}, {b}])"), Kind::Int)]).collect();
            let (list, named) = self.list(values);
            return Query { sql: format!("SELECT {list} FROM {from}{filter}"), columns: named, parts: vec![part] };
        }
        let key = self.value(&columns);
        let collected =
            format!("SELECT {} AS key, array_agg({a} ORDER BY {a}) AS list FROM {from}{filter} GROUP BY 1", key.0);
        let (list, named) = self.list(vec![
            ("CASE WHEN key IS NULL THEN NULL ELSE key END".to_owned(), key.1),
            ("unnest(list)".to_owned(), Kind::Int),
        ]);
        Query { sql: format!("SELECT {list} FROM ({collected}) AS q"), columns: named, parts: vec![part] }
    }

    /// Groups by windows as by any other value: results change as rows come.
    fn window(&mut self, depth: usize) -> Query {
        let (part, from, columns) = self.source(depth);
        let Some(time) = self.column(&columns, Kind::Time) else { return self.aggregate(depth) };
        let size = self.one_of(&["10 seconds", "1 minute", "45 seconds"]);
        let window = format!("tumble({time}, INTERVAL '{size}')");
        let (call, kind) = self.aggregate_call(&columns);
        let key = self.value(&columns);
        let values = vec![(format!("{window}['start']"), Kind::Time), key.clone(), (call, kind)];
        let (list, named) = self.list(values);
        let sql = format!("SELECT {list} FROM {from} GROUP BY {window}, {}", key.0);
        Query { sql, columns: named, parts: vec![part] }
    }
}
