//! Stored checkpoints: the commands that look at them, in a folder and in a bucket.

mod bucket;
mod commands;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use headwater_core::{Epoch, EventTime, Position, Prepared, Route, StateTable};
use headwater_engine::state::{
    FORMAT, Manifest, OperatorState, Part, PartName, SinkState, SourcePosition, SourceState, StateStore, TableState,
    encode,
};
use std::sync::Arc;

const OPERATOR: &str = "5f3a";

/// Rows of a table of ids and versions.
fn rows(ids: std::ops::Range<i64>, version: i64) -> StateTable {
    let names: StringArray = ids.clone().map(|id| Some(format!("id-{id}"))).collect();
    let versions = Int64Array::from_iter_values(ids.map(|_| version));
    let fields = vec![Field::new("id", DataType::Utf8, false), Field::new("version", DataType::Int64, false)];
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(names), Arc::new(versions)]);
    let rows = rows.expect("columns of one length");
    StateTable { name: "seen", key: vec![0], route: Route::Key(vec![0]), rows, removed: None }
}

async fn part(store: &StateStore, epoch: u64, table: &StateTable) -> Part {
    let encoded = encode(table).expect("rows are encoded").expect("there are rows");
    let name = PartName { epoch: Epoch(epoch), operator: OPERATOR, subtask: (0, 1), table: table.name };
    store.write_part(&name, encoded).await.expect("the part is written")
}

/// A checkpoint with these parts.
fn manifest(epoch: u64, parts: Vec<Part>, savepoint: Option<&str>) -> Manifest {
    let position = Position([("orders.json".to_owned(), (epoch * 100).to_string())].into());
    let watermark = Some(EventTime(1_767_225_600_000_000_000));
    let source = SourceState {
        node: "orders".to_owned(),
        identity: "file orders.json".to_owned(),
        subtasks: vec![SourcePosition { position, watermark }],
    };
    let table = TableState { name: "seen".to_owned(), key: vec![0], route: Route::Key(vec![0]), parts };
    let operator = OperatorState {
        identity: OPERATOR.to_owned(),
        node: "distinct_1".to_owned(),
        description: "dedup by id".to_owned(),
        tables: vec![table],
    };
    let sink = SinkState {
        node: "report".to_owned(),
        identity: "sqlite report.db table orders".to_owned(),
        subtasks: vec![Prepared::default()],
    };
    Manifest {
        format: FORMAT,
        pipeline: "orders".to_owned(),
        epoch: Epoch(epoch),
        savepoint: savepoint.map(str::to_owned),
        time: EventTime(1_767_225_600_000_000_000 + i64::try_from(epoch).expect("small") * EventTime::SECOND),
        parallelism: 1,
        definition: String::new(),
        sources: vec![source],
        operators: vec![operator],
        sinks: vec![sink],
    }
}

/// Three checkpoints, of which the second is a savepoint; each adds a part and the third replaces the first one's.
async fn three_checkpoints(store: &StateStore) {
    let first = part(store, 1, &rows(0..1000, 1)).await;
    store.write_manifest(&manifest(1, vec![first.clone()], None)).await.expect("epoch 1");
    let second = part(store, 2, &rows(1000..1010, 1)).await;
    store.write_manifest(&manifest(2, vec![first, second.clone()], Some("before-upgrade"))).await.expect("epoch 2");
    let third = part(store, 3, &rows(0..1000, 2)).await;
    store.write_manifest(&manifest(3, vec![second, third], None)).await.expect("epoch 3");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
