//! The source of one subtask: some partitions of a topic, each with the offset of its next message.
//!
//! A poll takes what the client has at hand, and returns rows of one partition. What it took of others waits, bounded
//! by rows and bytes. A poll decides nothing before its last step, so dropping it loses nothing. Partitions that appear
//! later are looked for beside the polls. A lost connection is the client's matter: it comes back by itself, and until
//! then the source is idle.

use super::log::Log;
use super::messages::{Decoder, Message};
use super::{KafkaSourceSpec, Start};
use crate::formats::LineFormat;
use async_trait::async_trait;
use headwater_core::{Batch, Clock, Error, EventTime, Polled, Position, Result, Source, SourceBatch, TaskContext};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How many bytes wait in partitions that it is not the turn of.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// What is known of a partition.
#[derive(Debug)]
struct Partition {
    /// The offset after the last message that was returned.
    next: i64,
    /// Where reading ends in bounded mode.
    end: Option<i64>,
    /// Messages that the client has delivered and nobody has asked for yet.
    waiting: VecDeque<Message>,
    /// Whether the client has reached the end of the partition.
    at_end: bool,
    /// Whether a message of it was returned, or it had none to return.
    is_heard: bool,
}

impl Partition {
    fn new(next: i64, end: Option<i64>) -> Self {
        Self { next, end, waiting: VecDeque::new(), at_end: false, is_heard: false }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.end.is_some_and(|end| self.next >= end || self.at_end)
    }
}

type Found = JoinHandle<Result<(i32, BTreeMap<i32, i64>)>>;

/// The source.
pub(super) struct KafkaSource {
    spec: KafkaSourceSpec,
    log: Log,
    decoder: Decoder,
    subtask: usize,
    parallelism: usize,
    clock: Arc<dyn Clock>,
    partitions: BTreeMap<i32, Partition>,
    /// How many partitions the topic had when it was last looked at.
    n_partitions: i32,
    is_assigned: bool,
    n_waiting: usize,
    waiting_bytes: usize,
    /// The partition that was served last.
    last: i32,
    searched_at: EventTime,
    search: Option<Found>,
}

impl KafkaSource {
    /// Finds out which partitions there are and where they begin.
    pub(super) async fn open(spec: KafkaSourceSpec, log: Log, context: &TaskContext) -> Result<Self> {
        let (subtask, parallelism) = (context.subtask, context.parallelism.max(1));
        let (start, is_bounded) = (spec.start, spec.is_bounded);
        let asked = log.ask(move |log| {
            let n_partitions = log.n_partitions_at_first()?;
            let bounds = log.bounds(&mine(0..n_partitions, subtask, parallelism))?;
            let starts = log.starts(start, &bounds)?;
            Ok((n_partitions, bounds, starts))
        });
        let (n_partitions, bounds, starts) = asked.await?;
        let partition = |(partition, next): (i32, i64)| {
            let end = bounds.get(&partition).map(|(_, high)| *high).filter(|_| is_bounded);
            (partition, Partition::new(next, end))
        };
        Ok(Self {
            decoder: Decoder::new(&spec)?,
            partitions: starts.into_iter().map(partition).collect(),
            spec,
            log,
            subtask,
            parallelism,
            clock: context.clock.clone(),
            n_partitions,
            is_assigned: false,
            n_waiting: 0,
            waiting_bytes: 0,
            last: -1,
            searched_at: context.clock.now(),
            search: None,
        })
    }

    /// Forgets that there are partitions from this one on.
    #[cfg(test)]
    pub(super) fn hide_from(&mut self, n_partitions: i32) {
        self.n_partitions = n_partitions;
        self.partitions.retain(|partition, _| *partition < n_partitions);
    }

    /// Tells the client what to fetch.
    fn assign(&mut self) -> Result<()> {
        let offsets = self.partitions.iter().map(|(partition, state)| (*partition, Offset::Offset(state.next)));
        let list = self.log.list(offsets)?;
        let assigned = if list.count() == 0 { self.log.consumer.unassign() } else { self.log.consumer.assign(&list) };
        assigned.map_err(|error| self.log.client.failure("cannot be read", error, Some(&self.log.context)))?;
        self.is_assigned = true;
        Ok(())
    }

    /// Takes what the client has at hand.
    fn take(&mut self, rows_max: usize) -> Result<()> {
        let consumer = self.log.consumer.clone();
        while self.n_waiting < rows_max && self.waiting_bytes < WAITING_BYTES_MAX {
            match consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let Some(partition) = self.partitions.get_mut(&message.partition()) else { continue };
                    partition.at_end = false;
                    if partition.end.is_some_and(|end| message.offset() >= end) {
                        partition.at_end = true;
                        continue;
                    }
                    // Before an assignment is replaced the client may have delivered more of the former.
                    let behind = partition.waiting.back().map_or(partition.next, |last| last.offset + 1);
                    if message.offset() < behind {
                        continue;
                    }
                    let message = Message::copy(&message, self.decoder.with_headers);
                    self.n_waiting += 1;
                    self.waiting_bytes += message.n_bytes();
                    partition.waiting.push_back(message);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(partition) = self.partitions.get_mut(&partition) {
                        partition.at_end = true;
                    }
                }
                Some(Err(error)) => self.on_error(error)?,
            }
        }
        for partition in self.partitions.values_mut() {
            partition.is_heard |= partition.waiting.is_empty() && (partition.at_end || partition.is_done());
        }
        Ok(())
    }

    /// Ends what waiting does not mend; anything else the client mends itself.
    fn on_error(&self, error: KafkaError) -> Result<()> {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            let failure = self.log.client.failure("the client has failed for good", error, Some(&self.log.context));
            return Err(Error::invalid(failure.message().to_owned()));
        }
        let code = error.rdkafka_error_code();
        match code {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => self.out_of_range(),
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) if self.spec.group.is_none() => Ok(()),
            _ => {
                let failure = self.log.client.failure("reading stopped", error, Some(&self.log.context));
                // A handshake that broke off is no refusal: the first one went well.
                let is_handshake = code == Some(RDKafkaErrorCode::SSL);
                if failure.kind() != headwater_core::ErrorKind::Unavailable && !is_handshake {
                    return Err(failure);
                }
                tracing::warn!(error = %failure, table = %self.spec.table, "waiting for the brokers");
                Ok(())
            }
        }
    }

    /// Says which partition cannot be read on, with the numbers of both sides.
    fn out_of_range(&self) -> Result<()> {
        crate::blocking::run(|| {
            let all: Vec<i32> = self.partitions.keys().copied().collect();
            for (partition, bounds) in self.log.bounds(&all)? {
                self.log.check(partition, self.partitions[&partition].next, bounds)?;
            }
            Ok(())
        })
    }

    /// Looks for new partitions from time to time, beside the polls.
    async fn discover(&mut self) -> Result<()> {
        if self.spec.is_bounded {
            return Ok(());
        }
        if let Some(search) = self.search.take_if(|search| search.is_finished()) {
            let found = search.await.map_err(|error| Error::internal(format!("a search broke off: {error}")))?;
            return match found {
                Ok((n_partitions, starts)) => self.add(n_partitions, starts),
                Err(error) if error.kind() == headwater_core::ErrorKind::Unavailable => {
                    tracing::warn!(%error, table = %self.spec.table, "new partitions are looked for later");
                    Ok(())
                }
                Err(error) => Err(error),
            };
        }
        let interval = i64::try_from(self.spec.discovery_interval.as_nanos()).unwrap_or(i64::MAX);
        let now = self.clock.now();
        if self.search.is_none() && now >= self.searched_at.saturating_add(interval) {
            self.searched_at = now;
            let (log, known, subtask, parallelism) =
                (self.log.clone(), self.n_partitions, self.subtask, self.parallelism);
            self.search = Some(tokio::task::spawn_blocking(move || {
                let n_partitions = log.n_partitions()?;
                let bounds = log.bounds(&mine(known..n_partitions, subtask, parallelism))?;
                Ok((n_partitions, log.starts(Start::Earliest, &bounds)?))
            }));
        }
        Ok(())
    }

    fn add(&mut self, n_partitions: i32, starts: BTreeMap<i32, i64>) -> Result<()> {
        self.n_partitions = self.n_partitions.max(n_partitions);
        let new: Vec<(i32, i64)> = starts.into_iter().filter(|(n, _)| !self.partitions.contains_key(n)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (table, topic) = (self.spec.table.as_str(), self.log.client.topic.as_str());
        tracing::info!(table, topic, partitions = ?new, "found new partitions");
        let list = self.log.list(new.iter().map(|(partition, next)| (*partition, Offset::Offset(*next))))?;
        let assigned = match self.is_assigned {
            true => self.log.consumer.incremental_assign(&list),
            false => Ok(()),
        };
        assigned.map_err(|error| self.log.client.failure("cannot be read", error, Some(&self.log.context)))?;
        self.partitions.extend(new.into_iter().map(|(partition, next)| (partition, Partition::new(next, None))));
        Ok(())
    }

    /// Returns rows of the partition whose turn it is.
    async fn serve(&mut self, rows_max: usize) -> Result<Polled> {
        let after = self.partitions.range(self.last.saturating_add(1)..).chain(self.partitions.range(..=self.last));
        let Some(number) = after.into_iter().find(|(_, p)| !p.waiting.is_empty()).map(|(number, _)| *number) else {
            let is_over = self.spec.is_bounded && self.partitions.values().all(Partition::is_done);
            return Ok(if is_over { Polled::End } else { Polled::Idle });
        };
        let Some(partition) = self.partitions.get_mut(&number) else { return Ok(Polled::Idle) };
        let n_messages = rows_max.min(partition.waiting.len());
        let messages = &partition.waiting.make_contiguous()[..n_messages];
        if let LineFormat::Avro(schemas) = &self.spec.format {
            schemas.fetch(messages.iter().filter_map(|message| message.value.as_deref())).await?;
        }
        let (rows, letters) = self.decoder.decode(number, messages)?;
        let dead_letters = self.spec.bad_data.apply(letters)?;
        self.waiting_bytes -= messages.iter().map(Message::n_bytes).sum::<usize>();
        self.n_waiting -= n_messages;
        partition.next = messages.last().map_or(partition.next, |last| last.offset + 1);
        partition.waiting.drain(..n_messages);
        partition.is_heard = true;
        self.last = number;
        let partition = u32::try_from(number).map_err(|_| Error::data("a partition below zero"))?;
        Ok(Polled::Batch(SourceBatch { partition, batch: Batch::append_only(rows), dead_letters }))
    }

    fn key(&self, partition: i32) -> String {
        format!("{}/{partition}", self.log.client.topic)
    }

    /// Reads a position: offsets by partition.
    fn offsets(&self, position: &Position) -> Result<BTreeMap<i32, i64>> {
        let offset = |(key, offset): (&String, &String)| {
            let partition =
                key.strip_prefix(&self.log.client.topic).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
            let wrong = || {
                Error::data(format!("'{key}' at '{offset}' is no position in Kafka topic '{}'", self.log.client.topic))
            };
            Ok((partition.ok_or_else(wrong)?, offset.parse().map_err(|_| wrong())?))
        };
        position.0.iter().map(offset).collect()
    }
}

/// Returns the partitions that belong to a subtask.
fn mine(all: std::ops::Range<i32>, subtask: usize, parallelism: usize) -> Vec<i32> {
    all.filter(|partition| usize::try_from(*partition).is_ok_and(|n| n % parallelism == subtask)).collect()
}

#[async_trait]
impl Source for KafkaSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let polled = async {
            if !self.is_assigned {
                self.assign()?;
            }
            self.discover().await?;
            self.take(rows_max)?;
            self.serve(rows_max).await
        };
        let polled = polled.await;
        polled.map_err(|error| self.spec.at(error))
    }

    fn holds_watermark(&self) -> bool {
        self.partitions.values().any(|partition| !partition.is_heard)
    }

    fn position(&self) -> Position {
        let place = |(partition, state): (&i32, &Partition)| (self.key(*partition), state.next.to_string());
        Position(self.partitions.iter().map(place).collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let offsets = self.offsets(position).map_err(|error| self.spec.at(error))?;
        let (subtask, parallelism) = (self.subtask, self.parallelism);
        let asked = self.log.ask(move |log| {
            let n_partitions = log.n_partitions()?;
            if let Some((last, next)) = offsets.last_key_value().filter(|(last, _)| **last >= n_partitions) {
                let topic = &log.client.topic;
                let message = format!(
                    "Kafka topic '{topic}': partition {last} was read up to {next}, the topic has {n_partitions} now"
                );
                return Err(Error::data(message).with_help("the topic was made anew; start a new pipeline to read it"));
            }
            let bounds = log.bounds(&mine(0..n_partitions, subtask, parallelism))?;
            let mut nexts = BTreeMap::new();
            for (partition, bounds) in &bounds {
                // A partition that is not in the position has appeared since.
                let next = offsets.get(partition).copied().unwrap_or(bounds.0);
                log.check(*partition, next, *bounds)?;
                nexts.insert(*partition, next);
            }
            Ok((n_partitions, nexts))
        });
        let (n_partitions, nexts) = asked.await.map_err(|error| self.spec.at(error))?;
        let ends: BTreeMap<i32, Option<i64>> = self.partitions.iter().map(|(n, p)| (*n, p.end)).collect();
        let end = |partition: &i32| ends.get(partition).copied().flatten();
        self.partitions = nexts.into_iter().map(|(n, next)| (n, Partition::new(next, end(&n)))).collect();
        self.n_partitions = n_partitions;
        (self.n_waiting, self.waiting_bytes, self.is_assigned, self.search) = (0, 0, false, None);
        Ok(())
    }

    async fn ack(&mut self, position: &Position) -> Result<()> {
        if self.spec.group.is_none() {
            return Ok(());
        }
        let offsets =
            self.offsets(position)?.into_iter().filter(|(partition, _)| self.partitions.contains_key(partition));
        let list = self.log.list(offsets.map(|(partition, next)| (partition, Offset::Offset(next))))?;
        if list.count() > 0
            && let Err(error) = self.log.consumer.commit(&list, CommitMode::Async)
        {
            let table = self.spec.table.as_str();
            tracing::warn!(%error, table, "group offsets are not committed; they are for monitoring only");
        }
        Ok(())
    }
}
