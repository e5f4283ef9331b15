//! The domain functions as users call them: through SQL, over columns, constants and nulls.

use super::all;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Decimal128Type, Int32Type};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_text::{classify, screen};
use std::sync::Arc;
use tokio::runtime::Builder;

fn wait<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn context() -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for function in all() {
        context.register_udf(function.as_ref().clone());
    }
    context
}

/// Returns the first column of an answer.
fn column(context: &SessionContext, sql: &str) -> Result<ArrayRef, String> {
    wait(async {
        let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
        arrow::compute::concat(&columns).map_err(|error| error.to_string())
    })
}

/// Returns the one value of an expression as text; null is `∅`.
fn value(expression: &str) -> Result<String, String> {
    let column = column(&context(), &format!("SELECT {expression}"))?;
    if column.is_null(0) { Ok("∅".to_owned()) } else { Ok(array_value_to_string(&column, 0).unwrap()) }
}

fn check(expression: &str, expected: &str) {
    assert_eq!(value(expression).as_deref(), Ok(expected), "{expression}");
}

#[test]
fn formulas_give_their_printed_digits() {
    check("vis_score(150, 0.75, 0.65, 0.40)", "49.2500");
    check("vis_score(CAST(150 AS DOUBLE), 0.75, CAST(0.65 AS REAL), 0.40)", "49.2500");
    check("integration_score(0.5, 1, 3, 3, false, 2, 1)", "52.1000");
    check("integration_score('B1', 1, 3, 3, false, 2, 1)", "52.1000");
    check("integration_score(cefr_score('B1'), 1, 3, 3, false, 2, 1)", "52.1000");
    check("cefr_score(' c1')", "0.830");
    check("cefr_score('D1')", "∅");
    check("sroi_present_value(100, 1000, 0.2, 0.05, 0.3, 0.25, 3, 0.035, 'year1_discounted')", "115638.678595");
    check("round(sroi_present_value(60, 8500, 0.4, 0, 0.3, 0.3, 2, 0.035, 'year1_undiscounted'), 2)", "359069.57");
    check("sroi_ratio(115638.68, 50000)", "2.3128");
    check("sroi_ratio(sroi_present_value(60, 8500, 0.4, 0, 0.3, 0.3, 2, 0.035, 'year1_discounted'), 250000)", "1.3877");
}

#[test]
fn rounding_is_half_even_at_the_edge() {
    check("sroi_ratio(0.00005, 1)", "0.0000");
    check("sroi_ratio(0.00015, 1)", "0.0002");
    check("sroi_ratio(0.00025, 1)", "0.0002");
}

#[test]
fn nulls_give_null_and_no_investment_gives_no_ratio() {
    check("vis_score(NULL, 0.75, 0.65, 0.40)", "∅");
    check("integration_score(NULL, 1, 3, 3, false, 2, 1)", "∅");
    check("sroi_ratio(10, NULL)", "∅");
    check("sroi_ratio(10, 0)", "∅");
    check("sroi_ratio(10, -5)", "∅");
    for function in ["normalize", "screen", "classify", "cefr_score"] {
        check(&format!("{function}(NULL)"), "∅");
        check(&format!("{function}(CAST(NULL AS VARCHAR))"), "∅");
    }
    check("metric_id('c', 'month', NULL, 'vis', 'vis/1')", "∅");
}

#[test]
fn what_makes_no_sense_is_an_error_that_says_why() {
    for (expression, message) in [
        ("vis_score(1, 1.5, 0, 0)", "quality is a share from 0 to 1, not 1.5"),
        ("integration_score(0.5, -1, 0, 0, false, 0, 0)", "matches is a count, not -1"),
        (
            "sroi_present_value(1, 1, 0, 0, 0, 0, 0, 0.035, 'year1_discounted')",
            "an outcome lasts 1 to 100 years, not 0",
        ),
        ("sroi_present_value(1, 1, 0, 0, 0, 0, 1, 0.035, 'later')", "no discount convention 'later'"),
        ("vis_score(1, 2)", "vis_score takes 4 arguments, not 2"),
        ("classify('a', 'b', 'c')", "classify takes 1 to 2 arguments, not 3"),
        ("screen(5)", "argument 1 of screen must be text, not Int64"),
        ("integration_score(0.5, 1, 3, 3, 2, 1, false)", "argument 5 of integration_score must be a truth value"),
    ] {
        let error = value(expression).unwrap_err();
        assert!(error.contains(message), "{expression}: {error}");
    }
}

#[test]
fn metric_ids_are_stable_and_tell_metrics_apart() {
    let id = |expression: &str| value(expression).unwrap();
    // printf 'c\x1fmonth\x1f2026-01-01T00:00:00Z\x1fvis\x1fvis/1' | sha256sum
    let expected = "18720c506935b330cc80424e2398c0093a42b2d954a0e70ec12d9cc3b5f0c524";
    assert_eq!(id("metric_id('c', 'month', TIMESTAMP '2026-01-01T00:00:00', 'vis', 'vis/1')"), expected);
    assert_eq!(id("metric_id('c', 'month', DATE '2026-01-01', 'vis', 'vis/1')"), expected);
    assert_eq!(id("metric_id('c', 'month', '2026-01-01', 'vis', 'vis/1')"), expected);
    assert_ne!(id("metric_id('cm', 'onth', '2026-01-01', 'vis', 'vis/1')"), expected);
}

fn texts() -> SessionContext {
    let context = context();
    let texts = [
        Some("I don\u{2019}t feel confident yet. Mail ola@mail.no"),
        None,
        Some("Jeg føler meg trygg på jobben."),
        Some("I don\u{2019}t feel confident yet. Mail ola@mail.no"),
        Some(""),
        Some("Selvsikker, glad, fornøyd"),
        Some("Jeg vil ta livet mitt"),
    ];
    let languages = [None, Some("en"), Some("no"), Some("nb"), None, Some("nb-NO"), Some("xx")];
    let batch = RecordBatch::try_from_iter([
        ("t", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef),
        ("lang", Arc::new(StringArray::from(languages.to_vec()))),
    ]);
    context.register_batch("texts", batch.unwrap()).unwrap();
    context
}

#[test]
fn screen_returns_the_safe_text_with_its_findings() {
    let context = texts();
    let safe = column(&context, "SELECT screen(t)['text'] FROM texts").unwrap();
    let given = column(&context, "SELECT t FROM texts").unwrap();
    let (safe, given) = (safe.as_string::<i32>(), given.as_string::<i32>());
    for row in 0..given.len() {
        assert_eq!(safe.is_null(row), given.is_null(row));
        if given.is_valid(row) {
            assert_eq!(safe.value(row), screen(given.value(row)).text);
        }
    }
    let sql = "SELECT f['kind'] || ' ' || f['placeholder'] || ' ' || CAST(f['end'] - f['start'] AS VARCHAR) FROM \
               (SELECT unnest(screen(t)['findings']) AS f FROM texts)";
    let findings = column(&context, sql).unwrap();
    let findings: Vec<_> = (0..findings.len()).map(|row| array_value_to_string(&findings, row).unwrap()).collect();
    assert_eq!(findings, ["email [EMAIL_1] 11", "email [EMAIL_1] 11"]);
    let sql = "SELECT screen(t)['decision'] || CAST(array_length(screen(t)['categories']) AS VARCHAR) FROM texts WHERE t LIKE 'Jeg vil%'";
    assert_eq!(array_value_to_string(&column(&context, sql).unwrap(), 0).unwrap(), "review1");
}

#[test]
fn classify_returns_slices_of_the_given_text() {
    let context = texts();
    let sql = "SELECT t, l FROM (SELECT t, unnest(classify(t, lang)['labels']) AS l FROM texts)";
    let batches = wait(async { context.sql(sql).await.unwrap().collect().await.unwrap() });
    let mut n_spans = 0;
    for batch in &batches {
        let (texts, labels) = (batch.column(0).as_string::<i32>(), batch.column(1).as_struct());
        let offset =
            |name: &str, row| labels.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(row) as usize;
        for row in 0..batch.num_rows() {
            let snippet = labels.column_by_name("snippet").unwrap().as_string::<i32>().value(row);
            assert_eq!(&texts.value(row)[offset("start", row)..offset("end", row)], snippet);
            n_spans += 1;
        }
    }
    assert_eq!(n_spans, 4);
    let sql = "SELECT coalesce(classify(t, lang)['language'], '-') || CAST(classify(t, lang)['abstained'] AS VARCHAR) \
               FROM texts WHERE t IS NOT NULL";
    let languages = column(&context, sql).unwrap();
    let languages: Vec<_> = (0..languages.len()).map(|row| array_value_to_string(&languages, row).unwrap()).collect();
    assert_eq!(languages, ["enfalse", "nbfalse", "enfalse", "-true", "nbfalse", "nbfalse"]);
}

#[test]
fn scores_are_the_scores_of_the_library_and_every_text_is_classified_alike_alone_and_in_a_batch() {
    let context = texts();
    let scores = column(&context, "SELECT classify(t)['scores'] FROM texts").unwrap();
    let given = column(&context, "SELECT t FROM texts").unwrap();
    let given = given.as_string::<i32>();
    for row in 0..given.len() {
        if given.is_null(row) {
            continue;
        }
        let list = scores.as_list::<i32>().value(row);
        let scores = list.as_struct().column_by_name("score").unwrap().as_primitive::<Decimal128Type>().clone();
        let expected: Vec<i128> = classify(given.value(row), None).scores.iter().map(|(_, s)| i128::from(*s)).collect();
        assert_eq!(scores.values().to_vec(), expected, "{}", given.value(row));
    }
}

#[test]
fn numbers_of_all_types_and_text_of_all_types_are_taken() {
    let context = context();
    let decimals = Decimal128Array::from(vec![Some(75i128), None, Some(0)]).with_precision_and_scale(5, 2).unwrap();
    let batch = RecordBatch::try_from_iter([
        ("h", Arc::new(Int64Array::from(vec![150, 150, 0])) as ArrayRef),
        ("q", Arc::new(decimals)),
        ("l", Arc::new(Float64Array::from(vec![0.65, 0.65, 0.0]))),
    ]);
    context.register_batch("numbers", batch.unwrap()).unwrap();
    let scores = column(&context, "SELECT vis_score(h, q, l, 0.4) FROM numbers").unwrap();
    let scores: Vec<_> = scores.as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(scores, [Some(492_500), None, Some(60_000)]);
    for cast in ["VARCHAR", "TEXT", "STRING"] {
        check(&format!("normalize(CAST('  a  b ' AS {cast}))"), "a b");
    }
    check("normalize(arrow_cast('a  b', 'Utf8View'))", "a b");
    check("normalize(arrow_cast('a  b', 'LargeUtf8'))", "a b");
}
