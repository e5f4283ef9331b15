//! What the brokers know of a topic: its partitions, and from where to where each can be read. Every question blocks,
//! so each is asked on a thread for such calls. No state but the client.

use super::{Client, Context, Start, n_partitions};
use headwater_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The offsets of a partition that can be read: from the first, and up to but without the second.
pub(super) type Bounds = (i64, i64);

/// How many reports of the client are listened to: more than it makes within one question.
const REPORTS_MAX: usize = 100;

/// How long the next report is waited for; the client has made them already.
const REPORT_WAIT: Duration = Duration::from_millis(10);

/// A topic.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) client: Client,
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    pub(super) context: Context,
}

impl Log {
    pub(super) fn new(client: Client, consumer: Arc<BaseConsumer<Context>>, context: Context) -> Self {
        Self { client, consumer, context }
    }

    /// Asks a question where it may wait for the answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let log = self.clone();
        let answered = tokio::task::spawn_blocking(move || question(&log)).await;
        answered.map_err(|error| Error::internal(format!("a question to Kafka broke off: {error}")))?
    }

    /// Returns the number of partitions.
    pub(super) fn n_partitions(&self) -> Result<i32> {
        let asked = self.consumer.fetch_metadata(Some(&self.client.topic), self.client.timeout);
        n_partitions(&self.client, asked, &self.context)
    }

    /// Returns the number of partitions, and listens to what the client reports where it does not get an answer. Only
    /// before anything is read: it would be lost here.
    pub(super) fn n_partitions_at_first(&self) -> Result<i32> {
        let asked = self.consumer.fetch_metadata(Some(&self.client.topic), self.client.timeout);
        for _ in 0..if asked.is_err() { REPORTS_MAX } else { 0 } {
            match self.consumer.poll(REPORT_WAIT) {
                Some(Err(reported)) => self.context.note(reported.rdkafka_error_code(), &reported.to_string()),
                Some(Ok(_)) => {}
                None => break,
            }
        }
        n_partitions(&self.client, asked, &self.context)
    }

    /// Returns the bounds of each of these partitions; the end is that of committed transactions.
    pub(super) fn bounds(&self, partitions: &[i32]) -> Result<BTreeMap<i32, Bounds>> {
        let ask = |partition: &i32| {
            let asked = self.consumer.fetch_watermarks(&self.client.topic, *partition, self.client.timeout);
            let what = format!("the bounds of partition {partition} are not known");
            Ok((*partition, asked.map_err(|error| self.client.failure(&what, error, Some(&self.context)))?))
        };
        partitions.iter().map(ask).collect()
    }

    /// Returns where a new pipeline begins in each of these partitions.
    pub(super) fn starts(&self, start: Start, bounds: &BTreeMap<i32, Bounds>) -> Result<BTreeMap<i32, i64>> {
        let asked = match start {
            Start::Earliest => return Ok(bounds.iter().map(|(partition, (low, _))| (*partition, *low)).collect()),
            Start::Latest => return Ok(bounds.iter().map(|(partition, (_, high))| (*partition, *high)).collect()),
            Start::Timestamp(millis) => {
                let times = self.list(bounds.keys().map(|partition| (*partition, Offset::Offset(millis))))?;
                self.consumer.offsets_for_times(times, self.client.timeout)
            }
            Start::Committed => {
                let all = self.list(bounds.keys().map(|partition| (*partition, Offset::Invalid)))?;
                self.consumer.committed_offsets(all, self.client.timeout)
            }
        };
        let what = "the offsets to start from are not known";
        let found = asked.map_err(|error| self.client.failure(what, error, Some(&self.context)))?;
        let mut starts = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(|error| self.client.failure(what, error, Some(&self.context)))?;
            let (low, high) = bounds.get(&element.partition()).copied().unwrap_or_default();
            let offset = match (element.offset(), start) {
                // What the group committed may have been deleted since; a new pipeline takes what is there.
                (Offset::Offset(offset), _) => offset.clamp(low, high),
                (_, Start::Committed) => low,
                _ => high,
            };
            starts.insert(element.partition(), offset);
        }
        Ok(starts)
    }

    /// Makes a list of partitions with an offset each.
    pub(super) fn list(&self, offsets: impl IntoIterator<Item = (i32, Offset)>) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let added = list.add_partition_offset(&self.client.topic, partition, offset);
            added.map_err(|error| Error::internal(format!("partition {partition}: {error}")))?;
        }
        Ok(list)
    }

    /// Checks that a partition can be read on from an offset that was reached earlier.
    pub(super) fn check(&self, partition: i32, next: i64, (low, high): Bounds) -> Result<()> {
        let place = format!("Kafka topic '{}', partition {partition}", self.client.topic);
        if next < low {
            let message = format!(
                "{place}: the next message was to be {next}, the first that is still there is {low}: {} are gone",
                low - next
            );
            let help =
                "the topic keeps messages for too short a time (retention); start a new pipeline to go on without them";
            return Err(Error::data(message).with_help(help));
        }
        if next > high {
            let message = format!("{place}: the next message was to be {next}, but the log ends at {high}");
            return Err(
                Error::data(message).with_help("the topic was made anew or cut; start a new pipeline to read it")
            );
        }
        Ok(())
    }
}
