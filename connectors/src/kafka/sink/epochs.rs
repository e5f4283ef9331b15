//! The sink of one subtask. It holds the rows of the running epoch, which bounds it by one epoch, and the epoch that is
//! prepared in its spool. What waits for a broker or a disk runs on a thread for such calls.

use super::encode::encode;
use super::spool::Spool;
use super::transaction::{Connection, Record};
use super::{KafkaSinkSpec, Shared, connect};
use async_trait::async_trait;
use headwater_core::{Batch, DeadLetter, Epoch, Error, Prepared, Result, Sink, TaskContext};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// What names a prepared epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    /// The run that prepared it.
    run: u32,
    messages: u64,
}

/// What the calls of one sink share.
struct Inner {
    spec: KafkaSinkSpec,
    transactional_id: Option<String>,
    /// `None` after a failure: the next call connects anew, which settles what became of an open transaction.
    connection: Option<Connection>,
    spool: Spool,
    /// The number of this run.
    run: u32,
    /// Whether an epoch of this run may have been sent without anybody hearing of it.
    is_uncertain: bool,
}

/// The sink.
pub(super) struct KafkaSink {
    spec: KafkaSinkSpec,
    inner: Shared<Inner>,
    running: Vec<Batch>,
    rejected: Vec<DeadLetter>,
}

impl KafkaSink {
    pub(super) async fn open(spec: KafkaSinkSpec, context: &TaskContext) -> Result<Self> {
        let id = format!("{}/{}/{}/{}", spec.transactional_id_prefix, context.pipeline, context.node, context.subtask);
        let transactional_id = spec.is_exactly_once.then_some(id);
        let (spool, restored) = (context.spool.clone().filter(|_| spec.is_exactly_once), context.restored);
        let opening = spec.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<Inner> {
            let connection = connect(&opening, transactional_id.as_deref())?;
            let spool = Spool::open(spool, restored)?;
            let run = (Uuid::new_v4().as_u128() & u128::from(u32::MAX >> 1)) as u32;
            Ok(Inner { spec: opening, transactional_id, connection: Some(connection), spool, run, is_uncertain: false })
        });
        let inner = opened.await.map_err(|error| Error::internal(format!("opening broke off: {error}")))??;
        Ok(Self { spec, inner: Arc::new(Mutex::new(inner)), running: Vec::new(), rejected: Vec::new() })
    }

    /// Runs a call that may wait.
    async fn call<T: Send + 'static>(&self, call: impl FnOnce(&mut Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = self.inner.clone();
        let called =
            tokio::task::spawn_blocking(move || call(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)));
        let called = called.await.map_err(|error| Error::internal(format!("a call to Kafka broke off: {error}")))?;
        called.map_err(|error| self.spec.at(error))
    }
}

impl Inner {
    /// Runs a call over the connection, and gives the connection up when it fails.
    fn with_connection<T>(&mut self, call: impl FnOnce(&Connection, &KafkaSinkSpec) -> Result<T>) -> Result<T> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.spec, self.transactional_id.as_deref())?,
        };
        let answer = call(&connection, &self.spec)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn commit(&mut self, epoch: Epoch, token: &Token) -> Result<()> {
        if self.spool.is_sent(epoch) {
            return Ok(());
        }
        let record = Record::new(token.run, epoch)?;
        // An epoch of this run that nothing went wrong with was never sent.
        if token.run != self.run || self.is_uncertain {
            let last = self.with_connection(|connection, spec| connection.record(spec))?;
            if last.is_some_and(|last| last.run == record.run && last.epoch >= record.epoch) {
                self.is_uncertain = false;
                return self.spool.done(epoch);
            }
        }
        let Some(messages) = self.spool.get(epoch)? else {
            let place = self.spool.place(epoch);
            let message = format!(
                "{} messages of epoch {} are gone: '{place}' is not there, and Kafka has no record that they were sent",
                token.messages, epoch.0
            );
            return Err(Error::data(message)
                .with_help("keep the folder of --state whole; start a new pipeline to go on without them"));
        };
        if messages.n_messages != token.messages {
            let message = format!(
                "epoch {} has {} messages in its spool, {} were prepared",
                epoch.0, messages.n_messages, token.messages
            );
            return Err(Error::data(message));
        }
        self.is_uncertain = true;
        self.with_connection(|connection, spec| connection.send_epoch(spec, &messages, record))?;
        self.is_uncertain = false;
        self.spool.done(epoch)
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.running.push(batch);
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        let (messages, rejected) = encode(&self.spec, &self.running, epoch).map_err(|error| self.spec.at(error))?;
        let mut prepared = Prepared::default();
        if messages.n_messages > 0 {
            let n_messages = messages.n_messages;
            let run = match self.spec.is_exactly_once {
                true => self.call(move |inner| inner.spool.put(epoch, messages).map(|()| Some(inner.run))).await?,
                false => {
                    let send = move |inner: &mut Inner| {
                        inner.with_connection(|connection, spec| connection.send(spec, &messages))
                    };
                    self.call(send).await?;
                    None
                }
            };
            if let Some(run) = run {
                let token = serde_json::to_value(Token { run, messages: n_messages });
                prepared = Prepared(token.map_err(|error| Error::internal(error.to_string()))?);
            }
        }
        self.running.clear();
        self.rejected.extend(rejected);
        Ok(prepared)
    }

    fn take_rejected(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.rejected)
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        // Nothing was written, or it was sent when it was prepared.
        if prepared.0.is_null() {
            return Ok(());
        }
        let token: Token = serde_json::from_value(prepared.0.clone()).map_err(|error| {
            self.spec.at(Error::data(format!("the token of epoch {} is damaged: {error}", epoch.0)))
        })?;
        self.call(move |inner| inner.commit(epoch, &token)).await
    }
}
