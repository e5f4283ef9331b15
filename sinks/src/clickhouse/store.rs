//! One writing end of a table.
//!
//! State: the rows that are in no block yet, the blocks of the running epoch by name, the last version, the last epoch
//! that is committed, and the rows that were refused.

use super::columns::{literal, quoted};
use super::schema::{self, Target, VERSION};
use super::spool::Spool;
use super::{ClickHouseSpec, blocks};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use headwater_core::{Batch, DeadLetter, Epoch, Error, Prepared, Reason, Result, TaskContext, consolidate};
use std::ops::Range;

/// The changes of a table with a key are made net when so many more rows wait than there were after the last time.
const GROWTH_ROWS: usize = 1 << 16;

pub(super) struct Store {
    spec: ClickHouseSpec,
    context: TaskContext,
    target: Target,
    spool: Spool,
    /// A name that no other run has.
    run: String,
    /// The table that blocks are tried on; it keeps nothing.
    trial: Option<String>,
    waiting: Vec<Batch>,
    n_waiting: usize,
    n_bytes: usize,
    /// How many rows waited when they were made net last.
    n_net: usize,
    n_blocks: u64,
    named: Vec<String>,
    version: u64,
    committed: u64,
    rejected: Vec<DeadLetter>,
}

/// What names a prepared epoch.
#[derive(serde::Serialize, serde::Deserialize)]
struct Token {
    blocks: Vec<String>,
}

impl Store {
    /// Checks or makes the table and opens the spool.
    pub(super) async fn open(spec: ClickHouseSpec, context: &TaskContext) -> Result<Self> {
        let target = schema::ensure(&spec).await?;
        let mut spool = Spool::open(context.spool.clone(), context.restored.is_none()).await?;
        let mut committed = spool.committed().await?;
        if let Some(restored) = context.restored {
            if committed > restored.0 {
                step_back(&spec, context, committed)?;
                committed = restored.0;
                spool.note(committed).await?;
            }
            if committed == restored.0 {
                spool.keep(|_| false).await?;
            }
        }
        let version = match spec.key.is_empty() {
            true => 0,
            false => {
                let query = format!("SELECT max({VERSION}) FROM {}", target.name);
                let rows = spec.server.rows(&query).await?;
                rows.into_iter().flatten().next().and_then(|text| text.parse().ok()).unwrap_or(0)
            }
        };
        let trial = if target.needs_trial { Some(trial(&spec, context, &target).await?) } else { None };
        Ok(Self {
            spec,
            context: context.clone(),
            target,
            spool,
            run: uuid::Uuid::new_v4().simple().to_string(),
            trial,
            waiting: Vec::new(),
            n_waiting: 0,
            n_bytes: 0,
            n_net: 0,
            n_blocks: 0,
            named: Vec::new(),
            version,
            committed,
            rejected: Vec::new(),
        })
    }

    /// Takes rows. Insertions go into blocks when they fill one; where that fails the batch is not taken.
    pub(super) async fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if !self.spec.key.is_empty() {
            if self.n_waiting > 2 * self.n_net + GROWTH_ROWS {
                self.make_net()?;
            }
        } else if self.n_waiting >= self.spec.block_rows || self.n_bytes >= self.spec.block_bytes {
            self.spool_waiting().await?;
        }
        self.n_waiting += batch.n_rows();
        self.n_bytes += batch.rows.get_array_memory_size();
        self.waiting.push(batch);
        Ok(())
    }

    fn make_net(&mut self) -> Result<()> {
        let Some(first) = self.waiting.first() else { return Ok(()) };
        let all = Batch::concat(&first.schema(), &self.waiting)?;
        let net = if all.diffs.is_some() { consolidate(&all)? } else { all };
        self.n_waiting = net.n_rows();
        self.n_net = self.n_waiting;
        self.waiting = vec![net];
        Ok(())
    }

    /// Makes blocks of what waits. It can be repeated: what is in no token is nowhere.
    async fn spool_waiting(&mut self) -> Result<()> {
        let Some(first) = self.waiting.first() else { return Ok(()) };
        let rows = if self.spec.key.is_empty() {
            crate::rows::insertions(Batch::concat(&first.schema(), &self.waiting)?, &self.spec.table)?
        } else {
            self.make_net()?;
            let now = u64::try_from(self.context.clock.now().0).unwrap_or(0);
            // Later than every version that is there, whatever the clock says.
            let version = now.max(self.version.saturating_add(1));
            let rows = match self.waiting.first() {
                Some(net) => blocks::by_key(net, &self.spec.key, version)?,
                None => return Ok(()),
            };
            self.version = version;
            rows
        };
        let (mut named, mut rejected, mut n_blocks) = (Vec::new(), Vec::new(), self.n_blocks);
        for block in blocks::cut(&rows, self.spec.block_rows, self.spec.block_bytes) {
            let name = format!("{}-{n_blocks}", self.run);
            n_blocks += 1;
            let block = self.tried(block, &name, &mut rejected).await?;
            if block.num_rows() > 0 {
                self.spool.put(&name, blocks::bytes(&block)?).await?;
                named.push(name);
            }
        }
        self.named.append(&mut named);
        self.rejected.append(&mut rejected);
        self.n_blocks = n_blocks;
        self.waiting.clear();
        (self.n_waiting, self.n_bytes, self.n_net) = (0, 0, 0);
        Ok(())
    }

    /// Returns the rows of a block that the server takes. Those that it refuses are found by halving, and one that is
    /// taken back was never there.
    async fn tried(&self, block: RecordBatch, name: &str, rejected: &mut Vec<DeadLetter>) -> Result<RecordBatch> {
        let Some(trial) = &self.trial else { return Ok(block) };
        let statement = format!("INSERT INTO {trial} ({}) FORMAT ArrowStream", schema::inserted(&self.spec));
        let mut good = vec![true; block.num_rows()];
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..block.num_rows()).collect();
        while let Some(range) = ranges.pop() {
            let rows = block.slice(range.start, range.len());
            let inserted = self.spec.server.insert(&statement, &[], blocks::bytes(&rows)?).await?;
            let Err(message) = inserted else { continue };
            if range.len() > 1 {
                let middle = range.start + range.len() / 2;
                ranges.extend([middle..range.end, range.start..middle]);
                continue;
            }
            good[range.start] = false;
            let n_declared = self.spec.schema.fields().len();
            let declared: Vec<usize> = (0..n_declared).collect();
            let deleted = rows.columns().get(n_declared + 1).is_some_and(|column| {
                arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt8Type>(column).value(0) == 1
            });
            if !deleted {
                let mut payload = Vec::new();
                crate::rows::json(&rows.project(&declared)?, &mut payload)?;
                rejected.push(DeadLetter {
                    reason: Reason::Rejected,
                    // The user knows the table, not its double.
                    message: message.replace(&trial.replace('`', ""), &self.target.name.replace('`', "")),
                    path: String::new(),
                    source: format!("clickhouse table '{}'", self.spec.table),
                    position: format!("{}:{name}:{}", self.context.node, range.start),
                    payload: String::from_utf8_lossy(&payload).trim_end().to_owned(),
                });
            }
        }
        if good.iter().all(|good| *good) {
            return Ok(block);
        }
        Ok(filter_record_batch(&block, &BooleanArray::from(good))?)
    }

    pub(super) async fn prepare(&mut self, _: Epoch) -> Result<Prepared> {
        self.spool_waiting().await?;
        let token = Token { blocks: std::mem::take(&mut self.named) };
        Ok(Prepared(serde_json::to_value(token).map_err(|error| Error::internal(error.to_string()))?))
    }

    pub(super) fn take_rejected(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.rejected)
    }

    /// Inserts the blocks of an epoch, unless that was done already.
    pub(super) async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        if epoch.0 <= self.committed {
            return Ok(());
        }
        let token: Token = serde_json::from_value(prepared.0.clone())
            .map_err(|error| Error::data(format!("a token of another sink than clickhouse: {error}")))?;
        if token.blocks.is_empty() {
            return Ok(());
        }
        let columns = schema::inserted(&self.spec);
        let statement = format!("INSERT INTO {} ({columns}) FORMAT ArrowStream", self.target.name);
        for name in &token.blocks {
            let Some(block) = self.spool.get(name).await? else {
                let message =
                    format!("block '{name}' of epoch {epoch} for the table '{}' is not there", self.spec.table);
                return Err(
                    Error::data(message).with_help("bring back the spool folder that belongs to the checkpoint")
                );
            };
            let TaskContext { pipeline, node, subtask, .. } = &self.context;
            let key = format!("{pipeline}/{node}/{epoch}/{subtask}/{name}");
            let settings = [("insert_deduplication_token", key.as_str())];
            if let Err(message) = self.spec.server.insert(&statement, &settings, block).await? {
                let message = format!("ClickHouse at {} refuses epoch {epoch}: {message}", self.spec.server.shown);
                return Err(Error::data(message).with_help(
                    "the table changed after the rows were checked; mend it and start again: the epoch waits in the spool",
                ));
            }
        }
        self.spool.note(epoch.0).await?;
        self.committed = epoch.0;
        let run = format!("{}-", self.run);
        let named = &self.named;
        // Blocks of the next epoch may wait already; whatever else is there nobody will ask for.
        self.spool.keep(|name| name.starts_with(&run) && named.iter().any(|other| other == name)).await
    }
}

/// The checkpoint is older than what the table has. With a key the same rows come again and land on their keys.
fn step_back(spec: &ClickHouseSpec, context: &TaskContext, committed: u64) -> Result<()> {
    let epoch = context.restored.map_or(0, |epoch| epoch.0);
    let message = format!(
        "the table '{}' in {} has epoch {committed} of pipeline '{}' already, the checkpoint is of epoch {epoch}",
        spec.table, spec.server.shown, context.pipeline
    );
    if spec.key.is_empty() {
        let folder = context.spool.as_ref().map_or_else(String::new, |folder| folder.display().to_string());
        return Err(Error::conflict(message).with_help(format!(
            "go on from the newest checkpoint; or take back the rows of the later epochs and remove '{folder}/committed'"
        )));
    }
    tracing::warn!(message, "rows of later epochs are written again, by key");
    Ok(())
}

/// Makes the table that blocks are tried on: the same columns and constraints, and nothing is kept.
async fn trial(spec: &ClickHouseSpec, context: &TaskContext, target: &Target) -> Result<String> {
    let hash = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        format!("{}\0{}\0{}", context.pipeline, context.node, context.subtask).as_bytes(),
    );
    let name = format!("_headwater_trial_{}", hash.simple());
    let quoted = format!("{}.{}", quoted(&spec.server.database), quoted(&name));
    spec.server.run(&format!("DROP TABLE IF EXISTS {quoted}")).await?;
    let comment = format!("tries rows of pipeline {:?}, node {:?}; keeps none", context.pipeline, context.node);
    let create = format!("CREATE TABLE {quoted} AS {} ENGINE = Null COMMENT {}", target.name, literal(&comment));
    spec.server.run(&create).await?;
    Ok(quoted)
}
