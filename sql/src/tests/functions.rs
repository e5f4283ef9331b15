//! Functions of the user: in SQL and in Rust.

use super::{BIDS, explain, planner};
use crate::{FunctionRegistry, PlanOptions};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use expect_test::expect;
use headwater_core::EventTime;
use std::sync::Arc;

/// Keeps what is computed of a printed graph, or an error.
fn steps(text: &str) -> String {
    let is_step =
        |line: &&str| ["filter ", "project ", "aggregate ", "line ", "help:"].iter().any(|w| line.starts_with(w));
    text.lines().map(str::trim).filter(is_step).map(|line| format!("{line}\n")).collect()
}

#[test]
fn sql_functions_are_expanded_before_anything_else_is_planned() {
    let sql = format!(
        "{BIDS}
        CREATE FUNCTION euros(dollars BIGINT, rate DOUBLE DEFAULT 0.9) RETURNS DOUBLE RETURN dollars * rate;
        CREATE FUNCTION is_dear(dollars BIGINT) RETURNS BOOLEAN AS 'euros(dollars) > 100';
        SELECT euros(price), euros(rate => 1, dollars => auction) AS other FROM bids WHERE is_dear(price);"
    );
    expect![[r#"
        filter CAST(price AS Float64) * 0.9 > 100
        project [CAST(price AS Float64) * 0.9 AS euros(price), CAST(auction AS Float64) AS other]
    "#]]
    .assert_eq(&steps(&explain(&sql)));
}

#[test]
fn json_operators_bind_as_in_postgres() {
    let sql =
        format!("{BIDS} SELECT bidder -> 'a' ->> 'b' = 'x' OR bidder #>> '{{c,0}}' || '!' = 'y' AS found FROM bids;");
    expect![[r#"
        project [json_as_text(bidder, a, b) = x OR json_as_text(bidder, c, 0) || ! = y AS found]
    "#]]
    .assert_eq(&steps(&explain(&sql)));
}

#[test]
fn short_calls_are_what_they_stand_for() {
    let sql = format!(
        "{BIDS} SELECT if(price > 5, mod(price, 3), 0) AS a, (bidder -> 'n')::BIGINT AS b, ts AT TIME ZONE 'Europe/Oslo' AS c,
        json_value(bidder, '$.n' RETURNING INT) AS d, timestampadd(HOUR, 1, ts) AS e FROM bids;"
    );
    expect![[r#"
        project [CASE WHEN price > 5 THEN price % 3 ELSE 0 END AS a, CAST(json_as_text(bidder, n) AS Int64) AS b, timezone(Europe/Oslo, ts) AS c, CAST(json_value(bidder, $.n) AS Int32) AS d, timestampadd(HOUR, 1, ts) AS e]
    "#]]
    .assert_eq(&steps(&explain(&sql)));
}

#[test]
fn rust_functions_are_planned_by_their_types() {
    let mut functions = FunctionRegistry::new();
    functions
        .scalar("half", |number: f64| number / 2.0)
        .scalar("later", |time: EventTime, seconds: Option<i64>| time.saturating_add(seconds.unwrap_or(1)))
        .scalar("four", |a: bool, b: String, c: Vec<u8>, d: i64| a && b.len() + c.len() > d as usize)
        .aggregate("extent", |values: &[i64]| Some(values.iter().max()? - values.iter().min()?));
    let planner = planner().with_udfs(&functions).expect("they are good");
    let plan = |sql: &str| match planner.explain(&format!("{BIDS}{sql}"), &PlanOptions::default()) {
        Ok(text) => steps(&text),
        Err(error) => format!("{error}\n"),
    };
    expect![[r#"
        project [auction, bidder, price]
        aggregate [extent(price) AS extent(bids.price), max(half(CAST(auction AS Float64))) AS max(half(bids.auction))] by [bidder]
        project [bidder, extent(bids.price) AS r, max(half(bids.auction)) AS h]
    "#]]
    .assert_eq(&plan("SELECT bidder, extent(price) AS r, max(half(auction)) AS h FROM bids GROUP BY bidder;"));
    expect![[r#"
        line 6, column 8: argument 1 of half must be Float64, not Utf8
        help: check the number and types of the arguments, or CAST them
    "#]]
    .assert_eq(&plan("SELECT half(bidder) FROM bids;"));
    expect![[r#"
        project [price]
        aggregate [extent(DISTINCT price) AS extent(DISTINCT bids.price)]
    "#]]
    .assert_eq(&plan("SELECT extent(DISTINCT price) FROM bids;"));
    expect![[r#"
        line 6, column 8: there is no function 'haf'
        help: did you mean half?
    "#]]
    .assert_eq(&plan("SELECT haf(price) FROM bids;"));
}

#[test]
fn functions_that_could_not_be_called_or_corrected_are_refused() {
    let refused = |add: &dyn Fn(&mut FunctionRegistry)| {
        let mut functions = FunctionRegistry::new();
        add(&mut functions);
        planner().with_udfs(&functions).err().map_or_else(String::new, |error| error.to_string())
    };
    assert!(
        refused(&|f| {
            f.scalar("upper", |a: String| a);
        })
        .contains("there is a function 'upper' already")
    );
    assert!(
        refused(&|f| {
            f.aggregate("sum", |a: &[i64]| a.len() as i64);
        })
        .contains("there is a function 'sum'")
    );
    assert!(
        refused(&|f| {
            f.scalar("twice", |a: i64| a).scalar("twice", |a: i64| a);
        })
        .contains("'twice' already")
    );
    assert!(
        refused(&|f| {
            f.scalar("Twice", |a: i64| a);
        })
        .contains("call it 'twice'")
    );
    let volatile = create_udf(
        "dice",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(|args: &[ColumnarValue]| Ok(args[0].clone())),
    );
    assert!(
        refused(&|f| {
            f.scalar_udf(volatile.clone());
        })
        .contains("is Volatile, not Immutable")
    );
}
