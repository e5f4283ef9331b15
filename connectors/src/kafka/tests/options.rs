//! What is refused before anybody connects, and that no secret is shown.

use super::super::client::{Client, Context, n_partitions};
use super::*;
use headwater_core::ErrorKind;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

fn refused(options: &str, key: &[usize]) -> String {
    let error = source(&table("nowhere:1", id_and_name(), key, options)).expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn bad_options_of_a_source_are_refused() {
    for (options, message) in [
        ("start = earliest", "the option 'format' is missing"),
        ("format = parquet", "a message cannot be in the format = 'parquet'"),
        ("format = json\nstart = tomorrow", "the option start = 'tomorrow' is not understood"),
        ("format = json\nstart = timestamp:noon", "the option start = 'timestamp:noon' is not understood"),
        ("format = json\nstart = committed", "the option 'group_id' is missing"),
        ("format = json\nsource.read_mode = read_uncommitted", "the option source.read_mode"),
        ("format = json\nbounded = maybe", "the option bounded = 'maybe' is not understood"),
        ("format = json\ntombstones = eat", "the option tombstones = 'eat' is not understood"),
        ("format = json\ntopic = a,b", "the option topic = 'a,b' is not understood"),
        ("format = json\ntopics = a", "there is no option 'topics'"),
        (
            "format = json\nbootstrap_servers = user:secret@host:9092",
            "the option 'bootstrap_servers' is no list of brokers",
        ),
        (
            "format = json\nlibrdkafka.nonsense = 1",
            "the option 'librdkafka.nonsense' cannot be used: No such configuration property",
        ),
        (
            "format = json\nlibrdkafka.fetch.wait.max.ms = soon",
            "the option 'librdkafka.fetch.wait.max.ms' cannot be used",
        ),
        (
            "format = json\nlibrdkafka.isolation.level = read_uncommitted",
            "the option 'librdkafka.isolation.level' cannot be set",
        ),
        (
            "format = json\nlibrdkafka.test.mock.num.brokers = 3",
            "there is no option 'librdkafka.test.mock.num.brokers'",
        ),
        ("format = json\nsecurity_protocol = telepathy", "the option 'security_protocol' cannot be used"),
        ("format = raw_string", "the format raw_string keeps a whole line"),
    ] {
        let error = refused(options, &[]);
        assert!(error.contains(message), "{options}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(refused("format = json\nkey_format = raw", &[0, 1]).contains("needs a key of one column"));
}

#[test]
fn bad_options_of_a_sink_are_refused() {
    for (options, key, message) in [
        ("format = upsert_json", vec![], "needs the key of 'orders'"),
        ("format = avrocado", vec![], "the option format = 'avrocado' is not understood"),
        ("format = raw_string", vec![], "holds one column of TEXT"),
        ("compression = zip", vec![], "the option compression = 'zip' is not understood"),
        ("delivery = never", vec![], "the option delivery = 'never' is not understood"),
        ("key_columns = nme", vec![], "names 'nme', which is no column"),
        ("key_columns = name", vec![0], "a column that is not in the PRIMARY KEY"),
        ("librdkafka.acks = 0", vec![], "the option 'librdkafka.acks' cannot be set"),
        ("librdkafka.message.max.bytes = lots", vec![], "is no number"),
    ] {
        let table = table("nowhere:1", id_and_name(), &key, options);
        let error = Kafka.sink(&table).and_then(|_| table.options.check_all_known()).expect_err("is refused");
        assert!(error.to_string().contains(message), "{options}: {error}");
    }
}

#[test]
fn no_secret_is_shown() {
    let options = "format = json\nsasl_mechanism = PLAIN\nsecurity_protocol = sasl_plaintext\nsasl_username = me\n\
        sasl_password = s3cret\nlibrdkafka.ssl.key.password = s3cret";
    let spec = source(&table("nowhere:1", id_and_name(), &[], options)).expect("is fine");
    assert_eq!(spec.describe(), "kafka topic 't' at nowhere:1 json [id, name]");
    assert!(!format!("{spec:?}").contains("s3cret"));
    let sink =
        Kafka.sink(&table("nowhere:1", id_and_name(), &[], &options.replace("format = json", ""))).expect("is fine");
    assert_eq!(sink.describe(), "kafka topic 't' at nowhere:1 json, exactly once");
    assert!(!format!("{sink:?}").contains("s3cret"));
    for wrong in
        ["ssl_key_pem = s3cret", "librdkafka.ssl.ca.pem = s3cret", "librdkafka.sasl.oauthbearer.method = s3cret"]
    {
        let error = source(&table("nowhere:1", id_and_name(), &[], &format!("format = json\n{wrong}")));
        assert!(!error.map(|_| String::new()).unwrap_or_else(|e| e.to_string()).contains("s3cret"), "{wrong}");
    }
}

#[test]
fn a_refused_login_is_not_taken_for_brokers_that_are_away() {
    let options = "format = json\nsecurity_protocol = ssl";
    let client = Client::parse(&table("nowhere:1", id_and_name(), &[], options)).expect("is fine");
    let in_time = || Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
    let context = Context::default();
    let error = n_partitions(&client, in_time(), &context).expect_err("nobody answers");
    assert_eq!((error.kind(), error.help()), (ErrorKind::Unavailable, None));
    context.note(Some(RDKafkaErrorCode::Authentication), "wrong password for me");
    context.note(Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
    let error = n_partitions(&client, in_time(), &context).expect_err("the login is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().ends_with("(wrong password for me)"), "{error}");
    assert_eq!(error.help(), Some("check the options security_protocol, sasl_… and ssl_…"));
}
