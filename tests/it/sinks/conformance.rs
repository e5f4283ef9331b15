//! The rules, each a function over any store, and [`check`], which runs them all.

use super::{Process, batch, epoch, prepared, schema, spec, table};
use headwater_core::{Epoch, ErrorKind, Prepared, Sink};

/// A store that a sink writes to.
pub(super) trait Store {
    /// The connector's name.
    fn connector(&self) -> &'static str;

    /// The options of a table there.
    fn options(&self, table: &str) -> Vec<(&'static str, String)>;

    /// What a reader sees of a table of `id, name`, sorted: `1|a`, with an empty name for null.
    fn rows(&self, table: &str) -> Vec<String>;

    /// Whether it is a server: then it can be away, and its address is in messages.
    fn server(&mut self) -> Option<&mut dyn Server> {
        None
    }
}

/// A store that can be away.
pub(super) trait Server {
    fn stop(&mut self);
    fn again(&mut self);
    /// What messages call it.
    fn shown(&self) -> String;
}

/// Runs every rule.
pub(super) async fn check(store: &mut dyn Store) {
    rows_are_visible_at_the_commit(store).await;
    a_commit_can_be_repeated_by_anybody(store).await;
    what_was_prepared_survives(store).await;
    what_is_not_in_the_checkpoint_is_void(store).await;
    a_run_that_begins_owes_nothing(store).await;
    changes_are_merged_by_key(store).await;
    a_restored_run_has_another_parallelism(store).await;
    bad_options_are_refused(store);
    a_server_may_be_away(store).await;
}

async fn open(
    store: &dyn Store,
    process: &Process,
    name: &str,
    key: &[usize],
    restored: Option<u64>,
    (subtask, parallelism): (usize, usize),
) -> Box<dyn Sink> {
    let definition = table(name, schema(), key, &store.options(name));
    let spec = spec(store.connector(), &definition).expect("the options are right");
    spec.open(&process.context(restored, subtask, parallelism)).await.expect("opens")
}

const ONLY: (usize, usize) = (0, 1);

async fn rows_are_visible_at_the_commit(store: &dyn Store) {
    let process = Process::new();
    let mut sink = open(store, &process, "visible", &[], None, ONLY).await;
    let token = prepared(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)]), batch(&[(2, None, 1)])]).await;
    assert!(store.rows("visible").is_empty(), "prepared is not visible");
    sink.commit(Epoch(1), &token).await.expect("commits");
    assert_eq!(store.rows("visible"), ["1|a", "2|"]);
    let empty = epoch(&mut sink, 2, vec![]).await;
    sink.commit(Epoch(2), &empty).await.expect("an empty epoch is committed again");
    epoch(&mut sink, 3, vec![batch(&[(3, Some("c"), 1)])]).await;
    assert_eq!(store.rows("visible"), ["1|a", "2|", "3|c"]);
}

async fn a_commit_can_be_repeated_by_anybody(store: &dyn Store) {
    let process = Process::new();
    let mut sink = open(store, &process, "repeated", &[], None, ONLY).await;
    let first = epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    sink.commit(Epoch(1), &first).await.expect("commits again");
    let second = epoch(&mut sink, 2, vec![batch(&[(1, Some("a"), 1)])]).await;
    drop(sink);
    // The token comes out of the manifest.
    let second: Prepared = serde_json::from_str(&serde_json::to_string(&second).expect("JSON")).expect("a token");
    for _ in 0..2 {
        let mut sink = open(store, &process, "repeated", &[], Some(2), ONLY).await;
        sink.commit(Epoch(2), &second).await.expect("commits again");
        sink.commit(Epoch(2), &second).await.expect("commits again");
    }
    assert_eq!(store.rows("repeated"), ["1|a", "1|a"]);
}

async fn what_was_prepared_survives(store: &dyn Store) {
    let process = Process::new();
    let mut sink = open(store, &process, "survives", &[], None, ONLY).await;
    epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    let token = prepared(&mut sink, 2, vec![batch(&[(2, Some("å\n\"'\\"), 1)]), batch(&[(3, Some(""), 1)])]).await;
    drop(sink);
    // The first restart is killed before it commits.
    drop(open(store, &process, "survives", &[], Some(2), ONLY).await);
    let mut sink = open(store, &process, "survives", &[], Some(2), ONLY).await;
    assert_eq!(store.rows("survives"), ["1|a"]);
    sink.commit(Epoch(2), &token).await.expect("commits");
    epoch(&mut sink, 3, vec![batch(&[(4, Some("d"), 1)])]).await;
    sink.commit(Epoch(2), &token).await.expect("commits again");
    assert_eq!(store.rows("survives"), ["1|a", "2|å\n\"'\\", "3|", "4|d"]);
}

async fn what_is_not_in_the_checkpoint_is_void(store: &dyn Store) {
    let process = Process::new();
    let mut sink = open(store, &process, "void", &[], None, ONLY).await;
    let first = epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    prepared(&mut sink, 2, vec![batch(&[(2, Some("void"), 1)])]).await;
    sink.write(batch(&[(3, Some("void"), 1)])).await.expect("writes");
    drop(sink);
    let mut sink = open(store, &process, "void", &[], Some(1), ONLY).await;
    sink.commit(Epoch(1), &first).await.expect("commits again");
    epoch(&mut sink, 2, vec![batch(&[(2, Some("b"), 1)])]).await;
    assert_eq!(store.rows("void"), ["1|a", "2|b"]);
}

async fn a_run_that_begins_owes_nothing(store: &dyn Store) {
    let process = Process::new();
    for name in ["first", "second"] {
        let mut sink = open(store, &process, "anew", &[], None, ONLY).await;
        epoch(&mut sink, 1, vec![batch(&[(1, Some(name), 1)])]).await;
        prepared(&mut sink, 2, vec![batch(&[(2, Some("void"), 1)])]).await;
    }
    assert_eq!(store.rows("anew"), ["1|first", "1|second"]);
}

async fn changes_are_merged_by_key(store: &dyn Store) {
    let process = Process::new();
    let mut sink = open(store, &process, "changes", &[0], None, ONLY).await;
    epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1), (2, Some("b"), 1), (3, Some("c"), 1)])]).await;
    let changes = vec![
        batch(&[(1, Some("a"), -1), (1, Some("x"), 1)]),
        batch(&[(1, Some("x"), -1), (1, Some("y"), 1)]),
        batch(&[(2, Some("b"), -1)]),
        batch(&[(3, Some("c"), -1), (3, Some("c"), 1)]),
    ];
    let token = prepared(&mut sink, 2, changes).await;
    drop(sink);
    let mut sink = open(store, &process, "changes", &[0], Some(2), ONLY).await;
    sink.commit(Epoch(2), &token).await.expect("commits");
    assert_eq!(store.rows("changes"), ["1|y", "3|c"]);
    epoch(&mut sink, 3, vec![batch(&[(2, Some("again"), 1), (1, Some("y"), -1)])]).await;
    assert_eq!(store.rows("changes"), ["2|again", "3|c"]);
}

async fn a_restored_run_has_another_parallelism(store: &dyn Store) {
    let process = Process::new();
    let definition = table("parallel", schema(), &[0], &store.options("parallel"));
    if spec(store.connector(), &definition).expect("the options are right").parallelism_max() < 2 {
        return;
    }
    let mut tokens = Vec::new();
    for subtask in 0..2_usize {
        let mut sink = open(store, &process, "parallel", &[0], None, (subtask, 2)).await;
        let id = i64::try_from(subtask).expect("is small");
        epoch(&mut sink, 1, vec![batch(&[(id, Some("a"), 1)])]).await;
        tokens.push(prepared(&mut sink, 2, vec![batch(&[(id, Some("a"), -1), (id, Some("b"), 1)])]).await);
    }
    let mut sink = open(store, &process, "parallel", &[0], Some(2), ONLY).await;
    for token in tokens.iter().chain(&tokens) {
        sink.commit(Epoch(2), token).await.expect("commits");
    }
    assert_eq!(store.rows("parallel"), ["0|b", "1|b"]);
    epoch(&mut sink, 3, vec![batch(&[(1, Some("b"), -1)])]).await;
    assert_eq!(store.rows("parallel"), ["0|b"]);
}

fn bad_options_are_refused(store: &dyn Store) {
    for (name, value) in [("delivery", "twice"), ("no_such_option", "1")] {
        let mut options = store.options("bad");
        options.push((name, value.to_owned()));
        let error = spec(store.connector(), &table("bad", schema(), &[], &options)).map(|_| ()).expect_err("is bad");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(name) && error.help().is_some(), "{error}");
    }
}

async fn a_server_may_be_away(store: &mut dyn Store) {
    let process = Process::new();
    if store.server().is_none() {
        return;
    }
    let mut sink = open(store, &process, "away", &[], None, ONLY).await;
    epoch(&mut sink, 1, vec![batch(&[(1, Some("a"), 1)])]).await;
    sink.write(batch(&[(2, Some("b"), 1)])).await.expect("writes");
    let server = store.server().expect("is one");
    server.stop();
    let shown = server.shown();
    let definition = table("away", schema(), &[], &store.options("away"));
    let spec = spec(store.connector(), &definition).expect("the options are right");
    let error = spec.open(&process.context(None, 0, 1)).await.map(|_| ()).expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains(&shown) && !error.message().contains("s3cret"), "{error}");
    assert!(!spec.describe().contains("s3cret") && !format!("{spec:?}").contains("s3cret"));
    let mut token = sink.prepare(Epoch(2)).await;
    if let Err(error) = &token {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        store.server().expect("is one").again();
        token = sink.prepare(Epoch(2)).await;
    } else {
        let error = sink.commit(Epoch(2), token.as_ref().expect("is one")).await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        store.server().expect("is one").again();
    }
    let token = match token {
        // A connection that died is noticed by its first use.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            sink.prepare(Epoch(2)).await.expect("prepares")
        }
        Ok(token) => token,
    };
    assert_eq!(store.rows("away"), ["1|a"]);
    let server = store.server().expect("is one");
    server.stop();
    let error = sink.commit(Epoch(2), &token).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    store.server().expect("is one").again();
    if let Err(error) = sink.commit(Epoch(2), &token).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        sink.commit(Epoch(2), &token).await.expect("commits");
    }
    sink.commit(Epoch(2), &token).await.expect("commits again");
    assert_eq!(store.rows("away"), ["1|a", "2|b"]);
}
