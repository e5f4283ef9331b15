//! The killed process, and what its windows should hold.

use crate::support::Workplace;
use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The event time of a row: ten milliseconds after the one before it, in the past, so that no clock is asked.
pub(super) const BEGIN_NS: i64 = 1_767_225_600_000_000_000;
/// The nanoseconds between two rows.
pub(super) const STEP_NS: i64 = 10_000_000;
/// How long a window is.
const WINDOW_NS: i64 = 1_000_000_000;
/// How many keys rows have.
pub(super) const N_KEYS: i64 = 5;
/// Longer than any machine takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// The line of a row.
pub(super) fn line(id: i64) -> String {
    format!(r#"{{"id":{id},"k":{},"v":{id},"ts":"{}"}}"#, id % N_KEYS, timestamp(BEGIN_NS + id * STEP_NS))
}

/// A row that closes all windows and belongs to none that is looked at.
pub(super) fn last_line() -> String {
    format!(r#"{{"id":-1,"k":0,"v":0,"ts":"{}"}}"#, timestamp(BEGIN_NS + 10_000_000 * STEP_NS))
}

fn timestamp(ns: i64) -> String {
    arrow::temporal_conversions::timestamp_ns_to_datetime(ns)
        .expect("in range")
        .format("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// For each window and key `start (in seconds after the first), key, rows, sum`, over the rows below `n`.
pub(super) fn rows_of_windows(n: i64) -> Vec<String> {
    let mut windows: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
    for id in 0..n {
        let window = windows.entry((id * STEP_NS / WINDOW_NS, id % N_KEYS)).or_default();
        *window = (window.0 + 1, window.1 + id);
    }
    let mut rows: Vec<String> = windows.iter().map(|((w, k), (n, sum))| format!("{w}|{k}|{n}|{sum}")).collect();
    rows.sort_unstable();
    rows
}

/// A running pipeline.
pub(super) struct Run {
    child: Child,
    /// Gets what the process said once it has ended.
    ended: Receiver<String>,
}

impl Run {
    pub(super) fn start(place: &Workplace, parallelism: usize) -> Self {
        let parallelism = parallelism.to_string();
        let mut command = place.command(&["run", "p.sql", "--state", "state", "-p", &parallelism]);
        command.args(["--checkpoint-interval", "100ms"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stderr = child.stderr.take().expect("piped");
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            let _ = sender.send(String::from_utf8_lossy(&said).into_owned());
        });
        Self { child, ended }
    }

    /// Lets it live for a while; ending by itself is a failure.
    pub(super) fn lives_for(&self, time: Duration) {
        if let Ok(said) = self.ended.recv_timeout(time) {
            panic!("the pipeline ended by itself:\n{said}");
        }
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(mut self) {
        self.lives_for(Duration::ZERO);
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Lets it live until something holds.
    pub(super) fn until(&self, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < DEADLINE, "the stores are not complete after {DEADLINE:?}");
            self.lives_for(Duration::from_millis(100));
        }
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        let success = self.child.wait().expect("it ends").success();
        assert!(success, "it fails at its end:\n{}", self.ended.recv().unwrap_or_default());
    }
}
