//! The cache before a store, and cells that fit or do not.

use super::cache::{CacheSettings, Cached};
use super::{Cell, Rows};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use expect_test::expect;
use headwater_core::{Error, EventTime, FixedClock, Found, Lookup, LookupColumns, Options, Result};
use std::sync::{Arc, Mutex};

fn table() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]))
}

/// Odd keys have as many rows as their last digit, even ones none; 13 fails. It notes what it is asked for.
#[derive(Default)]
struct Store(Mutex<Vec<Vec<i64>>>);

#[async_trait]
impl Lookup for Store {
    async fn find(&self, keys: &RecordBatch) -> Result<Found> {
        let keys = keys.column(0).as_primitive::<Int64Type>().values().to_vec();
        let n_asked = {
            let mut asked = self.0.lock().unwrap();
            asked.push(keys.clone());
            asked.len()
        };
        let (mut ids, mut names, mut of, mut failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, key) in (0_u32..).zip(&keys) {
            match key {
                13 => failed.push((number, Error::data("no luck"))),
                key if key % 2 == 1 => {
                    for n in 0..key % 10 {
                        ids.push(*key);
                        names.push(format!("{key}/{n} in request {n_asked}"));
                        of.push(number);
                    }
                }
                _ => {}
            }
        }
        let columns = vec![Arc::new(Int64Array::from(ids)) as _, Arc::new(StringArray::from(names)) as _];
        Ok(Found { rows: RecordBatch::try_new(table(), columns)?, of, failed })
    }
}

fn settings(options: &[(&str, &str)]) -> Result<Option<CacheSettings>> {
    let options: Options = options.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    CacheSettings::parse(&options)
}

fn cache(options: &[(&str, &str)]) -> (Cached, Arc<Store>, Arc<FixedClock>) {
    let (store, clock) = (Arc::new(Store::default()), Arc::new(FixedClock::new(EventTime(0))));
    let settings = settings(options).unwrap().expect("a cache");
    let columns = LookupColumns { key: vec![0], wanted: vec![0, 1] };
    (Cached::new(store.clone(), &settings, &columns, &table(), clock.clone()).unwrap(), store, clock)
}

async fn find(cache: &Cached, keys: &[i64]) -> String {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let keys = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(keys.to_vec()))]).unwrap();
    let found = cache.find(&keys).await.unwrap();
    let names = found.rows.column(1).as_string::<i32>().clone();
    let rows = found.of.iter().enumerate().map(|(row, of)| format!("{of}: {}", names.value(row)));
    let failed = found.failed.iter().map(|(key, error)| format!("{key} failed: {error}"));
    rows.chain(failed).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_was_found_or_not_found_is_not_asked_for_again_until_it_is_too_old() {
    let (cache, store, clock) = cache(&[("cache.ttl", "10 seconds")]);
    assert_eq!(find(&cache, &[1, 2, 13]).await, "0: 1/0 in request 1\n2 failed: no luck");
    clock.set(EventTime(9 * EventTime::SECOND));
    let text = find(&cache, &[13, 2, 1, 23]).await;
    assert_eq!(
        text,
        "2: 1/0 in request 1\n3: 23/0 in request 2\n3: 23/1 in request 2\n3: 23/2 in request 2\n0 failed: no luck"
    );
    clock.set(EventTime(10 * EventTime::SECOND));
    assert_eq!(find(&cache, &[23, 1]).await.lines().last(), Some("1: 1/0 in request 3"));
    find(&cache, &[23, 1]).await;
    assert_eq!(*store.0.lock().unwrap(), [vec![1, 2, 13], vec![13, 23], vec![1]]);
}

#[tokio::test]
async fn no_more_is_kept_than_there_is_room_for() {
    for limit in [("cache.max_rows", "50"), ("cache.max_bytes", "8000")] {
        let (cache, store, _) = cache(&[limit]);
        for key in 0..1_000 {
            find(&cache, &[key * 10 + 1]).await;
        }
        for key in 0..1_000 {
            find(&cache, &[key * 10 + 1]).await;
        }
        let n_asked = store.0.lock().unwrap().len();
        assert!((1_850..=2_000).contains(&n_asked), "{limit:?}: {n_asked}");
        find(&cache, &[9_991]).await;
        find(&cache, &[9_991]).await;
        assert!(store.0.lock().unwrap().len() <= n_asked + 1);
    }
}

#[test]
fn settings_are_read_and_refused() {
    let shown = |options: &[(&str, &str)]| match settings(options) {
        Ok(settings) => settings.map_or("none".to_owned(), |settings| settings.to_string()),
        Err(error) => error.message().to_owned(),
    };
    assert_eq!(shown(&[]), "none");
    assert_eq!(shown(&[("cache.ttl", "5 minutes")]), "for 300s up to 100000 rows");
    assert_eq!(
        shown(&[("lookup.cache.max_bytes", "1000000"), ("lookup.cache.ttl", "1s")]),
        "for 1s up to 1000000 bytes"
    );
    assert_eq!(shown(&[("cache.max_rows", "0")]), "a cache without room keeps nothing");
    let both = shown(&[("cache.max_rows", "1"), ("cache.max_bytes", "1")]);
    assert_eq!(both, "the cache has two limits, cache.max_rows and cache.max_bytes");
}

#[test]
fn cells_become_the_declared_types_or_their_key_fails() {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let fields = vec![
        Field::new("n", DataType::Int32, false),
        Field::new("x", DataType::Float64, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("d", DataType::Decimal128(10, 2), true),
        Field::new("l", DataType::List(item), true),
    ];
    let mut rows = Rows::new(Arc::new(Schema::new(fields)));
    let text = |text: &str| Cell::Text(text.to_owned());
    let row = |n: Cell, x: Cell, b: Cell, t: Cell, d: Cell, l: Cell| [n, x, b, t, d, l];
    let nulls = || [Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null];
    rows.push(
        0,
        row(
            Cell::Integer(1),
            Cell::Real(0.5),
            Cell::Integer(1),
            text("2026-01-02T03:04:05Z"),
            text("1.5"),
            text("[1,2]"),
        ),
    );
    rows.push(
        1,
        row(text("2"), Cell::Integer(3), text("false"), text("2026-01-02 03:04:05"), Cell::Integer(7), Cell::Null),
    );
    rows.push(2, std::iter::once(Cell::Null).chain(nulls()));
    rows.push(3, std::iter::once(Cell::Integer(4_000_000_000)).chain(nulls()));
    rows.push(4, row(Cell::Integer(4), Cell::Null, Cell::Null, Cell::Integer(5), Cell::Null, Cell::Null));
    rows.push(5, row(Cell::Integer(5), Cell::Null, Cell::Null, Cell::Null, Cell::Null, text("{}")));
    rows.push(6, row(Cell::Real(6.0), text("x"), Cell::Null, Cell::Null, Cell::Null, Cell::Null));
    rows.push(7, row(Cell::Integer(7), Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null));
    rows.push(7, row(Cell::Real(7.5), Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null));
    let found = rows.found().unwrap();
    assert_eq!(found.of, [0, 1]);
    expect![[r#"
        +---+-----+-------+---------------------+------+--------+
        | n | x   | b     | t                   | d    | l      |
        +---+-----+-------+---------------------+------+--------+
        | 1 | 0.5 | true  | 2026-01-02T03:04:05 | 1.50 | [1, 2] |
        | 2 | 3.0 | false | 2026-01-02T03:04:05 | 7.00 |        |
        +---+-----+-------+---------------------+------+--------+"#]]
    .assert_eq(&pretty_format_batches(std::slice::from_ref(&found.rows)).unwrap().to_string());
    let failed: String = found.failed.iter().map(|(key, error)| format!("{key}: {error}\n")).collect();
    expect![[r#"
        2: the column 'n' is null, but declared NOT NULL
        3: the value '4000000000' of the column 'n' is no Int32
        4: the value '5' of the column 't' is no Timestamp(ns)
        5: the value '{}' of the column 'l' is no List(Int64)
        6: the value 'x' of the column 'x' is no Float64
        7: the value '7.5' of the column 'n' is no Int32
    "#]]
    .assert_eq(&failed);
    assert!(!found.rows.column(0).is_nullable());
}
