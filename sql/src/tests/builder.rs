//! SQL and the builder make the same graph.

use super::{explain, planner};
use crate::{Pipeline, PlanOptions, Table, calendar_quarter};
use expect_test::expect;
use headwater_contracts::BuddyFeedbackSubmitted;
use headwater_core::Result;

const SQL: &str = "
CREATE TABLE feedback WITH (connector = 'inbox', path = 'inbox', contract = 'buddy.feedback.submitted');
CREATE TABLE metrics (PRIMARY KEY (_company_id, \"window\")) WITH (connector = 'store');
INSERT INTO metrics
SELECT _company_id, tumble(interval '3 months', 'Europe/Oslo') AS window,
       count(*) AS n, avg(rating) AS rating, count(*) FILTER (WHERE classified['abstained']) AS abstained
FROM (SELECT *, classify(screened['text']) AS classified
      FROM (SELECT *, screen(text) AS screened
            FROM (SELECT *, normalize(feedback_text) AS text FROM feedback)))
WHERE screened['decision'] <> 'block'
GROUP BY _company_id, window;
";

fn built() -> Result<String> {
    let planner = planner();
    let pipeline = Pipeline::new(&planner, &PlanOptions::default());
    let measures = [
        ("n", "count(*)"),
        ("rating", "avg(rating)"),
        ("abstained", "count(*) FILTER (WHERE classified['abstained'])"),
    ];
    pipeline
        .source::<BuddyFeedbackSubmitted>(Table::new("feedback", "inbox").option("path", "inbox"))?
        .normalize()?
        .screen()?
        .classify()?
        .filter("screened['decision'] <> 'block'")?
        .window(calendar_quarter().in_time_zone("Europe/Oslo"))
        .aggregate(&["_company_id"], &measures)?
        .sink(Table::new("metrics", "store").key(&["_company_id", "window"]))?;
    Ok(pipeline.finish()?.to_string())
}

#[test]
fn sql_and_builder_make_the_same_graph() {
    let from_sql = explain(SQL);
    assert_eq!(built().expect("it plans"), from_sql);
    expect![[r#"
        source_feedback
            source inbox [value, position]
            decode contract buddy.feedback.submitted v1
            project [_id, _time, _company_id, _position, rating, feedback_text, submitted_at]
            event time submitted_at, watermark submitted_at
          → metrics_dedup [hash(_id), append-only]
        metrics_dedup
            dedup by [_id], newest _time
            project [_id, _time, _company_id, _position, rating, feedback_text, submitted_at, screen(normalize(feedback_text)) AS __call_0]
            filter get_field(__call_0, decision) != block
            project [_company_id, rating, submitted_at, classify(get_field(__call_0, text)) AS classified]
            project [_company_id, tumble(submitted_at, interval '3 months', Europe/Oslo) AS tumble(3 months, 'Europe/Oslo'), rating, classified]
          → metrics_aggregate [hash(_company_id), changing]
        metrics_aggregate
            aggregate [count(1) AS count(Int64(1)), avg(rating) AS avg(feedback.rating), count(1) FILTER (get_field(classified, abstained)) AS count(Int64(1)) FILTER (WHERE get_field(classified, Utf8("abstained")))] by [_company_id, tumble(3 months, 'Europe/Oslo')], window tumble(3 months, 'Europe/Oslo'), changes, late rows to dead letters
            project [_company_id, tumble(3 months, 'Europe/Oslo') AS window, count(Int64(1)) AS n, avg(feedback.rating) AS rating, count(Int64(1)) FILTER (WHERE get_field(classified, Utf8("abstained"))) AS abstained]
          → sink_metrics [gather, changing]
        sink_metrics
            sink metrics (_company_id Utf8, window Struct("start": non-null Timestamp(ns), "end": non-null Timestamp(ns))!, n Int64!, rating Float64, abstained Int64!) key [0, 1]
    "#]].assert_eq(&from_sql);
}

#[test]
fn a_wrong_name_is_found_when_the_step_is_added() {
    let planner = planner();
    let pipeline = Pipeline::new(&planner, &PlanOptions::default());
    let stream = pipeline
        .source::<BuddyFeedbackSubmitted>(Table::new("feedback", "inbox").option("path", "inbox"))
        .expect("the table is well declared");
    let error = stream.filter("ratng > 0.5").err().expect("no such column");
    expect![[r#"
        line 1, column 1: expression ratng > 0.5: there is no column 'ratng'
        help: did you mean rating?"#]]
    .assert_eq(&error.to_string());
    let again = pipeline.source::<BuddyFeedbackSubmitted>(Table::new("feedback", "inbox")).err();
    expect![[r#"
        'feedback' is declared already
        help: give it another name"#]]
    .assert_eq(&again.expect("the name is taken").to_string());
}
