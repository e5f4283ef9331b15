//! The transaction that makes an epoch visible: is it recorded already, merge, record it, delete what was staged. No
//! state.

use super::PostgresSpec;
use super::failure::{failure, is_data, words};
use super::merge::{Merge, PART, Part};
use super::schema::quoted;
use super::store::Store;
use headwater_core::{Epoch, Error, Result};
use std::ops::Range;
use tokio_postgres::Client;

/// What names a prepared epoch.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Token {
    /// The subtask that prepared it.
    pub(super) subtask: i64,
    /// How many rows are staged.
    pub(super) rows: u64,
    pub(super) part: Part,
}

/// One call of `commit`.
pub(super) struct Commit<'a> {
    pub(super) store: &'a Store,
    pub(super) token: &'a Token,
    pub(super) epoch: Epoch,
}

/// What a commit did beside.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Whether the staging tables of earlier runs are gone.
    pub(super) tidied: bool,
}

impl Commit<'_> {
    /// Runs the transaction. An error leaves it open: the caller drops the connection.
    pub(super) async fn run(&self, client: &Client) -> Result<Done> {
        let Self { store, token, epoch } = self;
        let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        let failed = |error| self.failed(&error);
        client.batch_execute("BEGIN").await.map_err(failed)?;
        let (run, own) = recorded(client, store).await?;
        let Some(current) = &store.run else { return Ok(Done::default()) };
        if run != current.number {
            return Err(another_run(store));
        }
        let of_own = token.subtask == i64::try_from(store.context.subtask).unwrap_or(i64::MAX);
        let last = if of_own { own } else { self.last_of_other(client).await? };
        if last >= number {
            client.batch_execute("ROLLBACK").await.map_err(failed)?;
            return Ok(Done::default());
        }
        if store.spec.replaces && last == 0 {
            client.batch_execute(&format!("DELETE FROM {}", store.target.name)).await.map_err(failed)?;
        }
        if token.rows > 0 {
            self.merge(client).await?;
        }
        let record =
            format!("UPDATE {} SET epoch = $4 WHERE pipeline = $1 AND node = $2 AND subtask = $3", current.epochs);
        let (pipeline, node) = (store.context.pipeline.as_ref(), store.context.node.as_ref());
        client.execute(&record, &[&pipeline, &node, &token.subtask, &number]).await.map_err(failed)?;
        // The restored epoch is committed before any later one, so nothing needs the older tables now.
        let tidied = token.part.staging == current.staging && !current.older.is_empty();
        if tidied {
            let schema = quoted(&store.target.schema);
            let tables: Vec<String> = current.older.iter().map(|name| format!("{schema}.{}", quoted(name))).collect();
            client.batch_execute(&format!("DROP TABLE IF EXISTS {}", tables.join(", "))).await.map_err(failed)?;
        }
        client.batch_execute("COMMIT").await.map_err(failed)?;
        Ok(Done { tidied })
    }

    async fn merge(&self, client: &Client) -> Result<()> {
        let Self { store, token, epoch } = self;
        let failed = |error| self.failed(&error);
        let staging = format!("{}.{}", quoted(&store.target.schema), quoted(&token.part.staging));
        let lost = |n: u64| {
            let message = format!(
                "{n} of {} rows of epoch {epoch} are left in the staging table {staging} in {}",
                token.rows, store.spec.address.server
            );
            Error::data(message).with_help("restore the database to a state that has them; the epoch is not committed")
        };
        let there = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&staging]).await.map_err(failed)?;
        if !there.try_get::<_, bool>(0).map_err(failed)? {
            return Err(lost(0));
        }
        let merge = Merge { spec: &store.spec, target: &store.target, staging: staging.clone(), part: &token.part };
        for statement in merge.deletions() {
            client.batch_execute(&statement).await.map_err(failed)?;
        }
        client.batch_execute(&merge.insertion(None)).await.map_err(failed)?;
        let delete = format!("DELETE FROM {} WHERE {PART} = {}", merge.staging, token.part.part);
        let n_deleted = client.execute(&delete, &[]).await.map_err(failed)?;
        if n_deleted != token.rows {
            return Err(lost(n_deleted));
        }
        Ok(())
    }

    /// Returns the last epoch of a subtask of an earlier run, whose token came to this one.
    async fn last_of_other(&self, client: &Client) -> Result<i64> {
        let Self { store, token, .. } = self;
        let failed = |error| self.failed(&error);
        let Some(run) = &store.run else { return Ok(0) };
        let (pipeline, node) = (store.context.pipeline.as_ref(), store.context.node.as_ref());
        let insert = format!("INSERT INTO {} VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING", run.epochs);
        client.execute(&insert, &[&pipeline, &node, &token.subtask]).await.map_err(failed)?;
        let query =
            format!("SELECT epoch FROM {} WHERE pipeline = $1 AND node = $2 AND subtask = $3 FOR UPDATE", run.epochs);
        let row = client.query_one(&query, &[&pipeline, &node, &token.subtask]).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    fn failed(&self, error: &tokio_postgres::Error) -> Error {
        let PostgresSpec { address, table, .. } = &self.store.spec;
        let made = failure(&address.server, error);
        if is_data(error) {
            return made.at(format!("epoch {} of table '{table}'", self.epoch)).with_help(
                "the table changed after the rows were checked; mend it and start again: the epoch waits in staging",
            );
        }
        made
    }
}

/// Returns the run and the last epoch that are recorded for this subtask, and holds them until the transaction ends.
pub(super) async fn recorded(client: &Client, store: &Store) -> Result<(i64, i64)> {
    let failed = |error| failure(&store.spec.address.server, &error);
    let Some(run) = &store.run else { return Ok((0, 0)) };
    let query =
        format!("SELECT run, epoch FROM {} WHERE pipeline = $1 AND node = $2 AND subtask = $3 FOR UPDATE", run.epochs);
    let subtask = i64::try_from(store.context.subtask).unwrap_or(i64::MAX);
    let (pipeline, node) = (store.context.pipeline.as_ref(), store.context.node.as_ref());
    let row = client.query_opt(&query, &[&pipeline, &node, &subtask]).await.map_err(failed)?;
    let Some(row) = row else { return Err(another_run(store)) };
    Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))
}

pub(super) fn another_run(store: &Store) -> Error {
    let message = format!(
        "another run of pipeline '{}' writes to the table '{}' in {}",
        store.context.pipeline, store.spec.table, store.spec.address.server
    );
    Error::conflict(message).with_help("stop one of the two")
}

/// Merges a part inside a transaction, as far as the server takes its rows; returns the sequence numbers of those that
/// it refused, and why.
pub(super) async fn merge_what_fits(
    client: &Client,
    merge: &Merge<'_>,
    end: i64,
) -> Result<Vec<(i64, String)>, tokio_postgres::Error> {
    for statement in merge.deletions() {
        client.batch_execute(&statement).await?;
    }
    let mut refused = Vec::new();
    let mut ranges: Vec<Range<i64>> = std::iter::once(0..end).collect();
    while let Some(range) = ranges.pop() {
        client.batch_execute("SAVEPOINT rows").await?;
        match client.batch_execute(&merge.insertion(Some(&range))).await {
            Ok(()) => client.batch_execute("RELEASE SAVEPOINT rows").await?,
            Err(error) if is_data(&error) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows").await?;
                if range.end - range.start == 1 {
                    refused.push((range.start, words(&error)));
                } else {
                    let middle = range.start + (range.end - range.start) / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}
