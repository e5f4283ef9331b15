//! One connection to the brokers, and one epoch in one transaction.
//!
//! The transaction records its epoch as the offset of a group that nobody reads with: either both the messages and the
//! record are there, or neither. A run has a number, which is half of the record, because a pipeline that begins anew
//! counts its epochs from 1 again. Starting a connection ends what an earlier process left open under the same
//! transactional id, so what is read of the record afterwards is final.

use super::encode::Messages;
use super::{Context, KafkaSinkSpec, drain, n_partitions};
use headwater_core::{Epoch, Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

/// How long one wait for deliveries is; it bounds the latency that waiting adds.
const STEP: Duration = Duration::from_millis(5);

/// Which epoch of which run was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// The number of the run, of 31 bits.
    pub(super) run: u32,
    /// The epoch, of 32 bits: at one a second, enough for a century.
    pub(super) epoch: u32,
}

impl Record {
    pub(super) fn new(run: u32, epoch: Epoch) -> Result<Self> {
        let epoch = u32::try_from(epoch.0).map_err(|_| Error::internal("an epoch of more than 32 bits"))?;
        Ok(Self { run: run & (u32::MAX >> 1), epoch })
    }

    fn offset(self) -> i64 {
        i64::from(self.run) << 32 | i64::from(self.epoch)
    }

    fn from_offset(offset: i64) -> Option<Self> {
        let run = u32::try_from(offset >> 32).ok()?;
        Some(Self { run, epoch: u32::try_from(offset & i64::from(u32::MAX)).ok()? })
    }
}

/// The clients of a sink.
pub(super) struct Connection {
    producer: BaseProducer<Context>,
    /// Reads the record; only with transactions.
    group: Option<BaseConsumer<Context>>,
    context: Context,
    n_tries: usize,
}

impl Connection {
    /// Connects, checks that the topic is there, and ends what an earlier process left open.
    pub(super) fn open(spec: &KafkaSinkSpec, transactional_id: Option<&str>) -> Result<Self> {
        let client = &spec.client;
        let context = Context::default();
        let failed = |what: &str, error: KafkaError| client.failure(what, error, Some(&context));
        let producer: BaseProducer<Context> = spec
            .config(transactional_id)
            .create_with_context(context.clone())
            .map_err(|error| failed("cannot be written", error))?;
        let asked = producer.client().fetch_metadata(Some(&client.topic), client.timeout);
        // The producer's own events are the only place where a refused login is told.
        producer.poll(Duration::ZERO);
        n_partitions(client, asked, &context)?;
        let group = match transactional_id {
            None => None,
            Some(id) => {
                let begun = producer.init_transactions(client.timeout);
                begun.map_err(|error| failed("a transactional producer cannot start", error))?;
                let fixed = [("group.id", id), ("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
                let consumer = client.config(&[], &fixed).create_with_context(context.clone());
                Some(consumer.map_err(|error| failed("cannot be written", error))?)
            }
        };
        let n_tries = usize::try_from(client.timeout.as_millis() / STEP.as_millis()).unwrap_or(usize::MAX).max(1);
        Ok(Self { producer, group, context, n_tries })
    }

    /// Returns which epoch was sent last.
    pub(super) fn record(&self, spec: &KafkaSinkSpec) -> Result<Option<Record>> {
        let Some(group) = &self.group else { return Ok(None) };
        let found = group.committed_offsets(list(spec, Offset::Invalid)?, spec.client.timeout);
        let failed = |error| spec.client.failure("the last transaction is not known", error, Some(&self.context));
        let found = found.map_err(failed)?;
        for element in found.elements() {
            element.error().map_err(failed)?;
            if let Offset::Offset(offset) = element.offset() {
                return Ok(Record::from_offset(offset));
            }
        }
        Ok(None)
    }

    /// Sends messages in one transaction that records its epoch. After an error the connection is of no use: nobody
    /// knows whether the transaction ended before it.
    pub(super) fn send_epoch(&self, spec: &KafkaSinkSpec, messages: &Messages, record: Record) -> Result<()> {
        let failed = |what: &str, error: KafkaError| spec.client.failure(what, error, Some(&self.context));
        self.producer.begin_transaction().map_err(|error| failed("a transaction cannot begin", error))?;
        self.send(spec, messages)?;
        let metadata = self.group.as_ref().and_then(Consumer::group_metadata);
        let metadata = metadata.ok_or_else(|| Error::internal("a transaction without a group for its record"))?;
        let offset = list(spec, Offset::Offset(record.offset()))?;
        let recorded = self.producer.send_offsets_to_transaction(&offset, &metadata, spec.client.timeout);
        recorded.map_err(|error| failed("the epoch cannot be recorded", error))?;
        let committed = self.producer.commit_transaction(spec.client.timeout);
        committed.map_err(|error| failed("the transaction is not committed", error))
    }

    /// Sends messages and waits until the brokers have all of them.
    pub(super) fn send(&self, spec: &KafkaSinkSpec, messages: &Messages) -> Result<()> {
        let failed = |what: &str, error: KafkaError| spec.client.failure(what, error, Some(&self.context));
        drop(self.context.take_undelivered());
        for message in messages.iter() {
            let (key, value) = message?;
            let mut tries = self.n_tries;
            loop {
                let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&spec.client.topic);
                record.key = key;
                record.payload = value;
                match self.producer.send(record) {
                    Ok(()) => break,
                    Err((error, _)) => {
                        let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                        if !is_full || tries == 0 {
                            return Err(failed("a message cannot be sent", error));
                        }
                        tries -= 1;
                        self.producer.poll(STEP);
                    }
                }
            }
        }
        let is_sent = drain(&self.producer, |step| self.producer.poll(step), STEP, self.n_tries);
        if let Some(error) = self.context.take_undelivered() {
            return Err(failed("a message was not delivered", error));
        }
        if !is_sent {
            let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
            return Err(failed("messages were not delivered in time", error));
        }
        Ok(())
    }
}

/// The record stands at the first partition of the topic that is written: one that is surely there.
fn list(spec: &KafkaSinkSpec, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    let added = list.add_partition_offset(&spec.client.topic, 0, offset);
    added.map_err(|error| Error::internal(format!("the record of an epoch: {error}")))?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_an_offset() {
        for (run, epoch) in [(0, 1), (1, 0), (u32::MAX >> 1, u32::MAX)] {
            let record = Record { run, epoch };
            assert!(record.offset() >= 0);
            assert_eq!(Record::from_offset(record.offset()), Some(record));
        }
        assert_eq!(Record::new(u32::MAX, Epoch(7)).expect("fits").run, u32::MAX >> 1);
    }
}
