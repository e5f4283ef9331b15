//! What the generator promises: the same lines for the same options, valid lines unless stated, and a truthful count.

use super::*;
use headwater_core::{Connector, FixedClock, Polled, TableDefinition, TaskContext};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

fn small(seed: u64) -> ImpactOptions {
    ImpactOptions { companies: 2, months: 6, seed, bad_rate: 0.05, correction_rate: 0.1, ..ImpactOptions::default() }
}

fn lines(options: ImpactOptions) -> (Vec<Line>, Stated) {
    let mut generator = ImpactGenerator::new(options).expect("the options are valid");
    let lines = generator.by_ref().collect();
    (lines, generator.stated().clone())
}

#[test]
fn the_same_seed_gives_the_same_lines_and_another_seed_does_not() {
    assert_eq!(lines(small(7)), lines(small(7)));
    assert_ne!(lines(small(7)).0, lines(small(8)).0);
}

#[test]
fn what_is_stated_is_what_is_there() {
    let (lines, stated) = lines(small(3));
    let mut versions: HashMap<String, BTreeSet<String>> = HashMap::new();
    let (mut n_bad, mut repeats) = (0_u64, 0_u64);
    for line in &lines {
        if let LineKind::Bad(reason) = line.kind {
            n_bad += 1;
            assert_eq!(serde_json::from_slice::<Value>(&line.bytes).is_err(), reason == Reason::Undecodable);
            continue;
        }
        let event: Value = serde_json::from_slice(&line.bytes).expect("a line that is not bad is JSON");
        assert_eq!(event["type"], line.topic);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let is_new =
            versions.entry(text(&event["metadata"]["id"])).or_default().insert(text(&event["metadata"]["timestamp"]));
        repeats += u64::from(!is_new);
    }
    assert_eq!(stated.lines, lines.len() as u64);
    assert_eq!(stated.events, versions.len() as u64);
    assert_eq!(stated.duplicates, repeats);
    assert_eq!(stated.corrections, versions.values().map(|times| times.len() as u64 - 1).sum::<u64>());
    assert_eq!(stated.n_bad(), n_bad);
    assert_eq!(stated.lines, stated.events + stated.duplicates + stated.corrections + stated.n_bad());
    assert_eq!(stated.bad.len(), 5, "every way of breaking a line occurs: {:?}", stated.bad);
    assert!(stated.late > 0 && stated.duplicates > 0 && stated.corrections > 0);
    assert_eq!(stated.events_by_topic.keys().copied().collect::<Vec<_>>(), TOPICS);
}

#[test]
fn one_topic_is_the_same_alone_and_among_all() {
    let topic = "kintell.session.completed";
    let alone: Vec<Line> = ImpactGenerator::new(small(5)).expect("valid").only(topic).collect();
    let among: Vec<Line> = lines(small(5)).0.into_iter().filter(|line| line.topic == topic).collect();
    assert!(!alone.is_empty());
    assert_eq!(alone, among);
}

#[test]
fn more_companies_change_nothing_in_the_first_ones() {
    let of_first = |companies| {
        let (lines, _) = lines(ImpactOptions { companies, ..small(5) });
        let first = Company::new(5, 0, 6).id;
        let belongs = |line: &Line| line.bytes.windows(first.len()).any(|part| part == first.as_bytes());
        lines.into_iter().filter(belongs).collect::<Vec<_>>()
    };
    assert_eq!(of_first(1), of_first(3));
}

#[test]
fn rates_of_zero_give_only_events_and_bad_options_are_refused() {
    let plain = ImpactOptions { duplicate_rate: 0.0, late_rate: 0.0, correction_rate: 0.0, bad_rate: 0.0, ..small(2) };
    let (all, stated) = lines(plain.clone());
    assert_eq!(all.len() as u64, stated.events);
    assert_eq!((stated.late, stated.n_bad()), (0, 0));
    let error = ImpactGenerator::new(ImpactOptions { late_rate: 1.5, ..plain }).expect_err("1.5 is no share");
    assert_eq!(error.to_string(), "the late_rate 1.5 is not a share\nhelp: use 0 to 1");
}

#[tokio::test(flavor = "current_thread")]
async fn the_source_resumes_where_it_stopped() {
    let options = [("companies", "1"), ("months", "1"), ("topic", "ingest.volunteer.logged")];
    let table = TableDefinition {
        name: "hours".into(),
        schema: None,
        primary_key: Vec::new(),
        options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
        base: ".".into(),
    };
    let context = TaskContext::new("p", "n", Arc::new(FixedClock::new(headwater_core::EventTime(0))));
    let spec = ImpactConnector.source(&table).expect("a source");
    table.options.check_all_known().expect("all options are read");
    let mut first = spec.open(&context).await.expect("opens");
    first.poll(3).await.expect("polls");
    let mut second = spec.open(&context).await.expect("opens");
    second.seek(&first.position()).await.expect("seeks");
    let mut n_rows = 3;
    while let Polled::Batch(batch) = first.poll(4).await.expect("polls") {
        let Polled::Batch(again) = second.poll(4).await.expect("polls") else { panic!("ended early") };
        assert_eq!(batch.batch, again.batch);
        n_rows += batch.batch.n_rows();
    }
    let mut generator = ImpactGenerator::new(ImpactOptions { companies: 1, months: 1, ..ImpactOptions::default() })
        .expect("valid")
        .only("ingest.volunteer.logged");
    assert_eq!(generator.by_ref().count(), n_rows);
}
