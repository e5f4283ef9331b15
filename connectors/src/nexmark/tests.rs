//! What holds for the generated events: those of the crate, the same everywhere, and consistent for every seed.

use super::NexmarkConnector;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampNanosecondType};
use headwater_core::{
    Connector, EventTime, FixedClock, Polled, Result, Source, SourceSpec, TableDefinition, TaskContext,
};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::runtime::Builder;

fn declared(pairs: &[(&str, &str)], schema: Option<Schema>) -> Result<Arc<dyn SourceSpec>> {
    NexmarkConnector.source(&TableDefinition {
        name: "t".into(),
        schema: schema.map(Arc::new),
        primary_key: Vec::new(),
        options: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        base: std::path::PathBuf::new(),
    })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn open(spec: &Arc<dyn SourceSpec>, subtask: usize, parallelism: usize) -> Box<dyn Source> {
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    wait(spec.open(&TaskContext::new("p", "n", clock).with_subtask(subtask, parallelism))).expect("opens")
}

fn rest(source: &mut Box<dyn Source>, rows_max: usize) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    while let Polled::Batch(polled) = wait(source.poll(rows_max)).expect("draws") {
        assert!(polled.batch.n_rows() <= rows_max);
        batches.push(polled.batch.rows);
    }
    batches
}

fn rows(pairs: &[(&str, &str)]) -> RecordBatch {
    let spec = declared(pairs, None).expect("fits");
    concat_batches(&spec.schema(), &rest(&mut open(&spec, 0, 1), 1_000)).expect("one schema")
}

fn numbers(rows: &RecordBatch, column: &str) -> Vec<i64> {
    rows.column_by_name(column).expect("is there").as_primitive::<Int64Type>().values().to_vec()
}

fn times(rows: &RecordBatch, column: &str) -> Vec<i64> {
    rows.column_by_name(column).expect("is there").as_primitive::<TimestampNanosecondType>().values().to_vec()
}

fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    let texts = rows.column_by_name(column).expect("is there").as_string::<i32>();
    texts.iter().map(|text| text.expect("is not null").to_owned()).collect()
}

#[test]
fn seed_0_gives_the_events_of_the_crate() {
    let config =
        NexmarkConfig { base_time: 1_436_918_400_000, first_rate: 500, next_rate: 500, ..NexmarkConfig::default() };
    let bids = EventGenerator::new(config).with_type_filter(EventType::Bid).take(3_000);
    let bids = bids.map(|event| match event {
        Event::Bid(bid) => (bid.auction as i64, bid.bidder as i64, bid.price as i64, bid.date_time as i64, bid.url),
        _ => panic!("only bids were asked for"),
    });
    let found = rows(&[("table", "bid"), ("events", "10000"), ("rate", "500")]);
    assert_eq!(found.num_rows(), 9_200);
    let prices = numbers(&found, "bidder").into_iter().zip(numbers(&found, "price"));
    let times = times(&found, "date_time").into_iter().map(|nanos| nanos / 1_000_000).zip(texts(&found, "url"));
    let found = numbers(&found, "auction").into_iter().zip(prices.zip(times));
    for (expected, (auction, ((bidder, price), (time, url)))) in bids.zip(found) {
        assert_eq!((auction, bidder, price, time, url), expected);
    }
}

#[test]
fn the_table_of_all_events_holds_the_rows_of_the_three() {
    let all = rows(&[("events", "2500"), ("seed", "4")]);
    assert_eq!(all.num_rows(), 2_500);
    for (kind, table) in ["person", "auction", "bid"].into_iter().enumerate() {
        let structs = all.column_by_name(table).expect("is there").as_struct();
        let mask = arrow::compute::is_not_null(structs).expect("a mask");
        let types = all.column_by_name("event_type").expect("is there").as_primitive::<arrow::datatypes::Int32Type>();
        assert!(mask.values().iter().zip(types.values()).all(|(is_there, of)| is_there == (*of == kind as i32)));
        let inner = arrow::compute::filter(structs, &mask).expect("a filter");
        let single = rows(&[("events", "2500"), ("seed", "4"), ("table", table)]);
        assert_eq!(inner.as_struct().columns(), single.columns());
    }
}

#[test]
fn every_seed_begins_with_the_first_ids_and_names_only_who_is_there() {
    let mut prices = BTreeSet::new();
    for seed in ["0", "1", "2", "4294967295"] {
        let of = |table| rows(&[("events", "20000"), ("seed", seed), ("table", table)]);
        let (persons, auctions, bids) = (of("person"), of("auction"), of("bid"));
        assert_eq!(numbers(&persons, "id"), (1_000..1_400).collect::<Vec<i64>>(), "seed {seed}");
        assert_eq!(numbers(&auctions, "id"), (1_000..2_200).collect::<Vec<i64>>(), "seed {seed}");
        // The crate names up to ten ids ahead of the newest.
        assert!(
            numbers(&auctions, "seller").iter().chain(&numbers(&bids, "bidder")).all(|id| (1_000..1_410).contains(id))
        );
        assert!(numbers(&bids, "auction").iter().all(|id| (1_000..2_210).contains(id)), "seed {seed}");
        let with_hot_sellers = numbers(&auctions, "seller").iter().filter(|id| **id % 100 == 0).count();
        assert!(with_hot_sellers > 800, "seed {seed}: {with_hot_sellers} of 1200");
        let expires = times(&auctions, "expires");
        assert!(times(&auctions, "date_time").iter().zip(&expires).all(|(start, end)| start < end));
        prices.insert(numbers(&bids, "price"));
    }
    assert_eq!(prices.len(), 4, "each seed draws other bids");
}

#[test]
fn shuffled_groups_hold_the_same_events() {
    let of = |size| rows(&[("events", "5000"), ("table", "bid"), ("out_of_order_group_size", size)]);
    let (plain, shuffled) = (of("1"), of("100"));
    let bids = |rows: &RecordBatch| {
        let times = times(rows, "date_time").into_iter();
        times.zip(numbers(rows, "price")).zip(texts(rows, "extra")).collect::<Vec<_>>()
    };
    let (plain, mut shuffled) = (bids(&plain), bids(&shuffled));
    assert!(!shuffled.is_sorted());
    shuffled.sort();
    let mut sorted = plain.clone();
    sorted.sort();
    assert_eq!(sorted, shuffled);
}

#[test]
fn columns_can_be_declared_and_projected() {
    let field = |name, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![field("price", DataType::Float64), field("auction", DataType::Utf8)]);
    let spec = declared(&[("table", "bid"), ("events", "100")], Some(schema.clone())).expect("fits");
    assert_eq!(spec.schema().as_ref(), &schema);
    let projected = spec.project(&[1]).expect("can be projected");
    assert_eq!(projected.schema().fields().len(), 1);
    let rows = rest(&mut open(&projected, 0, 1), 10);
    assert_eq!(rows[0].column(0).as_string::<i32>().value(0), "1000");
    for (column, message) in [
        (field("prize", DataType::Int64), "Nexmark has no column 'prize' in this table"),
        (field("price", DataType::Binary), "the column 'price' is Int64, not Binary"),
        (field("url", DataType::Int64), "the column 'url' is Utf8, not Int64"),
    ] {
        let error = declared(&[("table", "bid")], Some(Schema::new(vec![column]))).expect_err("does not fit");
        assert_eq!(error.message(), message);
    }
}

#[test]
fn options_out_of_range_are_mistakes() {
    for (name, value) in [
        ("table", "bids"),
        ("rate", "0"),
        ("seed", "-1"),
        ("base_time", "yesterday"),
        ("out_of_order_group_size", "953"),
    ] {
        let error = declared(&[(name, value)], None).expect_err("is a mistake");
        assert!(error.message().contains(&format!("{name} = '{value}'")), "{error}");
    }
    for start in ["2020-02-03", "2020-02-03 00:00:00", "2020-02-03T01:00:00+01:00"] {
        let rows = rows(&[("events", "1"), ("base_time", start)]);
        assert_eq!(times(&rows, "date_time"), [1_580_688_000_000_000_000], "{start}");
    }
}

proptest! {
    #[test]
    fn the_rows_are_the_same_at_any_parallelism_and_after_any_seek(
        parallelism in 1_usize..6, rows_max in 1_usize..400, n_polls in 0_usize..5, events in 0_u64..1_000,
        kind in 0_usize..4,
    ) {
        let table = ["events", "person", "auction", "bid"][kind];
        let spec = declared(&[("table", table), ("events", &events.to_string()), ("rate", "1000")], None).expect("fits");
        let mut found = Vec::new();
        for subtask in 0..parallelism {
            let mut source = open(&spec, subtask, parallelism);
            for _ in 0..n_polls {
                if let Polled::Batch(polled) = wait(source.poll(rows_max)).expect("draws") {
                    found.push(polled.batch.rows);
                }
            }
            let mut resumed = open(&spec, subtask, parallelism);
            wait(resumed.seek(&source.position())).expect("is a position of this subtask");
            found.extend(rest(&mut resumed, rows_max));
        }
        let found = concat_batches(&spec.schema(), &found).expect("one schema");
        let whole = concat_batches(&spec.schema(), &rest(&mut open(&spec, 0, 1), 1_000)).expect("one schema");
        // Several events share a millisecond, so the times are compared as a multiset.
        let mut sorted = times(&found, "date_time");
        sorted.sort_unstable();
        prop_assert_eq!(sorted, times(&whole, "date_time"));
        prop_assert_eq!(found.num_rows(), whole.num_rows());
    }
}
