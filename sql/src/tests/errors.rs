//! Goldens of messages: each mistake has a place and a way out. `UPDATE_EXPECT=1` rewrites them.

use super::explain;
use expect_test::{Expect, expect};

const TABLES: &str = "\
CREATE TABLE bids (auction BIGINT, bidder TEXT, price BIGINT, ts TIMESTAMP, WATERMARK FOR ts)
WITH (connector = 'files', path = 'bids.json');
CREATE TABLE plain (name TEXT, at TIMESTAMP) WITH (connector = 'files', path = 'p.json');
CREATE TABLE out (auction BIGINT, n BIGINT) WITH (connector = 'files', path = 'out.json');
CREATE TABLE keyless (auction BIGINT, n BIGINT) WITH (connector = 'store');
";

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&explain(&format!("{TABLES}{sql}")));
}

#[test]
fn mistakes_of_spelling() {
    check(
        "SELECT\n  pric FROM bids;",
        expect![[r#"
        line 7, column 3: there is no column 'pric'
        help: did you mean price?
    "#]],
    );
    check(
        "SELECT price FROM bid;",
        expect![[r#"
        line 6, column 19: there is no table or view 'bid'
        help: did you mean bids?
    "#]],
    );
    check(
        "SELECT price FROM bids b JOIN nowhere n ON b.auction = n.auction;",
        expect![[r#"
        line 6, column 31: there is no table or view 'nowhere'
        help: the tables and views are: bids, keyless, out, plain
    "#]],
    );
    check(
        "SELECT uper(bidder) FROM bids;",
        expect![[r#"
        line 6, column 8: there is no function 'uper'
        help: did you mean upper?
    "#]],
    );
    check(
        "SELEC price FROM bids;",
        expect![[r#"
        line 6, column 1: expected an SQL statement, found SELEC
    "#]],
    );
    check(
        "SELECT price FRM bids;",
        expect![[r#"
        line 6, column 18: expected the end of the statement, found 'bids'
        help: end each statement with ';'
    "#]],
    );
    check(
        "SELECT 'abc FROM bids;",
        expect![[r#"
            line 6, column 8: Unterminated string literal
            help: a text begins and ends with ', a comment with /* and */
        "#]],
    );
    check(
        "SELECT (price FROM bids;",
        expect![[r#"
        line 6, column 15: expected ), found FROM
    "#]],
    );
    check(
        "",
        expect![[r#"
        nothing is asked for
        help: add INSERT INTO table SELECT …, or a SELECT at the end
    "#]],
    );
}

#[test]
fn mistakes_in_tables() {
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'fils', path = 'x'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 30: there is no connector 'fils'
        help: use one of: files, inbox, stdout, store
    "#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'files', pth = 'x'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 1: the option 'path' is missing
        help: add path = '…' to WITH
    "#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'files', path = 'x', pth = 'x'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 63: there is no option 'pth'
        help: the options here are: allowed_lateness, contract, event_time_field, format, late, path, state_ttl, type, version
    "#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (path = 'x'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 14: the table 't' does not say which connector it uses
        help: add connector = '…', one of: files, inbox, stdout, store
    "#]],
    );
    check(
        "CREATE TABLE t (a GEOMETRY) WITH (connector = 'files'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 19: the type GEOMETRY is not supported
        help: use BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, DATE, TIMESTAMP, a type with [], or STRUCT<name type, …>
    "#]],
    );
    check(
        "CREATE TABLE bids (a INT) WITH (connector = 'files');",
        expect![[r#"
        line 6, column 14: 'bids' is declared already, in line 1
        help: give it another name
    "#]],
    );
}

#[test]
fn mistakes_in_keys_and_event_times() {
    check(
        "CREATE TABLE t (a INT, WATERMARK FOR b) WITH (connector = 'files', path = 'x'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 38: there is no column 'b' for the event time
        help: did you mean a?
    "#]],
    );
    check(
        "CREATE TABLE t (a INT, WATERMARK FOR a) WITH (connector = 'files', path = 'x'); SELECT a FROM t;",
        expect![[r#"
        line 6, column 38: the event time 'a' is Int32, not a TIMESTAMP
        help: declare it as a TIMESTAMP
    "#]],
    );
    check(
        "CREATE TABLE t (a INT PRIMARY KEY) WITH (connector = 'files', path = 'x'); SELECT a FROM t;",
        expect![[r#"
            line 6, column 17: 't' has a PRIMARY KEY, but nothing says which row is newer
            help: add version = 'column' to WITH, declare WATERMARK FOR a column, or write NOT ENFORCED
        "#]],
    );
    check(
        "CREATE TABLE t WITH (connector = 'inbox', path = 'x', contract = 'buddy.feedback.submited'); SELECT 1;",
        expect![[r#"
        line 6, column 55: there is no contract 'buddy.feedback.submited'
        help: did you mean 'buddy.feedback.submitted'? 'headwater contracts list' shows all of them
    "#]],
    );
    check(
        "CREATE TABLE t (a INT b INT);",
        expect![[r#"
            line 6, column 23: expected ',' or ')' after a column, found 'b'
            help: a column is a name, a type, and possibly NOT NULL, PRIMARY KEY, DEFAULT …, GENERATED ALWAYS AS (…) or METADATA FROM '…'
        "#]],
    );
    check(
        "CREATE TABLE t (a INT); SELECT a FROM t;",
        expect![[r#"
        line 6, column 39: nothing is inserted into the table 't'
        help: add INSERT INTO t SELECT …, or say WITH (connector = '…') in its declaration
    "#]],
    );
    check(
        "CREATE TABLE t (a INT); INSERT INTO t SELECT a FROM t; SELECT a FROM t;",
        expect![[r#"
        line 6, column 1: the table 't' is filled from itself
        help: insert into another table
    "#]],
    );
}

#[test]
fn what_a_stream_cannot_answer() {
    check(
        "SELECT price FROM bids\nORDER BY price;",
        expect![[r#"
        line 7, column 1: ORDER BY without LIMIT is not supported
        help: leave it out: a table has no order; add LIMIT for the first rows, or order them where they are read
    "#]],
    );
    check(
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r;",
        expect![[r#"
        line 6, column 1: WITH RECURSIVE is not supported
        help: write the steps out, or compute the closure before the data comes in
    "#]],
    );
}

#[test]
fn what_else_a_stream_cannot_answer() {
    check(
        "SELECT now() AS t, price FROM bids;",
        expect![[r#"
        line 6, column 8: now() has another value at each moment; it can be compared with a column in WHERE, and nowhere else
        help: write a condition such as ts > now() - INTERVAL '7 days', joined to others by AND; elsewhere use a column of the row
    "#]],
    );
    check(
        "SELECT * FROM generate_series(1, 10);",
        expect![[r#"
        line 6, column 10: a function in FROM is not supported
        help: read a declared table; for windows write GROUP BY tumble(interval '…')
    "#]],
    );
    check(
        "UPDATE bids SET price = 1;",
        expect![[r#"
            line 6, column 1: the statement UPDATE is not supported
            help: a pipeline is made of CREATE TABLE, CREATE VIEW, CREATE FUNCTION, INSERT INTO … SELECT, SELECT, SET, RESET and EXPLAIN
        "#]],
    );
    check(
        "SELECT name, tumble(interval '1 hour') AS w FROM plain GROUP BY 1, 2;",
        expect![[r#"
        line 6, column 14: tumble(interval) needs an event-time column, and its input has none
        help: write tumble(ts, interval '…'), or declare WATERMARK FOR ts in the table and select ts in every view
    "#]],
    );
    check(
        "SELECT name, tumble('x', 2) AS w FROM plain;",
        expect![[r#"
        line 6, column 14: tumble takes a time and an interval, not Utf8
        help: write tumble(interval '1 month') or tumble(ts, interval '1 month', 'Europe/Oslo')
    "#]],
    );
}

#[test]
fn mistakes_in_queries() {
    check(
        "SELECT auction, price FROM bids GROUP BY auction;",
        expect![[r#"
            line 6, column 17: the column 'bids.price' is neither in GROUP BY nor in an aggregate function
            help: add it to GROUP BY, or say which of its values is meant: min, max, first_value, …
        "#]],
    );
    check(
        "SELECT auction + bidder FROM bids WHERE price + ts > 1;",
        expect![[r#"
            line 6, column 8: Cannot coerce arithmetic expression Int64 + Utf8 to valid types
            help: CAST one side to the type of the other
        "#]],
    );
    check(
        "SELECT price AS x, auction AS x FROM bids;",
        expect![[r#"
            line 6, column 17: two columns of the result are called 'x'
            help: give one of them another name with AS
        "#]],
    );
    check(
        "SELECT ts FROM bids a JOIN bids b ON a.auction = b.auction;",
        expect![[r#"
        line 6, column 8: the column 'ts' is in several inputs
        help: write it with the name of its table, as in t.column
    "#]],
    );
    check(
        "SELECT sum(bidder) FROM bids;",
        expect![[r#"
            line 6, column 8: the function 'sum' does not take these arguments
            help: check the number and types of the arguments, or CAST them
        "#]],
    );
    check(
        "SET emmit = 'final';",
        expect![[r#"
        line 6, column 5: there is no setting 'emmit'
        help: did you mean emit?
    "#]],
    );
    check(
        "SET emit = 'sometimes';",
        expect![[r#"
        line 6, column 12: emit = 'sometimes' is not understood
        help: use 'final' or 'changes'
    "#]],
    );
    check(
        "SET time_zone = 'Europe/Osla';",
        expect![[r#"
        line 6, column 17: there is no time zone 'Europe/Osla'
        help: use a name such as 'Europe/Oslo' or 'UTC'
    "#]],
    );
    check(
        "SET emit = 'final'; SELECT auction, count(*) AS n FROM bids GROUP BY auction;",
        expect![[r#"
        line 6, column 61: a GROUP BY without a window has no final result
        help: group by tumble(interval '…') over event time, or write SET emit = 'changes'; before it
    "#]],
    );
}

#[test]
fn mistakes_in_inserts() {
    check(
        "INSERT INTO ot SELECT auction, price FROM bids;",
        expect![[r#"
        line 6, column 13: there is no table or view 'ot'
        help: did you mean out?
    "#]],
    );
    check(
        "INSERT INTO out SELECT auction FROM bids;",
        expect![[r#"
        line 6, column 8: the query has 1 columns, the table 'out' has 2
        help: the table wants: auction, n; the query gives: auction
    "#]],
    );
    check(
        "INSERT INTO out SELECT price AS n, auction FROM bids;",
        expect![[r#"
        line 6, column 8: the columns of the query are those of 'out' in another order
        help: columns are matched by position: write INSERT INTO out (n, auction) SELECT …
    "#]],
    );
    check(
        "INSERT INTO out (auction, m) SELECT auction, price FROM bids;",
        expect![[r#"
        line 6, column 27: the table 'out' has no column 'm'
        help: did you mean n?
    "#]],
    );
    check(
        "INSERT INTO out SELECT ts, price FROM bids;",
        expect![[r#"
            line 6, column 24: the column 'auction' of 'out' is Int64, the query gives 'ts' as Timestamp(ns)
            help: CAST it in the query, or declare the column with another type
        "#]],
    );
    check(
        "INSERT INTO out SELECT auction, count(*) FROM bids GROUP BY auction;",
        expect![[r#"
            line 6, column 8: the rows of this query are corrected later, but 'out' can only be appended to
            help: write format = 'debezium_json' or a table with a PRIMARY KEY, or group by tumble(interval '…') with SET emit = 'final'
        "#]],
    );
    check(
        "INSERT INTO keyless SELECT auction, count(*) FROM bids GROUP BY auction;",
        expect![[r#"
        line 6, column 8: the rows of this query are corrected later, but 'keyless' has no key to find them by
        help: declare PRIMARY KEY (…) in the table
    "#]],
    );
    check(
        "CREATE VIEW v AS SELECT price FROM bids; INSERT INTO v SELECT price FROM bids;",
        expect![[r#"
        line 6, column 54: 'v' is a view and cannot be written
        help: insert into a table
    "#]],
    );
}

#[test]
fn mistakes_in_subqueries() {
    check(
        "SELECT price FROM bids b WHERE EXISTS (SELECT 1 FROM plain p WHERE p.name = (SELECT max(c.bidder) FROM bids c WHERE c.price = b.price));",
        expect![[r#"
            line 6, column 8: a subquery that looks at 'b.price', two queries around it, is not supported
            help: select the column in the query between them, or write the inner subquery as a JOIN
        "#]],
    );
    check(
        "SELECT price, (SELECT name, 1 FROM plain) FROM bids;",
        expect![[r#"
            line 6, column 1: a subquery that stands for one value selects several columns
            help: select one column; for (a, b) IN (…) write EXISTS with a condition for each
        "#]],
    );
    check(
        "SELECT price FROM bids b JOIN plain p ON true LEFT JOIN UNNEST(make_array(b.price)) AS u(x) ON u.x > 1;",
        expect![[r#"
            line 6, column 8: a subquery that looks at 'b.price' of the query around it in this way is not supported
            help: write it as a JOIN, with GROUP BY in a subquery of FROM
        "#]],
    );
    check(
        "SELECT price FROM bids RIGHT JOIN plain USING (name);",
        expect![[r#"
        line 6, column 41: USING or NATURAL in a RIGHT or FULL JOIN is not supported
        help: write ON a.key = b.key, and COALESCE(a.key, b.key) where the key is selected
    "#]],
    );
    check(
        "SELECT auction FROM bids INTERSECT SELECT auction, price FROM bids;",
        expect![[r#"
            line 6, column 26: INTERSECT queries have different number of columns
            help: select as many columns on both sides
        "#]],
    );
    check(
        "SELECT auction, grouping(price) FROM bids GROUP BY ROLLUP (auction);",
        expect![[r#"
            line 6, column 17: Argument bids.price to grouping function is not in grouping columns bids.auction
            help: give GROUPING columns of its GROUP BY alone
        "#]],
    );
}

#[test]
fn mistakes_in_arguments() {
    check(
        "SELECT normalize(price) FROM bids;",
        expect![[r#"
        line 6, column 8: argument 1 of normalize must be text, not Int64
        help: check the number and types of the arguments, or CAST them
    "#]],
    );
    check(
        "SELECT price FROM bids WHERE unnest(make_array(price)) = 1;",
        expect![[r#"
        line 6, column 30: UNNEST is not supported here
        help: unnest in the select list of a subquery, and use its result outside
    "#]],
    );
    check(
        "SELECT tumble(interval '1 fortnight') AS w FROM bids;",
        expect![[r#"
        line 6, column 15: Invalid input syntax for type interval: "1 fortnight"
        help: write a number and a unit, such as interval '3 months' or interval '1 day'
    "#]],
    );
    check(
        "SELECT tumble(ts, interval '1 month', bidder) AS w FROM bids;",
        expect![[r#"
            line 6, column 8: argument 3 of tumble must be a constant
            help: check the number and types of the arguments, or CAST them
        "#]],
    );
}
