//! Pipelines that are killed again and again while somebody keeps feeding them, and whose servers are killed under
//! them: in the end every store holds each row once.
//!
//! One pipeline writes to all stores at the same time, so one kill is one for each pairing. A few kills in the default
//! run; 50 with `HEADWATER_LONG=1`, and then what was counted is written to the folder that `HEADWATER_GUARANTEES`
//! names, from which `./dev test --long` makes docs/GUARANTEES.md.

mod brokers;
mod pipeline;
mod stores;

use crate::support::Workplace;
use brokers::{Feed, Kafka, Nats};
use pipeline::{Run, rows_of_windows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use stores::Stores;

/// How often a pipeline is killed.
fn n_kills() -> usize {
    if std::env::var_os("HEADWATER_LONG").is_some() { 50 } else { 4 }
}

/// Kills a pipeline over a broker and returns the table of what its stores held in the end.
fn survive(feed: &mut dyn Feed, seed: u64) -> String {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let place = Workplace::new();
    let mut stores = Stores::start(&place);
    place.write("p.sql", format!("{}{}", feed.source(), stores.sql()));
    feed.begin();
    let (mut n_kills_left, mut n_servers) = (n_kills(), 0);
    while n_kills_left > 0 {
        let run = Run::start(&place, chance.random_range(1..4));
        run.lives_for(Duration::from_millis(chance.random_range(100..1_200)));
        if chance.random_bool(0.2) {
            n_servers += 1;
            match chance.random_range(0..3) {
                0 if feed.restart() => {}
                0 | 1 => stores.restart_postgres(),
                _ => stores.restart_clickhouse(),
            }
            run.lives_for(Duration::from_millis(chance.random_range(0..300)));
        }
        run.kill();
        n_kills_left -= 1;
    }
    let ids = feed.end();
    let run = Run::start(&place, 2);
    run.until(|| stores.are_complete(ids));
    run.stop();
    let mut table = String::new();
    for (store, found) in stores.ids() {
        let (lost, doubled) = missing_and_more(&found, ids);
        table.push_str(&format!(
            "| {} → {store} | {} | {n_servers} | {ids} | {lost} | {doubled} |\n",
            feed.name(),
            n_kills()
        ));
        assert_eq!((lost, doubled), (0, 0), "{} → {store}, seed {seed}", feed.name());
    }
    let expected = rows_of_windows(ids);
    for (store, found) in stores.windows() {
        assert_eq!(found, expected, "{} → windows in {store}, seed {seed}", feed.name());
        let what = format!("{} → windowed SQL → {store}", feed.name());
        table.push_str(&format!("| {what} | {} | {n_servers} | {} windows | 0 | 0 |\n", n_kills(), found.len()));
    }
    table
}

/// Counts the numbers below `n` that are not there, and those that are there too often.
fn missing_and_more(found: &[i64], n: i64) -> (usize, usize) {
    let mut times = vec![0_usize; usize::try_from(n).expect("a count")];
    let mut strangers = 0;
    for id in found {
        match usize::try_from(*id).ok().and_then(|id| times.get_mut(id)) {
            Some(times) => *times += 1,
            None => strangers += 1,
        }
    }
    let more: usize = times.iter().map(|times| times.saturating_sub(1)).sum();
    (times.iter().filter(|times| **times == 0).count(), more + strangers)
}

/// Leaves a table for docs/GUARANTEES.md.
fn keep(name: &str, table: &str) {
    println!("{table}");
    if let Some(folder) = std::env::var_os("HEADWATER_GUARANTEES") {
        std::fs::write(std::path::Path::new(&folder).join(name), table).expect("the table is written");
    }
}

#[test]
fn what_comes_from_jetstream_is_in_every_store_once() {
    keep("kills-1-jetstream.md", &survive(&mut Nats::start(), 1));
}

#[test]
fn what_comes_from_kafka_is_in_every_store_once() {
    keep("kills-2-kafka.md", &survive(&mut Kafka::start(), 2));
}

#[test]
fn what_is_lost_or_doubled_is_counted() {
    assert_eq!(missing_and_more(&[0, 2, 2, 3, 9, -1], 5), (2, 3));
}
