//! A client of a schema registry (Confluent's, Redpanda's, Karapace, Apicurio's compatible interface). State: the
//! schemas that were fetched; they never change, so they are kept. What the registry does not have is asked for again.

use futures::StreamExt;
use headwater_core::{Error, Options, Result};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the registry may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer: far above any schema.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How many schemas are kept: a topic has a handful.
const KNOWN_MAX: usize = 4096;

/// A registry.
pub(crate) struct Registry {
    client: Client,
    url: Url,
    user: Option<String>,
    password: Option<String>,
    known: Mutex<HashMap<u32, Result<Arc<str>, String>>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registry {}", self.url)
    }
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fetched {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

impl Registry {
    /// Reads the options of a registry; `None` when there is none.
    pub(crate) fn parse(options: &Options, base: &Path) -> Result<Option<Arc<Self>>> {
        let user = options.get("avro.schema_registry_user").map(str::to_owned);
        let password = options.get("avro.schema_registry_password").map(str::to_owned);
        let ca = options.get("avro.schema_registry_ca");
        let Some(text) = options.get("avro.schema_registry") else { return Ok(None) };
        let wrong = || {
            Error::invalid("the option 'avro.schema_registry' is no address of a registry")
                .with_help("write http://host:port; name and password have options of their own")
        };
        let mut url = Url::parse(text).map_err(|_| wrong())?;
        if !["http", "https"].contains(&url.scheme()) || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let mut builder = Client::builder().timeout(TIMEOUT).connect_timeout(TIMEOUT);
        if let Some(ca) = ca {
            let path = base.join(ca);
            let pem =
                std::fs::read(&path).map_err(|error| Error::io(format!("cannot read '{}'", path.display()), error))?;
            let certificate = reqwest::Certificate::from_pem(&pem);
            let certificate = certificate
                .map_err(|error| Error::invalid(format!("'{}' is no certificate: {error}", path.display())))?;
            builder = builder.add_root_certificate(certificate);
        }
        let client = builder.build().map_err(|error| Error::invalid(format!("no client for the registry: {error}")))?;
        Ok(Some(Arc::new(Self { client, url, user, password, known: Mutex::default() })))
    }

    /// Returns a schema that was fetched, or what is wrong with it.
    pub(super) fn known(&self, id: u32) -> Result<Arc<str>, String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).cloned().unwrap_or_else(|| Err(format!("the schema {id} is not known")))
    }

    /// Fetches a schema unless it is there.
    pub(super) async fn fetch(&self, id: u32) -> Result<()> {
        if self.known(id).is_ok() {
            return Ok(());
        }
        let (status, answer) = self.ask(self.client.get(self.path(&format!("schemas/ids/{id}"))?)).await?;
        let schema = match status {
            StatusCode::NOT_FOUND => Err(format!("{self:?} has no schema {id}")),
            _ => {
                let fetched: Fetched = self.read(status, &answer)?;
                match fetched.schema_type.as_deref() {
                    None | Some("AVRO") if fetched.references.is_empty() => Ok(fetched.schema.into()),
                    None | Some("AVRO") => Err(format!("the schema {id} refers to others, which is not supported")),
                    Some(other) => Err(format!("the schema {id} is {other}, not AVRO")),
                }
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(id, schema);
        Ok(())
    }

    /// Registers a schema under a subject, or finds it there; returns its number.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let mut url = self.path("subjects")?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(subject).push("versions");
        }
        let (status, answer) = self.ask(self.client.post(url).json(&json!({"schema": schema}))).await?;
        if status == StatusCode::CONFLICT {
            let why = reason(&answer);
            let message = format!("{self:?}: the columns do not go with what the subject '{subject}' has: {why}");
            return Err(Error::conflict(message)
                .with_help("write to another topic or avro.subject, or relax the compatibility of the subject"));
        }
        Ok(self.read::<Registered>(status, &answer)?.id)
    }

    fn path(&self, path: &str) -> Result<Url> {
        self.url.join(path).map_err(|error| Error::internal(format!("{self:?}: {error}")))
    }

    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>)> {
        let request = request.header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        let request = match &self.user {
            Some(user) => request.basic_auth(user, self.password.as_ref()),
            None => request,
        };
        let failed =
            |error: reqwest::Error| Error::unavailable(format!("{self:?} does not answer: {}", error.without_url()));
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            bytes.extend_from_slice(&part.map_err(failed)?);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(Error::data(format!("{self:?} answers with more than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        Ok((status, bytes))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, status: StatusCode, answer: &[u8]) -> Result<T> {
        if status.is_success() {
            return serde_json::from_slice(answer)
                .map_err(|error| Error::data(format!("{self:?} answers with what is no answer: {error}")));
        }
        let message = format!("{self:?}: {status}: {}", reason(answer));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::invalid(message).with_help("check avro.schema_registry_user and avro.schema_registry_password")
            }
            StatusCode::NOT_FOUND => Error::not_found(message),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Error::unavailable(message),
            _ if status.is_server_error() => Error::unavailable(message),
            _ => Error::invalid(message),
        })
    }
}

/// Returns what a registry says is wrong, cut to what fits into a message.
fn reason(answer: &[u8]) -> String {
    let parsed = serde_json::from_slice::<Value>(answer).ok();
    let text = parsed.as_ref().and_then(|value| value["message"].as_str()).map(str::to_owned);
    text.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned()).chars().take(500).collect()
}
