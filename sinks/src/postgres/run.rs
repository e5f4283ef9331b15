//! The start of a run: its number, which shuts earlier runs out, its staging table, and what earlier runs left behind.
//! Everything happens in the transaction of the caller. No state.

use super::PostgresSpec;
use super::failure::failure;
use super::merge::{DIFF, PART, SEQ};
use super::schema::{Target, quoted};
use headwater_core::{Error, Result, TaskContext};
use tokio_postgres::Client;

/// Held while a sink opens, because two that make the same tables at once would disturb each other.
const OPENING: &str = "SELECT pg_advisory_xact_lock(5204372905128)";
/// What names of pipelines are hashed under.
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x8d1f_0a5e_6a55_4d0c_9f63_2b0f_5a3c_7e11);

/// A run of one subtask.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) number: i64,
    /// The table of epochs, quoted with its schema.
    pub(super) epochs: String,
    /// The staging table's name in the table's schema.
    pub(super) staging: String,
    /// Staging tables of earlier runs that may hold rows of the restored epoch.
    pub(super) older: Vec<String>,
}

/// Takes the lock of openings.
pub(super) async fn lock(client: &Client, spec: &PostgresSpec) -> Result<()> {
    client.batch_execute(OPENING).await.map_err(|error| failure(&spec.address.server, &error))
}

/// Returns the columns that a copy of the table's rows waits in: what is declared, with its checks, and three more.
pub(super) fn staging_columns(target: &Target) -> String {
    format!(
        "(LIKE {} INCLUDING CONSTRAINTS, {PART} bigint NOT NULL, {SEQ} bigint NOT NULL, {DIFF} bigint NOT NULL)",
        target.name
    )
}

/// Returns the statement that takes the columns away that are not declared; nothing where there are none.
pub(super) fn drop_undeclared(staging: &str, target: &Target) -> String {
    let columns: Vec<String> =
        target.undeclared.iter().map(|name| format!("DROP COLUMN {} CASCADE", quoted(name))).collect();
    if columns.is_empty() { String::new() } else { format!("ALTER TABLE {staging} {};", columns.join(", ")) }
}

/// Starts a run.
pub(super) async fn start(client: &Client, spec: &PostgresSpec, target: &Target, context: &TaskContext) -> Result<Run> {
    let failed = |error| failure(&spec.address.server, &error);
    let epochs = format!("{}._headwater_epochs", quoted(&target.schema));
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {epochs} (pipeline text, node text, subtask bigint, run bigint NOT NULL, \
         epoch bigint NOT NULL, PRIMARY KEY (pipeline, node, subtask))"
    );
    client.batch_execute(&create).await.map_err(failed)?;
    let (pipeline, node) = (context.pipeline.as_ref(), context.node.as_ref());
    let [subtask, parallelism] = [context.subtask, context.parallelism].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let restored = context.restored.map(|epoch| i64::try_from(epoch.0).unwrap_or(i64::MAX));
    let insert = format!("INSERT INTO {epochs} VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING");
    client.execute(&insert, &[&pipeline, &node, &subtask]).await.map_err(failed)?;
    // Also the rows of subtasks that there were at a greater parallelism.
    let begin = format!(
        "UPDATE {epochs} SET run = run + 1, epoch = CASE WHEN $5::bigint IS NULL THEN 0 ELSE epoch END \
         WHERE pipeline = $1 AND node = $2 AND subtask % $4 = $3 RETURNING subtask, run, epoch"
    );
    let rows = client.query(&begin, &[&pipeline, &node, &subtask, &parallelism, &restored]).await.map_err(failed)?;
    let mut former: Vec<(i64, i64, i64)> = Vec::with_capacity(rows.len());
    for row in &rows {
        former.push((
            row.try_get(0).map_err(failed)?,
            row.try_get(1).map_err(failed)?,
            row.try_get(2).map_err(failed)?,
        ));
    }
    if let Some(epoch) = restored {
        let newest = former.iter().map(|(_, _, epoch)| *epoch).max().unwrap_or(0);
        if newest > epoch {
            step_back(client, spec, &epochs, context, newest).await?;
        }
    }
    let own = former.iter().find(|(other, _, _)| *other == subtask);
    let number = own.map(|(_, run, _)| *run).ok_or_else(|| Error::internal("a run without its row"))?;
    let prefix = prefix(pipeline, node);
    let older = older(client, spec, target, &prefix, (subtask, parallelism), &former, restored).await?;
    let staging = format!("{prefix}_{subtask}_{number}");
    let table = format!("{}.{}", quoted(&target.schema), quoted(&staging));
    let comment = format!("rows of pipeline {pipeline:?}, node {node:?}, subtask {subtask} that wait for their commit");
    let create = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} {}; {} CREATE INDEX ON {table} ({PART}, {SEQ}); \
         COMMENT ON TABLE {table} IS '{}'",
        staging_columns(target),
        drop_undeclared(&table, target),
        comment.replace('\'', "''")
    );
    client.batch_execute(&create).await.map_err(failed)?;
    Ok(Run { number, epochs, staging, older })
}

/// The checkpoint is older than what the table has. With a key the same rows come again and land on their keys.
async fn step_back(
    client: &Client,
    spec: &PostgresSpec,
    epochs: &str,
    context: &TaskContext,
    newest: i64,
) -> Result<()> {
    let epoch = context.restored.map_or(0, |epoch| i64::try_from(epoch.0).unwrap_or(i64::MAX));
    let message = format!(
        "the table '{}' in {} has epoch {newest} of pipeline '{}' already, the checkpoint is of epoch {epoch}",
        spec.table, spec.address.server, context.pipeline
    );
    if spec.key.is_empty() || spec.ignores {
        let help = format!(
            "go on from the newest checkpoint; or take back the rows of the later epochs and run: UPDATE {epochs} SET \
             epoch = {epoch} WHERE pipeline = '{}' AND epoch > {epoch}",
            context.pipeline.replace('\'', "''")
        );
        return Err(Error::conflict(message).with_help(help));
    }
    tracing::warn!(message, "rows of later epochs are written again, by key");
    let update = format!("UPDATE {epochs} SET epoch = $3 WHERE pipeline = $1 AND node = $2 AND epoch > $3");
    let done = client.execute(&update, &[&context.pipeline.as_ref(), &context.node.as_ref(), &epoch]).await;
    done.map(|_| ()).map_err(|error| failure(&spec.address.server, &error))
}

/// Drops the staging tables of earlier runs, except those that may hold rows of the restored epoch, if it is not
/// committed yet; returns them.
async fn older(
    client: &Client,
    spec: &PostgresSpec,
    target: &Target,
    prefix: &str,
    (subtask, parallelism): (i64, i64),
    former: &[(i64, i64, i64)],
    restored: Option<i64>,
) -> Result<Vec<String>> {
    let failed = |error| failure(&spec.address.server, &error);
    let find = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = $1 AND c.relkind::text = 'r' AND c.relname::text LIKE $2";
    let like = format!("{}%", prefix.replace('_', "\\_"));
    let rows = client.query(find, &[&target.schema, &like]).await.map_err(failed)?;
    let mut kept = Vec::new();
    for row in &rows {
        let name: String = row.try_get(0).map_err(failed)?;
        let Some((of, _)) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')?.split_once('_')) else {
            continue;
        };
        let Ok(of) = of.parse::<i64>() else { continue };
        if of % parallelism != subtask {
            continue;
        }
        let recorded = former.iter().find(|(other, _, _)| *other == of).map_or(0, |(_, _, epoch)| *epoch);
        if restored.is_some_and(|epoch| recorded < epoch) {
            kept.push(name);
        } else {
            let drop = format!("DROP TABLE {}.{}", quoted(&target.schema), quoted(&name));
            client.batch_execute(&drop).await.map_err(failed)?;
        }
    }
    Ok(kept)
}

/// Names are of 63 bytes at most, so the pipeline and the node are hashed.
fn prefix(pipeline: &str, node: &str) -> String {
    let hash = uuid::Uuid::new_v5(&NAMESPACE, format!("{pipeline}\0{node}").as_bytes()).simple().to_string();
    format!("_headwater_staged_{}", &hash[..16])
}
