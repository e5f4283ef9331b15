//! Where a ClickHouse server is, and the few things that it is asked. No message has a secret.

use super::failure::{failure, refused};
use bytes::Bytes;
use clickhouse::{Client, Compression};
use headwater_core::{Error, Options, Result};
use std::future::Future;
use std::time::Duration;
use url::Url;

/// How long one piece of a block may take to be sent, and how long the server may take with a block that is sent.
const SEND: Duration = Duration::from_secs(30);
const INSERT: Duration = Duration::from_secs(300);
/// How long a statement about tables may take.
const ANSWER: Duration = Duration::from_secs(60);
/// A block is sent in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// How insertions are done: at once, with errors instead of guesses, and dropped when they come a second time.
const INSERT_SETTINGS: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("input_format_null_as_default", "0"),
    ("date_time_overflow_behavior", "throw"),
];

/// A server's address, read once.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    inserter: Client,
    /// Host, port and database.
    pub(super) shown: String,
    pub(super) database: String,
}

impl Server {
    /// Reads the options of the connection.
    pub(super) fn of(options: &Options) -> Result<Self> {
        // The value may hold a password, so no message shows it.
        let unknown = || {
            Error::invalid("the option 'url' is no address of a ClickHouse server")
                .with_help("write http://host:8123, or https://host:8443")
        };
        let mut url = Url::parse(options.require("url")?).map_err(|_| unknown())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(unknown());
        }
        let decoded = |text: &str| {
            let pair = format!("v={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pair.as_bytes())
                .next()
                .map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let in_query =
            |name: &str| url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned());
        let user = options
            .get("user")
            .map(str::to_owned)
            .or_else(|| if url.username().is_empty() { in_query("user") } else { Some(decoded(url.username())) });
        let password = options.get("password").map(str::to_owned);
        let password = password.or_else(|| url.password().map(decoded)).or_else(|| in_query("password"));
        let in_path = Some(url.path().trim_matches('/').to_owned()).filter(|path| !path.is_empty());
        let database = options.get("database").map(str::to_owned).or_else(|| in_query("database")).or(in_path);
        let database = database.unwrap_or_else(|| "default".to_owned());
        let compression = match options.one_of("compression", "lz4", &["lz4", "none"])? {
            "lz4" => Compression::Lz4,
            _ => Compression::None,
        };
        url.set_query(None);
        url.set_path("/");
        // Neither fails for an address that has a host.
        let _ = (url.set_username(""), url.set_password(None));
        let port = url.port_or_known_default().unwrap_or(8123);
        let shown = format!("{}:{port}/{database}", url.host_str().unwrap_or_default());
        let mut client = Client::default().with_url(url.as_str()).with_database(&database);
        if let Some(user) = user {
            client = client.with_user(user);
        }
        if let Some(password) = password {
            client = client.with_password(password);
        }
        let client = client.with_compression(Compression::None);
        let mut inserter = client.clone().with_compression(compression);
        for (name, value) in INSERT_SETTINGS {
            inserter = inserter.with_setting(*name, *value);
        }
        Ok(Self { client, inserter, shown, database })
    }

    /// Runs a statement.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        self.within(self.client.query_raw(sql).execute()).await
    }

    /// A server that does not answer is one that cannot be reached.
    async fn within<T>(&self, asked: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T> {
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(answered) => answered.map_err(|error| failure(&self.shown, &error)),
            Err(_) => Err(Error::unavailable(format!("ClickHouse at {} does not answer", self.shown))),
        }
    }

    /// Asks for rows, each a list of texts.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let failed = |error| failure(&self.shown, &error);
        let mut cursor = self.client.query_raw(sql).fetch_bytes("JSONCompactStringsEachRow").map_err(failed)?;
        let bytes = self.within(cursor.collect()).await?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::internal(format!("ClickHouse at {}: {error}", self.shown)))
    }

    /// Inserts a block; the words of the server where it refuses the block for its rows.
    pub(super) async fn insert(
        &self,
        statement: &str,
        settings: &[(&str, &str)],
        block: Bytes,
    ) -> Result<Result<(), String>> {
        let mut insert = self.inserter.insert_formatted_with(statement).with_timeouts(Some(SEND), Some(INSERT));
        for (name, value) in settings {
            insert = insert.with_setting(*name, *value);
        }
        let mut rest = block;
        let mut sent = Ok(());
        while !rest.is_empty() && sent.is_ok() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            sent = insert.send(piece).await;
        }
        let ended = match sent {
            Ok(()) => insert.end().await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => Ok(Ok(())),
            Err(error) => refused(&error).map(Err).map_or_else(|| Err(failure(&self.shown, &error)), Ok),
        }
    }
}
