//! Connections to NATS servers: the options, and requests that end when the connection does.
//!
//! The client connects anew by itself. What was on its way is lost then, and nobody tells who waits for it: so each
//! request here ends with `Unavailable` as soon as the connection is lost, or when no answer comes. Its state is the
//! number of losses. A secret is in no message and no description.

use super::secrets::{Auth, Tls};
use async_nats::connection::State;
use async_nats::jetstream::stream::{Info, Stream};
use async_nats::jetstream::{self, context::GetStreamErrorKind};
use async_nats::{Client, ConnectErrorKind, Event, ServerAddr};
use headwater_core::{Error, Result, TableDefinition};
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;

/// How long an answer may take: far longer than a healthy server needs, short enough to notice one that is not.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest pause of the client between two tries to connect anew.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where the servers are and how they are entered.
#[derive(Clone)]
pub(super) struct Servers {
    addresses: Vec<ServerAddr>,
    shown: String,
    auth: Auth,
    tls: Tls,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Servers {
    /// Reads the options `servers`, those of who enters, and those of TLS.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let text = table.options.require("servers")?;
        let mut addresses = Vec::new();
        for address in text.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            // The value may hold a password, so no message shows it.
            let wrong = || {
                Error::invalid("the option 'servers' names no NATS server")
                    .with_help("write nats://host:port, several with commas between them; tls://host:port encrypts")
            };
            addresses.push(address.parse::<ServerAddr>().map_err(|_| wrong())?);
            if addresses.last().is_none_or(|address| address.host().is_empty()) {
                return Err(wrong());
            }
        }
        if addresses.is_empty() {
            return Err(Error::invalid("the option 'servers' is empty").with_help("write nats://host:port"));
        }
        let shown: Vec<String> = addresses.iter().map(|at| format!("{}:{}", at.host(), at.port())).collect();
        let auth = Auth::parse(table)?.or_of(&addresses)?;
        Ok(Self { addresses, shown: shown.join(","), auth, tls: Tls::parse(table)? })
    }

    /// Returns hosts and ports, and nothing else.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection> {
        let (loss, lost) = watch::channel(0_u64);
        let options = self.tls.apply(self.auth.apply(async_nats::ConnectOptions::new()).await?);
        let options = options.name(name).connection_timeout(ANSWER_TIME_MAX);
        let options = options
            .request_timeout(Some(ANSWER_TIME_MAX))
            .reconnect_delay_callback(|tries| Duration::from_millis(25 << tries.min(10)).min(RECONNECT_PAUSE_MAX));
        let server = self.shown.clone();
        let options = options.event_callback(move |event| {
            match &event {
                Event::Disconnected | Event::Closed => loss.send_modify(|n| *n += 1),
                Event::SlowConsumer(_) => tracing::warn!(%server, "messages were dropped: they came faster than read"),
                Event::ServerError(error) => tracing::warn!(%server, %error, "the server says"),
                Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => {}
            }
            std::future::ready(())
        });
        let client = options.connect(&self.addresses[..]).await.map_err(|error| self.refused(&error))?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER_TIME_MAX)
            .ack_timeout(ANSWER_TIME_MAX)
            .build(client.clone());
        Ok(Connection { client, jetstream, lost, server: self.shown.clone() })
    }

    fn refused(&self, error: &async_nats::ConnectError) -> Error {
        let at = format!("NATS at {}", self.shown);
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Error::invalid(format!("{at} does not let us in: {}", error.kind()))
                    .with_help("check user and password, token, nkey or creds_file")
            }
            ConnectErrorKind::ServerParse => Error::invalid(format!("{at} is no address of a server")),
            ConnectErrorKind::Tls => Error::invalid(format!("{at}: {error}"))
                .with_help("check tls, tls_ca, tls_cert and tls_key, and the name in the server's certificate"),
            ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => Error::unavailable(format!("{at}: {error}")),
        }
    }
}

/// A connection, which its client makes anew when it is lost.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    lost: watch::Receiver<u64>,
    server: String,
}

impl Connection {
    /// Returns how often the connection was lost: what was asked before the last time is not answered any more.
    pub(super) fn n_losses(&self) -> u64 {
        *self.lost.borrow()
    }

    /// Makes the error of a server that does not answer.
    pub(super) fn unavailable(&self, why: impl fmt::Display) -> Error {
        Error::unavailable(format!("NATS at {}: {why}", self.server))
    }

    /// Whether there is a connection just now.
    pub(super) fn check(&self) -> Result<()> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(self.unavailable("the connection is lost")),
        }
    }

    /// Waits for an answer, as long as there is a connection that can bring it.
    pub(super) async fn answer<T>(&self, call: impl Future<Output = T>) -> Result<T> {
        let mut lost = self.lost.clone();
        lost.borrow_and_update();
        self.check()?;
        tokio::select! {
            biased;
            answer = call => Ok(answer),
            _ = lost.changed() => Err(self.unavailable("the connection was lost")),
            () = tokio::time::sleep(ANSWER_TIME_MAX) => {
                Err(self.unavailable(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs())))
            }
        }
    }

    /// Asks for a stream; `None` when there is none of that name.
    pub(super) async fn find_stream(&self, name: &str) -> Result<Option<Stream<Info>>> {
        match self.answer(self.jetstream.get_stream(name)).await? {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                GetStreamErrorKind::JetStream(error) => Err(self.refusal("asking for the stream", &error)),
                GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
                    Err(Error::invalid(format!("'{name}' is no name of a stream"))
                        .with_help("use letters, digits, '_' and '-'"))
                }
                GetStreamErrorKind::Request => Err(self.unavailable(without_jetstream(&error))),
            },
        }
    }

    /// Makes the error of an answer that is a refusal.
    pub(super) fn refusal(&self, what: &str, error: &jetstream::Error) -> Error {
        use jetstream::ErrorCode as Code;
        let message = format!("NATS at {}: {what}: {error}", self.server);
        match error.error_code() {
            Code::JETSTREAM_NOT_ENABLED | Code::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Error::invalid(message).with_help("start the server with -js, and allow JetStream for the account")
            }
            Code::STREAM_NOT_MATCH => Error::conflict(message)
                .with_help("another stream captures the subject: name it with the option stream"),
            // The codes of the 5xx class: no leader yet, no resources, still starting. They pass.
            _ if error.code() >= 500 => Error::unavailable(message),
            _ => Error::invalid(message),
        }
    }
}

/// Says what a request without an answer most often means.
fn without_jetstream(error: &impl fmt::Display) -> String {
    format!("JetStream does not answer (is it enabled, with -js?): {error}")
}
