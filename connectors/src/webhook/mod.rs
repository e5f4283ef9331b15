//! Webhooks: the rows of each epoch as JSON, in `POST` requests to one address.
//!
//! Guarantee: at least once. Requests are sent when an epoch is prepared; after a crash the epoch's rows are sent again.
//! `Idempotency-Key` is `pipeline/node/epoch/subtask/request/hash of the body`: a receiver that keeps the keys of the
//! last minutes takes each request once, and never takes two different ones for the same.
//!
//! | option | meaning |
//! |---|---|
//! | `url` | `http://…` or `https://…`; shown without user, password and query |
//! | `format` | `json` (default; a row as it is), `debezium_json` (`before`, `after`, `op`; for rows that are taken back) |
//! | `body` | `array` (default): one JSON array a request; `lines`: one JSON value a line |
//! | `header.NAME` | a header of every request, such as `header.Authorization = 'Bearer {{ TOKEN }}'`; never shown |
//! | `rows_per_request_max` | 500 by default |
//! | `body_bytes_max` | 1 MiB by default; a row that is longer alone is a dead letter |
//! | `timeout` | for one request, `30 s` by default |
//! | `private_addresses` | `allow` (default), or `refuse`: no request goes to this machine or a private network |
//!
//! A network failure, 408, 429 and 5xx are `Unavailable`: the engine sends the same request again. 401, 403, 404, 405,
//! 407 and redirects are about the address and not about rows, and end the pipeline. Every other 4xx is about rows: the
//! request is halved until each row that is refused stands alone, and that is a dead letter.

mod address;
mod body;
mod sink;
#[cfg(test)]
mod tests;

use address::Public;
use async_trait::async_trait;
use body::{Body, Shape};
use headwater_core::{
    Changes, Connector, Error, Guarantee, Options, Result, Sink, SinkSpec, TableDefinition, TaskContext,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use std::sync::Arc;
use std::time::Duration;

/// How many rows a request has at most unless the option says otherwise.
const ROWS_MAX: usize = 500;
/// How long a body is at most unless the option says otherwise: what most receivers take.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long one request may take unless the option says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many subtasks send at once at most: more is what receivers are protected from.
const PARALLELISM_MAX: usize = 16;

/// The connector.
#[derive(Debug)]
pub(crate) struct Webhook;

impl Connector for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let options = &table.options;
        let url = url(options)?;
        table.columns()?;
        let number = |name: &str, default: usize| match options.parse(name, "a whole number above 0")? {
            Some(0) => Err(Error::invalid(format!("the option {name} = '0' is too small")).with_help("use 1 or more")),
            given => Ok(given.unwrap_or(default)),
        };
        let is_array = options.one_of("body", "array", &["array", "lines"])? == "array";
        let format = options.one_of("format", "json", &["json", "debezium_json"])?;
        let refuses_private = options.one_of("private_addresses", "allow", &["allow", "refuse"])? == "refuse";
        if refuses_private {
            address::check(&url)?;
        }
        Ok(Arc::new(WebhookSpec {
            table: table.name.clone(),
            shown: shown(&url),
            url,
            body: Body {
                shape: if format == "json" { Shape::Rows } else { Shape::Changes },
                is_array,
                rows_max: number("rows_per_request_max", ROWS_MAX)?,
                bytes_max: number("body_bytes_max", BODY_BYTES_MAX)?,
            },
            is_free: options.get("format").is_none(),
            headers: headers(options)?,
            timeout: options.duration("timeout")?.unwrap_or(TIMEOUT),
            refuses_private,
        }))
    }
}

fn url(options: &Options) -> Result<Url> {
    let text = options.require("url")?;
    // The value may hold a secret, so no message shows it.
    let url: Option<Url> = text.parse().ok();
    url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()).ok_or_else(|| {
        Error::invalid("the option 'url' is no address of a web server")
            .with_help("write https://host/path or http://host:port/path")
    })
}

/// Shows where a request goes, without what may be a secret.
fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn headers(options: &Options) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in options.with_prefix("header.") {
        let wrong = || {
            Error::invalid(format!("the option 'header.{name}' is no header"))
                .with_help("write header.NAME = 'VALUE' with letters, digits and '-' in the name, on one line")
        };
        let own = ["content-type", "content-length", "host", "idempotency-key", "transfer-encoding", "connection"];
        if own.contains(&name.to_ascii_lowercase().as_str()) {
            let error = Error::invalid(format!("the option 'header.{name}' sets what the connector sets itself"));
            return Err(error.with_help("leave it out"));
        }
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// A table behind an address, as declared.
#[derive(Clone)]
struct WebhookSpec {
    table: String,
    url: Url,
    /// The address without secrets.
    shown: String,
    body: Body,
    /// Whether nobody said which format it is.
    is_free: bool,
    headers: HeaderMap,
    timeout: Duration,
    refuses_private: bool,
}

impl std::fmt::Debug for WebhookSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl WebhookSpec {
    fn client(&self) -> Result<Client> {
        let builder = Client::builder()
            .default_headers(self.headers.clone())
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            // A redirect would leave out the check of the address, and most turn a POST into a GET.
            .redirect(redirect::Policy::none());
        let builder = match self.refuses_private {
            true => builder.no_proxy().dns_resolver(Arc::new(Public)),
            false => builder,
        };
        builder.build().map_err(|error| Error::internal(format!("cannot make an HTTP client: {}", error.without_url())))
    }
}

#[async_trait]
impl SinkSpec for WebhookSpec {
    fn describe(&self) -> String {
        let format = if self.body.shape == Shape::Rows { "json" } else { "debezium_json" };
        format!("webhook {format} {}", self.shown)
    }

    fn changes(&self) -> Changes {
        if self.body.shape == Shape::Changes { Changes::Any } else { Changes::AppendOnly }
    }

    fn for_changes(&self) -> Option<Arc<dyn SinkSpec>> {
        let body = Body { shape: Shape::Changes, ..self.body };
        self.is_free.then(|| Arc::new(Self { body, is_free: false, ..self.clone() }) as _)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn parallelism_max(&self) -> usize {
        // Two subtasks would take changes of one row out of their order.
        if self.changes() == Changes::Any { 1 } else { PARALLELISM_MAX }
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(sink::WebhookSink::new(self.clone(), self.client()?, context)))
    }
}
