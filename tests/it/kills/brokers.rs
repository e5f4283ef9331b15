//! Who feeds the pipeline: a thread that publishes rows all the time, into a broker that may be killed.

use super::pipeline::{last_line, line};
use crate::kafka::Broker;
use crate::nats::server::NatsServer;
use async_nats::jetstream::Context;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A broker with somebody who feeds it.
pub(super) trait Feed {
    fn name(&self) -> &'static str;

    /// The SQL of the table `rows`.
    fn source(&self) -> String;

    /// Begins to publish.
    fn begin(&mut self);

    /// Kills the broker and starts it again, unless it would forget everything; says whether it did.
    fn restart(&mut self) -> bool;

    /// Ends publishing with a row that closes all windows, and returns how many rows there are before it.
    fn end(&mut self) -> i64;
}

/// The columns of the table `rows`.
const COLUMNS: &str =
    "id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '100 milliseconds'";

/// Somebody who publishes.
struct Feeder {
    stop: Sender<()>,
    thread: JoinHandle<i64>,
}

impl Feeder {
    /// Publishes ten rows every twenty milliseconds; `publish` returns once the broker has them.
    fn start(mut publish: impl FnMut(&[String]) + Send + 'static) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut id = 0;
            while stopped.recv_timeout(Duration::from_millis(20)).is_err() {
                let lines: Vec<String> = (id..id + 10).map(line).collect();
                publish(&lines);
                id += 10;
            }
            publish(&[last_line()]);
            id
        });
        Self { stop, thread }
    }

    fn end(self) -> i64 {
        self.stop.send(()).expect("the feeder listens");
        self.thread.join().expect("the feeder ends")
    }
}

/// JetStream.
pub(super) struct Nats {
    server: NatsServer,
    feeder: Option<Feeder>,
}

impl Nats {
    pub(super) fn start() -> Self {
        Self { server: NatsServer::start(), feeder: None }
    }
}

impl Feed for Nats {
    fn name(&self) -> &'static str {
        "JetStream"
    }

    fn source(&self) -> String {
        let url = self.server.url();
        format!(
            "CREATE TABLE rows ({COLUMNS}) WITH (connector = 'nats', servers = '{url}', stream = 'rows', type = 'source');\n"
        )
    }

    fn begin(&mut self) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let context = runtime.block_on(self.server.stream("rows", &["rows"]));
        let mut n = 0_u64;
        let publish = move |lines: &[String]| {
            for line in lines {
                n += 1;
                runtime.block_on(until_stored(&context, n, line));
            }
        };
        self.feeder = Some(Feeder::start(publish));
    }

    fn restart(&mut self) -> bool {
        self.server.kill();
        self.server.start_again();
        true
    }

    fn end(&mut self) -> i64 {
        self.feeder.take().expect("it began").end()
    }
}

/// Kafka.
pub(super) struct Kafka {
    broker: Broker,
    feeder: Option<Feeder>,
}

impl Kafka {
    pub(super) fn start() -> Self {
        Self { broker: Broker::start(), feeder: None }
    }
}

impl Feed for Kafka {
    fn name(&self) -> &'static str {
        "Kafka"
    }

    fn source(&self) -> String {
        let servers = &self.broker.servers;
        format!(
            "CREATE TABLE rows ({COLUMNS}) WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = 'rows', \
             format = 'json', start = 'earliest', type = 'source');\n"
        )
    }

    fn begin(&mut self) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(self.broker.create("rows", 1));
        let producer: BaseProducer = self.broker.config().create().expect("a producer");
        let publish = move |lines: &[String]| {
            for line in lines {
                producer.send(BaseRecord::<(), str>::to("rows").payload(line)).expect("is taken");
            }
            producer.flush(Duration::from_secs(30)).expect("is stored");
        };
        self.feeder = Some(Feeder::start(publish));
    }

    /// The broker of the tests forgets everything when it ends, so it stays.
    fn restart(&mut self) -> bool {
        false
    }

    fn end(&mut self) -> i64 {
        self.feeder.take().expect("it began").end()
    }
}

/// Publishes a row until the stream has it: with an id, one that is sent again after a lost answer is stored once.
async fn until_stored(context: &Context, number: u64, line: &str) {
    loop {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", number.to_string().as_str());
        let sent = context.publish_with_headers("rows", headers, line.to_owned().into()).await;
        if let Ok(sent) = sent
            && sent.await.is_ok()
        {
            return;
        }
    }
}
