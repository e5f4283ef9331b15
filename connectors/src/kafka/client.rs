//! What every Kafka client of a table is made from: where the brokers are, how to log in, and what is passed through to
//! librdkafka. It never shows a value that may be a secret. No state; the context keeps the last failure that the
//! client reported, because calls that time out do not say why.

use headwater_core::{Error, Result, TableDefinition};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a broker may take to answer a question, unless `request_timeout` says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of ours that librdkafka has under the same name with dots.
const RENAMED: [&str; 15] = [
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "sasl_oauthbearer_config",
    "ssl_ca_location",
    "ssl_ca_pem",
    "ssl_certificate_location",
    "ssl_certificate_pem",
    "ssl_key_location",
    "ssl_key_pem",
    "ssl_key_password",
    "ssl_keystore_location",
    "ssl_keystore_password",
    "ssl_endpoint_identification_algorithm",
];

/// Properties on which correctness rests, and what to write instead.
const OWNED: [(&str, &str); 16] = [
    ("bootstrap.servers", "write bootstrap_servers"),
    ("metadata.broker.list", "write bootstrap_servers"),
    ("group.id", "write group_id"),
    ("isolation.level", "only committed transactions are read"),
    ("enable.auto.commit", "offsets are committed when a checkpoint holds them"),
    ("auto.commit.enable", "offsets are committed when a checkpoint holds them"),
    ("enable.auto.offset.store", "offsets are committed when a checkpoint holds them"),
    ("enable.partition.eof", "it is always on"),
    ("auto.offset.reset", "write start"),
    ("transactional.id", "write transactional_id_prefix"),
    ("enable.idempotence", "it is always on"),
    ("acks", "it is always 'all'"),
    ("request.required.acks", "it is always 'all'"),
    ("compression.type", "write compression"),
    ("compression.codec", "write compression"),
    ("plugin.library.paths", "plugins are not loaded"),
];

/// The clients of one table, as declared.
#[derive(Clone)]
pub(super) struct Client {
    /// The brokers, as they may be shown.
    pub(super) servers: String,
    /// The topic.
    pub(super) topic: String,
    /// How long a broker may take to answer.
    pub(super) timeout: Duration,
    properties: Vec<(String, String)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic '{}' at {}", self.topic, self.servers)
    }
}

impl Client {
    /// Reads the options that say where the topic is and how to get there.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let alias = "properties.bootstrap.servers";
        let name = if options.get(alias).is_some() { alias } else { "bootstrap_servers" };
        let servers = options.require(name)?;
        if servers.split(',').any(|server| server.trim().is_empty() || server.contains('@')) {
            let error = Error::invalid(format!("the option '{name}' is no list of brokers"));
            return Err(error.with_help("write host:port, host:port; names and passwords have options of their own"));
        }
        let topic = options.require("topic")?;
        if topic.is_empty() || topic.starts_with('^') || topic.contains([',', ' ', '/']) {
            let error = Error::invalid(format!("the option topic = '{topic}' is not understood"));
            return Err(error.with_help("use the name of one topic"));
        }
        let mut properties = vec![("bootstrap.servers".to_owned(), servers.to_owned())];
        for name in RENAMED {
            let Some(value) = options.get(name) else { continue };
            let value = match name.ends_with("_location") {
                true => table.base.join(value).to_string_lossy().into_owned(),
                false => value.to_owned(),
            };
            properties.push((name.replace('_', "."), value));
        }
        for (name, value) in options.with_prefix("librdkafka.") {
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == name) {
                let error = Error::invalid(format!("the option 'librdkafka.{name}' cannot be set"));
                return Err(error.with_help(*instead));
            }
            if name.starts_with("test.mock.") {
                return Err(Error::invalid(format!("there is no option 'librdkafka.{name}'")));
            }
            properties.push((name.to_owned(), value.to_owned()));
        }
        let timeout = options.duration("request_timeout")?.unwrap_or(REQUEST_TIMEOUT);
        let shown = options.shown(name).unwrap_or_default().to_owned();
        Ok(Self { servers: shown, topic: topic.to_owned(), timeout, properties })
    }

    /// Returns the properties of a client: `defaults` can be overridden by the user, `fixed` cannot.
    pub(super) fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("client.id", "headwater");
        config.extend(defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        config.extend(self.properties.iter().cloned());
        config.extend(fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        config
    }

    /// Returns a property that the user set.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Checks the names and values of all properties, without connecting.
    pub(super) fn check(&self, config: &ClientConfig) -> Result<()> {
        config.create_native_config().map(|_| ()).map_err(|error| self.failure("cannot be configured", error, None))
    }

    /// Makes an error of one of the client's, by what can be done about it.
    pub(super) fn failure(&self, what: &str, error: KafkaError, context: Option<&Context>) -> Error {
        let place = format!("Kafka topic '{}' at {}", self.topic, self.servers);
        if let KafkaError::ClientConfig(_, description, name, _) = &error {
            // The description may repeat the value.
            let is_secret = ["password", "secret", "pem", "token", "oauth", "sasl.username", "url"]
                .iter()
                .any(|part| name.contains(part));
            let why = if is_secret { "its value is not understood" } else { description };
            let own = name.replace('.', "_");
            let shown = if RENAMED.contains(&own.as_str()) { own } else { format!("librdkafka.{name}") };
            return Error::invalid(format!("the option '{shown}' cannot be used: {why}"));
        }
        if let KafkaError::ClientCreation(why) = &error {
            return Error::invalid(format!("{place}: {what}: {why}")).with_help("check the options librdkafka.…");
        }
        let reported = context.and_then(Context::last).map_or_else(String::new, |last| format!(" ({last})"));
        let message = format!("{place}: {what}: {error}{reported}");
        let Some(code) = error.rdkafka_error_code() else { return Error::unavailable(message) };
        use RDKafkaErrorCode as Code;
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                let error = Error::not_found(format!("{place}: there is no such topic"));
                error.with_help("create the topic, or correct the option topic")
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
                Error::invalid(message).with_help("check the options security_protocol, sasl_… and ssl_…")
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed => {
                Error::invalid(message).with_help("the user needs the right to do this on the cluster")
            }
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
                let help = "another pipeline writes with the same transactional id: stop it, or give one of them \
                            another transactional_id_prefix";
                Error::conflict(message).with_help(help)
            }
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
                let help = "raise max.message.bytes of the topic, or lower librdkafka.message.max.bytes, and such rows \
                            are dead letters";
                Error::invalid(message).with_help(help)
            }
            Code::InvalidTopic
            | Code::UnsupportedSASLMechanism
            | Code::InvalidArgument
            | Code::UnsupportedCompressionType
            | Code::InvalidTransactionTimeout
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature => Error::invalid(message),
            _ => Error::unavailable(message),
        }
    }
}

/// Hears what a client reports on its own.
#[derive(Clone, Default)]
pub(super) struct Context(Arc<Heard>);

#[derive(Default)]
struct Heard {
    last: Mutex<Option<(Option<RDKafkaErrorCode>, String)>>,
    undelivered: Mutex<Option<KafkaError>>,
}

impl Context {
    /// Returns the last failure that was reported.
    fn last(&self) -> Option<String> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, reason)| reason.clone())
    }

    /// Notes a failure that was reported. That all brokers are down is said after each refused login, and hides none.
    pub(super) fn note(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        if code == Some(RDKafkaErrorCode::AllBrokersDown) && self.login_failure().is_some() {
            return;
        }
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason.to_owned()));
    }

    /// Returns the last failure if it is one that waiting does not mend.
    fn login_failure(&self) -> Option<RDKafkaErrorCode> {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let code = last.as_ref().and_then(|(code, _)| *code)?;
        use RDKafkaErrorCode as Code;
        matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL).then_some(code)
    }

    /// Forgets failures: the brokers have answered since.
    fn forget(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Hands over the first failed delivery since the last call.
    pub(super) fn take_undelivered(&self) -> Option<KafkaError> {
        self.0.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, message, "librdkafka");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That there is nothing more just now is how a bounded source finds its end, and no trouble.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(%error, reason, "kafka client");
        self.note(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "group offsets are not committed; they are for monitoring only");
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.undelivered.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}

/// Returns the number of partitions of the topic.
pub(super) fn n_partitions(
    client: &Client,
    asked: KafkaResult<rdkafka::metadata::Metadata>,
    context: &Context,
) -> Result<i32> {
    let metadata = asked.map_err(|error| {
        // A client that cannot log in is only told that nobody answered in time.
        let error = context.login_failure().map_or(error, KafkaError::MetadataFetch);
        client.failure("the brokers do not answer", error, Some(context))
    })?;
    context.forget();
    let topic = metadata.topics().iter().find(|topic| topic.name() == client.topic);
    let code = topic.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
    if let Some(code) = code {
        return Err(client.failure("the topic cannot be used", KafkaError::MetadataFetch(code), Some(context)));
    }
    match topic.map_or(0, |topic| topic.partitions().len()) {
        0 => {
            let code = RDKafkaErrorCode::UnknownTopicOrPartition;
            Err(client.failure("the topic cannot be used", KafkaError::MetadataFetch(code), Some(context)))
        }
        n => i32::try_from(n).map_err(|_| Error::data("a topic of more than 2^31 partitions")),
    }
}

/// Serves delivery reports until nothing is on its way; returns whether that was so in time.
pub(super) fn drain<P: Producer<Context>>(producer: &P, poll: impl Fn(Duration), step: Duration, tries: usize) -> bool {
    for _ in 0..tries {
        if producer.in_flight_count() == 0 {
            return true;
        }
        poll(step);
    }
    producer.in_flight_count() == 0
}
