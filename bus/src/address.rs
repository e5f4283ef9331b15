//! The address of a bus. Pure; a secret in it is in no message.

use headwater_core::{Error, Result};
use percent_encoding::percent_decode_str;
use url::Url;

/// How an address is written.
pub const ADDRESS_HELP: &str = "write nats://host:4222, nats://user:password@host:4222/STREAM, or kafka://host:9092";
/// The stream of NATS, unless the address says another.
const STREAM: &str = "HEADWATER";

/// A broker and where it is.
pub(crate) enum Address {
    Nats(NatsAddress),
    /// Hosts and ports, with commas between them.
    Kafka(String),
}

/// Where NATS is.
pub(crate) struct NatsAddress {
    pub(crate) server: String,
    pub(crate) user: Option<(String, Option<String>)>,
    pub(crate) stream: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("this is no address of an event bus").with_help(ADDRESS_HELP);
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        // Several brokers are no URL.
        let (who, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let is_host = |host: &str| Url::parse(&format!("nats://{host}")).is_ok_and(|url| url.has_host());
        if hosts.is_empty() || !hosts.split(',').all(is_host) {
            return Err(wrong());
        }
        let user = who.map(|who| match who.split_once(':') {
            Some((user, password)) => (decoded(user), Some(decoded(password))),
            None => (decoded(who), None),
        });
        match scheme {
            "nats" | "tls" => {
                let stream = if path.is_empty() { STREAM } else { path };
                if !stream.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
                    return Err(wrong());
                }
                let server = hosts.split(',').map(|host| format!("{scheme}://{host}")).collect::<Vec<_>>().join(",");
                Ok(Self::Nats(NatsAddress { server, user, stream: stream.to_owned() }))
            }
            "kafka" if path.is_empty() && user.is_none() => {
                let brokers = hosts.split(',').map(|host| {
                    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                    if has_port { host.to_owned() } else { format!("{host}:9092") }
                });
                Ok(Self::Kafka(brokers.collect::<Vec<_>>().join(",")))
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_broker_and_hide_who_enters() {
        let Ok(Address::Nats(nats)) = Address::parse("nats://u:p%40ss@h:1,i/S") else { panic!("an address") };
        assert_eq!((nats.server.as_str(), nats.stream.as_str()), ("nats://h:1,nats://i", "S"));
        assert_eq!(nats.user, Some(("u".to_owned(), Some("p@ss".to_owned()))));
        let Ok(Address::Kafka(kafka)) = Address::parse("kafka://a:1,b") else { panic!("an address") };
        assert_eq!(kafka, "a:1,b:9092");
        for text in
            ["h:1", "redis://h", "nats://", "kafka://u@h", "kafka://h/x", "nats://s3cret@h/a b", "nats://s3cret:x@"]
        {
            let error = Address::parse(text).map(|_| ()).expect_err("no address");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
