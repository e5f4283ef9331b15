//! One subtask's writing end of a table.
//!
//! State: the connection (made anew when it broke), the rows that are not staged yet (at most [`SPILL_ROWS`] or
//! [`SPILL_BYTES`] and the last batch), what is staged of the running epoch, and the rows that were refused.

use super::address::Connection;
use super::commit::{self, Commit, Token};
use super::failure::failure;
use super::merge::{Merge, Part};
use super::run::{self, Run};
use super::schema::{self, Target, quoted};
use super::{PostgresSpec, stage};
use headwater_core::{Batch, DeadLetter, Epoch, Error, Prepared, Reason, Result, TaskContext, consolidate};
use tokio_postgres::Client;

/// How many rows wait in memory before they are staged.
pub(super) const SPILL_ROWS: usize = 1 << 16;
/// How many bytes of rows wait in memory before they are staged.
pub(super) const SPILL_BYTES: usize = 64 << 20;

/// What every connection is told. A lock that somebody holds for longer is reported as `Unavailable`, and asked for
/// again.
const SETTINGS: &str = "SET client_min_messages = warning; SET lock_timeout = '20s'; SET TIME ZONE 'UTC'; \
                        SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on";
/// Where rows of `delivery = 'upsert'` pass through, in each connection's own schema.
const PASSING: &str = "_headwater_passing";

pub(super) struct Store {
    pub(super) spec: PostgresSpec,
    pub(super) context: TaskContext,
    pub(super) target: Target,
    /// Absent for `delivery = 'upsert'`.
    pub(super) run: Option<Run>,
    connection: Option<Connection>,
    waiting: Vec<Batch>,
    n_waiting: usize,
    n_bytes: usize,
    staged: Staged,
    rejected: Vec<DeadLetter>,
    /// Whether the next merge of `delivery = 'upsert'` deletes all rows first.
    clears: bool,
    /// Names rejected rows of this run.
    label: i64,
}

/// What is staged of the running epoch.
#[derive(Default)]
struct Staged {
    part: i64,
    seq: i64,
    pieces: u32,
    rows: u64,
    deletes: bool,
}

impl Store {
    /// Connects, checks or makes the table, and starts a run.
    pub(super) async fn open(spec: PostgresSpec, context: &TaskContext) -> Result<Self> {
        let connection = spec.address.connect(SETTINGS).await?;
        let begun = begin(&connection.client, &spec, context).await;
        if begun.is_err() {
            take_back(&connection).await;
        }
        let (target, run) = begun?;
        let label = run.as_ref().map_or(context.clock.now().0, |run| run.number);
        let clears = spec.upserts && spec.replaces && context.restored.is_none();
        Ok(Self {
            spec,
            context: context.clone(),
            target,
            run,
            connection: Some(connection),
            waiting: Vec::new(),
            n_waiting: 0,
            n_bytes: 0,
            staged: Staged::default(),
            rejected: Vec::new(),
            clears,
            label,
        })
    }

    /// Takes the connection out, for as long as a transaction goes on: one that ends in an error, or that nobody waits
    /// for any more, takes its connection with it, and the server takes everything back.
    async fn connected(&mut self) -> Result<Connection> {
        match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => Ok(connection),
            _ => self.spec.address.connect(SETTINGS).await,
        }
    }

    /// Keeps the connection after what was done on it, unless that failed.
    async fn settle<T>(&mut self, connection: Connection, done: Result<T>) -> Result<T> {
        match done {
            Ok(_) => self.connection = Some(connection),
            Err(_) => take_back(&connection).await,
        }
        done
    }

    /// Takes rows. Many are staged at once; where that fails the batch is not taken.
    pub(super) async fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.n_waiting >= SPILL_ROWS || self.n_bytes >= SPILL_BYTES {
            self.pass_on().await?;
        }
        self.n_waiting += batch.n_rows();
        self.n_bytes += batch.rows.get_array_memory_size();
        self.waiting.push(batch);
        Ok(())
    }

    async fn pass_on(&mut self) -> Result<()> {
        match &self.run {
            Some(run) => {
                let staging = format!("{}.{}", quoted(&self.target.schema), quoted(&run.staging));
                self.stage(&staging).await
            }
            None => self.upsert().await,
        }
    }

    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.run.is_some() { Ok(()) } else { self.upsert().await }
    }

    /// Returns what waits as one piece, net.
    fn piece(&self) -> Result<Option<Batch>> {
        let Some(first) = self.waiting.first() else { return Ok(None) };
        let rows = Batch::concat(&first.schema(), &self.waiting)?;
        if self.spec.key.is_empty() {
            return Ok(Some(Batch::append_only(crate::rows::insertions(rows, &self.spec.table)?)));
        }
        Ok(Some(if rows.diffs.is_some() { consolidate(&rows)? } else { rows }))
    }

    /// Stages what waits in a transaction of its own. It can be repeated: what a lost answer left is deleted first.
    async fn stage(&mut self, staging: &str) -> Result<()> {
        let Some(rows) = self.piece()? else { return Ok(()) };
        let (part, seq) = (self.staged.part, self.staged.seq);
        let mut encoded = stage::encode(&self.spec, &self.target, &rows, part, seq)?;
        let connection = self.connected().await?;
        let client = &connection.client;
        let begin = format!(
            "BEGIN; DELETE FROM {staging} WHERE {} = {part} AND {} >= {seq}",
            super::merge::PART,
            super::merge::SEQ
        );
        let copied = async {
            client.batch_execute(&begin).await?;
            let n_rows = encoded.copy(client, &self.spec, staging).await?;
            client.batch_execute("COMMIT").await?;
            Ok(n_rows)
        };
        let copied = copied.await.map_err(|error| self.shut_out(&error));
        let n_rows = self.settle(connection, copied).await?;
        self.refuse(&rows, std::mem::take(&mut encoded.refused))?;
        self.staged.rows += n_rows;
        self.took(&rows);
        Ok(())
    }

    /// Counts a piece as staged and forgets it.
    fn took(&mut self, rows: &Batch) {
        self.staged.seq = self.staged.seq.saturating_add(i64::try_from(rows.n_rows()).unwrap_or(i64::MAX));
        self.staged.pieces += 1;
        self.staged.deletes |= rows.diffs.as_ref().is_some_and(|diffs| diffs.values().iter().any(|diff| *diff < 0));
        self.waiting.clear();
        (self.n_waiting, self.n_bytes) = (0, 0);
    }

    /// Makes the error of a failed call. A staging table that is not there was dropped by a later run.
    fn shut_out(&self, error: &tokio_postgres::Error) -> Error {
        let is_gone = error.as_db_error().is_some_and(|answer| {
            *answer.code() == tokio_postgres::error::SqlState::UNDEFINED_TABLE
                && answer.message().contains("_headwater_staged")
        });
        if is_gone { commit::another_run(self) } else { failure(&self.spec.address.server, error) }
    }

    /// Keeps rows that the server refused. One that is taken back was never there.
    fn refuse(&mut self, rows: &Batch, refused: Vec<(usize, String)>) -> Result<()> {
        for (row, message) in refused {
            if rows.diff(row) < 0 {
                continue;
            }
            let mut payload = Vec::new();
            crate::rows::json(&rows.rows.slice(row, 1), &mut payload)?;
            let payload = String::from_utf8_lossy(&payload).trim_end().to_owned();
            let seq = self.staged.seq.saturating_add(i64::try_from(row).unwrap_or(i64::MAX));
            self.reject(seq, message, payload);
        }
        Ok(())
    }

    fn reject(&mut self, seq: i64, message: String, payload: String) {
        let TaskContext { node, subtask, .. } = &self.context;
        self.rejected.push(DeadLetter {
            reason: Reason::Rejected,
            message,
            path: String::new(),
            source: format!("postgres table '{}'", self.spec.table),
            position: format!("{node}/{subtask}:{}.{}.{seq}", self.label, self.staged.part),
            payload,
        });
    }

    pub(super) fn take_rejected(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.rejected)
    }

    /// Stages the rest of the epoch and names it.
    pub(super) async fn prepare(&mut self) -> Result<Prepared> {
        let Some(run) = self.run.clone() else {
            self.upsert().await?;
            return Ok(Prepared::default());
        };
        let staging = format!("{}.{}", quoted(&self.target.schema), quoted(&run.staging));
        self.stage(&staging).await?;
        let part = Part {
            staging: run.staging,
            part: self.staged.part,
            pieces: self.staged.pieces,
            deletes: self.staged.deletes,
        };
        if self.target.needs_trial && self.staged.rows > 0 {
            self.try_out(&part, staging).await?;
        }
        let token =
            Token { subtask: i64::try_from(self.context.subtask).unwrap_or(i64::MAX), rows: self.staged.rows, part };
        self.staged = Staged { part: self.staged.part + 1, ..Staged::default() };
        let token = serde_json::to_value(token).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Prepared(token))
    }

    /// Merges the part and takes it back, to find the rows that would be refused, and takes those out of it.
    async fn try_out(&mut self, part: &Part, staging: String) -> Result<()> {
        let connection = self.connected().await?;
        let tried = self.try_out_on(&connection.client, part, staging).await;
        let removed = self.settle(connection, tried).await?;
        removed.into_iter().for_each(|(seq, message, payload)| self.reject(seq, message, payload));
        Ok(())
    }

    async fn try_out_on(&self, client: &Client, part: &Part, staging: String) -> Result<Vec<Removed>> {
        let failed = |error: tokio_postgres::Error| self.shut_out(&error);
        let merge = Merge { spec: &self.spec, target: &self.target, staging, part };
        client.batch_execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await.map_err(failed)?;
        if self.spec.replaces && commit::recorded(client, self).await?.1 == 0 {
            client.batch_execute(&format!("DELETE FROM {}", self.target.name)).await.map_err(failed)?;
        }
        let refused = commit::merge_what_fits(client, &merge, self.staged.seq).await.map_err(failed)?;
        client.batch_execute("ROLLBACK; BEGIN").await.map_err(failed)?;
        let removed = remove(client, &merge, refused).await.map_err(failed)?;
        client.batch_execute("COMMIT").await.map_err(failed)?;
        Ok(removed)
    }

    /// Merges what waits, visible at once.
    async fn upsert(&mut self) -> Result<()> {
        let Some(rows) = self.piece()? else { return Ok(()) };
        let (part, seq) = (self.staged.part, self.staged.seq);
        let mut encoded = stage::encode(&self.spec, &self.target, &rows, part, seq)?;
        let deletes = rows.diffs.is_some();
        let staging = format!("pg_temp.{PASSING}");
        let part = Part { staging: PASSING.to_owned(), part, pieces: 1, deletes };
        let connection = self.connected().await?;
        let client = &connection.client;
        let merge = Merge { spec: &self.spec, target: &self.target, staging: staging.clone(), part: &part };
        let end = seq.saturating_add(i64::try_from(rows.n_rows()).unwrap_or(i64::MAX));
        let merged = async {
            client.batch_execute("BEGIN").await?;
            let there = client.query_one("SELECT to_regclass($1::text) IS NULL", &[&staging]).await?;
            if there.try_get(0)? {
                let columns = run::staging_columns(&self.target);
                let drop = run::drop_undeclared(&staging, &self.target);
                let create = format!("CREATE TEMP TABLE {PASSING} {columns} ON COMMIT DELETE ROWS; {drop}");
                client.batch_execute(&create).await?;
            }
            client.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
            encoded.copy(client, &self.spec, &staging).await?;
            if self.clears {
                client.batch_execute(&format!("DELETE FROM {}", self.target.name)).await?;
            }
            let refused = commit::merge_what_fits(client, &merge, end).await?;
            let removed = remove(client, &merge, refused).await?;
            client.batch_execute("COMMIT").await?;
            Ok(removed)
        };
        let merged = merged.await.map_err(|error: tokio_postgres::Error| self.shut_out(&error));
        let removed = self.settle(connection, merged).await?;
        self.clears = false;
        self.refuse(&rows, std::mem::take(&mut encoded.refused))?;
        removed.into_iter().for_each(|(seq, message, payload)| self.reject(seq, message, payload));
        self.took(&rows);
        Ok(())
    }

    /// Makes an epoch visible, unless it is already.
    pub(super) async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        if self.run.is_none() {
            return Ok(());
        }
        let token: Token = serde_json::from_value(prepared.0.clone())
            .map_err(|error| Error::data(format!("a token of another sink than postgres: {error}")))?;
        if token.rows == 0 && !self.spec.replaces {
            return Ok(());
        }
        let connection = self.connected().await?;
        let done = Commit { store: self, token: &token, epoch }.run(&connection.client).await;
        let done = self.settle(connection, done).await?;
        if let (true, Some(run)) = (done.tidied, &mut self.run) {
            run.older.clear();
        }
        Ok(())
    }
}

/// Checks or makes the table and starts a run, in one transaction.
async fn begin(client: &Client, spec: &PostgresSpec, context: &TaskContext) -> Result<(Target, Option<Run>)> {
    let failed = |error| failure(&spec.address.server, &error);
    client.batch_execute("BEGIN").await.map_err(failed)?;
    run::lock(client, spec).await?;
    let target = schema::ensure(client, spec).await?;
    let run = if spec.upserts { None } else { Some(run::start(client, spec, &target, context).await?) };
    client.batch_execute("COMMIT").await.map_err(failed)?;
    Ok((target, run))
}

/// Takes an open transaction back, so that its locks are gone before anybody hears of the failure. Where the connection
/// is lost the server does it.
async fn take_back(connection: &Connection) {
    if let Err(error) = connection.client.batch_execute("ROLLBACK").await {
        tracing::debug!(%error, "the transaction ended with its connection");
    }
}

/// A row that was taken out of staging: its sequence number, why, and as JSON.
type Removed = (i64, String, String);

/// Takes refused rows out of staging and returns each with its message and as JSON.
async fn remove(
    client: &Client,
    merge: &Merge<'_>,
    refused: Vec<(i64, String)>,
) -> Result<Vec<Removed>, tokio_postgres::Error> {
    let mut removed = Vec::with_capacity(refused.len());
    for (seq, message) in refused {
        if let Some(row) = client.query_opt(&merge.removal(seq), &[]).await? {
            removed.push((seq, message, row.try_get(0)?));
        }
    }
    Ok(removed)
}
