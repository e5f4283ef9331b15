//! Random queries over windows whose results are final: what is shown after an epoch is the batch answer over exactly
//! the windows that the watermark has closed. The stream and batch spell windows differently, so each case has two
//! texts. No state but the chance that is handed in.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// A query over windows of `t`.
#[derive(Debug, Clone)]
pub(super) struct Windowed {
    /// What the stream is asked.
    pub(super) stream: String,
    /// What batch is asked; `{closed}` stands for the first time that is not closed, in nanoseconds.
    pub(super) batch: String,
}

const SIZES: [&str; 4] = ["10 seconds", "45 seconds", "1 minute", "25 seconds"];

/// How rows are put into windows.
enum Window {
    Tumble(&'static str),
    Hop(&'static str, &'static str),
    Cumulate,
    Session(&'static str),
}

impl Window {
    fn any(chance: &mut impl Rng) -> Self {
        let (size, slide) = (SIZES[chance.random_range(0..4)], SIZES[chance.random_range(0..4)]);
        match chance.random_range(0..5) {
            0 => Self::Tumble(size),
            1 | 2 => Self::Hop(slide, size),
            3 => Self::Session(["3 seconds", "10 seconds", "30 seconds"].choose(chance).expect("a choice")),
            _ => Self::Cumulate,
        }
    }

    fn stream(&self) -> String {
        match self {
            Self::Tumble(size) => format!("tumble(INTERVAL '{size}')"),
            Self::Hop(slide, size) => format!("hop(INTERVAL '{slide}', INTERVAL '{size}')"),
            Self::Cumulate => "cumulate(INTERVAL '15 seconds', INTERVAL '1 minute')".to_owned(),
            Self::Session(gap) => format!("session(INTERVAL '{gap}')"),
        }
    }

    /// Returns `t` with a column `w` for the window; sessions are of the rows of one key.
    fn batch(&self, filter: &str, key: &str) -> String {
        match self {
            Self::Tumble(size) => format!("SELECT *, tumble(ts, INTERVAL '{size}') AS w FROM t{filter}"),
            Self::Hop(slide, size) => {
                format!("SELECT *, unnest(hop(ts, INTERVAL '{slide}', INTERVAL '{size}')) AS w FROM t{filter}")
            }
            Self::Cumulate => {
                format!(
                    "SELECT *, unnest(cumulate(ts, INTERVAL '15 seconds', INTERVAL '1 minute')) AS w FROM t{filter}"
                )
            }
            Self::Session(gap) => {
                let by = format!("PARTITION BY {key} ORDER BY ts");
                let numbered = format!(
                    "SELECT *, CASE WHEN ts - lag(ts) OVER ({by}) <= INTERVAL '{gap}' THEN 0 ELSE 1 END AS opens FROM t{filter}"
                );
                let summed = format!("SELECT *, sum(opens) OVER ({by}) AS number FROM ({numbered})");
                let span = format!("OVER (PARTITION BY {key}, number)");
                format!(
                    "SELECT *, named_struct('start', min(ts) {span}, 'end', max(ts) {span} + INTERVAL '{gap}') AS w FROM ({summed})"
                )
            }
        }
    }

    /// A session is closed one nanosecond later than other windows: a row exactly at its end still belongs to it.
    fn closed(&self) -> &'static str {
        match self {
            Self::Session(_) => "{closed} - 1",
            Self::Tumble(_) | Self::Hop(..) | Self::Cumulate => "{closed}",
        }
    }
}

/// Makes a query over windows.
pub(super) fn windowed(chance: &mut impl Rng) -> Windowed {
    let window = Window::any(chance);
    let key = *["k", "s", "b", "k % 2", "1"].choose(chance).expect("there is a choice");
    let filter = *["", "", " WHERE v > 1", " WHERE s IS NOT NULL"].choose(chance).expect("there is a choice");
    let calls = [
        "count(*)",
        "sum(v)",
        "max(v)",
        "count(DISTINCT s)",
        "min(ts)",
        "avg(v)",
        "array_agg(v ORDER BY v)",
        "sum(id) FILTER (WHERE b)",
        "string_agg(s, ',' ORDER BY s)",
        "median(v)",
    ];
    let calls: Vec<&str> = (0..chance.random_range(1..4)).map(|_| *calls.choose(chance).expect("a choice")).collect();
    let calls: Vec<String> = calls.iter().enumerate().map(|(n, call)| format!("{call} AS a{n}")).collect();
    let calls = calls.join(", ");
    let having = if chance.random_bool(0.2) { " HAVING count(*) > 1" } else { "" };
    let stream = format!("SELECT {} AS w, {key} AS key, {calls} FROM t{filter} GROUP BY 1, 2{having}", window.stream());
    let rows = window.batch(filter, key);
    let closed = window.closed();
    let batch = format!(
        "SELECT * FROM (SELECT w, {key} AS key, {calls} FROM ({rows}) GROUP BY 1, 2{having}) \
         WHERE w['end'] <= arrow_cast({closed}, 'Timestamp(Nanosecond, None)')"
    );
    above(chance, stream, batch, &window)
}

/// Puts something on top of windowed results.
fn above(chance: &mut impl Rng, stream: String, batch: String, window: &Window) -> Windowed {
    let both = |of: &dyn Fn(&str) -> String| Windowed { stream: of(&stream), batch: of(&batch) };
    match chance.random_range(0..6) {
        // The first rows of each window; ties are broken by the key, which is unique in it.
        0 => both(&|inner| {
            format!(
                "SELECT w['start'] AS at, key, a0 FROM (SELECT *, row_number() OVER \
                 (PARTITION BY w ORDER BY key NULLS FIRST) AS n FROM ({inner}) AS x) AS y WHERE n <= 2"
            )
        }),
        1 => both(&|inner| {
            format!(
                "SELECT w['start'] AS at, key, count(*) OVER (PARTITION BY w) AS n, \
                 rank() OVER (PARTITION BY w ORDER BY key) AS place FROM ({inner}) AS x"
            )
        }),
        // The same window again, over all keys. Each session is of one key, so it has no window in common.
        2 if !matches!(window, Window::Session(_)) => {
            both(&|inner| format!("SELECT w['start'] AS at, count(*) AS n FROM ({inner}) AS x GROUP BY w"))
        }
        _ => both(&|inner| format!("SELECT w['start'] AS at, w['end'] AS until, key, a0 FROM ({inner}) AS x")),
    }
}
