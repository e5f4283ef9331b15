//! Aggregates against batch queries, after every epoch.

use super::{Changes, N_CASES, N_EPOCHS, Table, aggregate, batch_answer, collect, feed};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, schema};
use headwater_core::Output;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

fn check_aggregate(sql: &str, columns: &str, changing: bool) {
    let schema = schema(columns);
    let spec = aggregate(sql, &schema);
    let spec = if changing { spec.over_changes() } else { spec };
    let group = sql.split_once(" GROUP BY ").map_or("", |(_, columns)| columns);
    let columns: Option<Vec<usize>> = group.split(", ").map(|name| schema.index_of(name).ok()).collect();
    let route = columns.unwrap_or_default();
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = Changes::new(&schema, changing);
        let mut operator = restarting(&spec, &[&route], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        for epoch in 1..=N_EPOCHS {
            for _ in 0..rng.random_range(0..4) {
                feed(&mut operator, 0, changes.next(&mut rng), &mut out, &mut table);
            }
            barrier(&mut operator, epoch, &mut out);
            collect(&mut out, &mut table);
            assert_eq!(table, batch_answer(sql, &[("t", changes.table())]), "{sql}, seed {seed}, epoch {epoch}");
        }
    }
    report(sql);
}

/// Aggregates whose value does not depend on the order of rows.
const CALLS: &str = "count(*), count(v), sum(v), avg(v), min(v), max(v), count(distinct v), sum(distinct v), \
    sum(v) FILTER (WHERE w > 2), min(w) FILTER (WHERE v > 1), array_agg(v ORDER BY v, w), median(v), \
    approx_distinct(v), bit_xor(v), bool_or(v > 4), string_agg(v, ',' ORDER BY v DESC), \
    first_value(w ORDER BY v, w), last_value(w ORDER BY v NULLS FIRST, w), nth_value(w, 2 ORDER BY v, w)";

#[test]
fn grouped_aggregates_equal_the_batch_answer_over_changes() {
    check_aggregate(&format!("SELECT k, {CALLS} FROM t GROUP BY k"), "k int, v int, w int", true);
}

#[test]
fn grouped_aggregates_equal_the_batch_answer_over_insertions() {
    check_aggregate(&format!("SELECT k, {CALLS} FROM t GROUP BY k"), "k int, v int, w int", false);
}

#[test]
fn global_aggregates_equal_the_batch_answer() {
    for changing in [true, false] {
        check_aggregate(&format!("SELECT {CALLS} FROM t"), "k int, v int, w int", changing);
    }
}

#[test]
fn other_types_equal_the_batch_answer() {
    let calls =
        "sum(d), avg(d), min(d), max(s), sum(f), avg(f), stddev(f), percentile_cont(0.5) WITHIN GROUP (ORDER BY f)";
    for changing in [true, false] {
        check_aggregate(
            &format!("SELECT k, s, {calls} FROM t GROUP BY k, s"),
            "k text, s text, d decimal, f float",
            changing,
        );
    }
}

#[test]
fn distinct_rows_equal_the_batch_answer() {
    check_aggregate("SELECT k, v FROM t GROUP BY k, v", "k int, v int", true);
}

/// Checks each call alone too, so that a failure names it.
fn check_each(calls: &[&str], columns: &str) {
    for changing in [true, false] {
        for call in calls {
            check_aggregate(&format!("SELECT k, {call} FROM t GROUP BY k"), columns, changing);
            check_aggregate(&format!("SELECT {call} FROM t"), columns, changing);
        }
    }
}

#[test]
fn aggregates_of_whole_numbers_equal_the_batch_answer() {
    check_each(
        &[
            "count(v, w)",
            "count(DISTINCT v) FILTER (WHERE w > 1)",
            "array_agg(DISTINCT v ORDER BY v)",
            "array_agg(v ORDER BY w DESC NULLS LAST, v)",
            "array_agg(v ORDER BY v, w) FILTER (WHERE v IS NOT NULL)",
            "first_value(v ORDER BY w, v) IGNORE NULLS",
            "last_value(v ORDER BY w, v) IGNORE NULLS",
            "nth_value(v, 3 ORDER BY v, w)",
            "bit_and(v)",
            "bit_or(v)",
            "bit_xor(DISTINCT v)",
            "bool_and(v > 1)",
            "median(DISTINCT v)",
            "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY v)",
            "approx_median(v)",
            "min(v) FILTER (WHERE w IS NULL)",
            "avg(DISTINCT v)",
        ],
        "k int, v int, w int",
    );
}

#[test]
fn aggregates_of_floating_point_numbers_equal_the_batch_answer() {
    check_each(
        &[
            "sum(f)",
            "avg(f)",
            "stddev_pop(f)",
            "var_samp(f)",
            "var_pop(f)",
            "corr(f, g)",
            "covar_samp(f, g)",
            "covar_pop(f, g)",
            "regr_slope(f, g)",
            "regr_intercept(f, g)",
            "regr_r2(f, g)",
            "regr_count(f, g)",
            "regr_sxy(f, g)",
            "percentile_cont(0.25) WITHIN GROUP (ORDER BY f)",
            "min(f)",
            "max(g)",
        ],
        "k int, f float, g float",
    );
}

#[test]
fn aggregates_of_texts_and_decimals_equal_the_batch_answer() {
    check_each(
        &[
            "string_agg(s, '|' ORDER BY s)",
            "string_agg(DISTINCT s, '|' ORDER BY s)",
            "min(s)",
            "count(DISTINCT s)",
            "approx_distinct(s)",
            "array_agg(s ORDER BY s, d)",
            "sum(d)",
            "avg(d)",
            "sum(DISTINCT d)",
            "median(d)",
        ],
        "k int, s text, d decimal",
    );
}

#[test]
fn aggregates_of_structs_and_lists_equal_the_batch_answer() {
    check_each(
        &[
            "array_agg(named_struct('v', v, 'w', w) ORDER BY v, w)",
            "first_value(make_array(v, w) ORDER BY v, w)",
            "count(DISTINCT make_array(v, w))",
            "count(DISTINCT named_struct('v', v))",
            "min(make_array(v, w)) FILTER (WHERE v * w IS NOT NULL)",
            "max(named_struct('v', v, 'w', w)) FILTER (WHERE v * w IS NOT NULL)",
        ],
        "k int, v int, w int",
    );
}

#[test]
fn groups_of_structs_lists_and_maps_equal_the_batch_answer() {
    for group in [
        "named_struct('k', k, 'v', v)",
        "make_array(k, v)",
        "map(make_array(CASE WHEN k IS NULL THEN 0 ELSE k END), make_array(v))",
    ] {
        for changing in [true, false] {
            let sql = format!("SELECT {group}, count(*), sum(w) FROM t GROUP BY {group}");
            check_aggregate(&sql, "k int, v int, w int", changing);
        }
    }
}

#[test]
fn distinct_rows_of_insertions_are_insertions() {
    check_aggregate("SELECT k, v FROM t GROUP BY k, v", "k int, v int", false);
    assert!(!aggregate("SELECT k FROM t GROUP BY k", &schema("k int")).output_changing());
}

#[test]
fn both_zeros_are_one_group() {
    for changing in [true, false] {
        let sql = "SELECT (f - 2) * g, count(*) FROM t GROUP BY (f - 2) * g";
        check_aggregate(sql, "f float, g float", changing);
    }
}
