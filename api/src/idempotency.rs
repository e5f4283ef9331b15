//! The interface's own memory: answers by `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07), and which
//! dead letters were replayed. One SQLite file, so it survives a restart.
//!
//! A key belongs to a tenant. Only successes are remembered: a refused request did nothing and may be corrected. What
//! is in flight is known to this process alone: after a crash between the append and the remembered answer, a retry
//! appends again, but with the same event ids, which the pipelines drop as duplicates. Keys expire, and expired ones
//! are removed as new ones come.

use crate::problem::{Fault, Problem};
use crate::store::classify;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater_core::{Error, EventTime, Result};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The header's name.
pub(crate) const HEADER: &str = "idempotency-key";
/// The longest key.
const KEY_LENGTH_MAX: usize = 255;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS idempotency_keys (
    tenant TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_keys_by_expiry ON idempotency_keys (expires_at);
CREATE TABLE IF NOT EXISTS replays (
    letter_id TEXT NOT NULL, payload_hash TEXT NOT NULL, event_type TEXT NOT NULL, event_id TEXT NOT NULL,
    replayed_at TEXT NOT NULL, replayed_by TEXT NOT NULL,
    PRIMARY KEY (letter_id, payload_hash)
) WITHOUT ROWID;";

/// A JSON answer that can be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.body).into_response()
    }
}

/// A dead letter that was sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) letter: String,
    pub(crate) payload_hash: String,
    pub(crate) event_type: String,
    pub(crate) event_id: String,
    pub(crate) replayed_at: String,
    pub(crate) replayed_by: String,
}

/// The durable journal; cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Inner>);

struct Inner {
    connection: Mutex<Connection>,
    in_flight: Mutex<HashSet<(String, String)>>,
    ttl: Duration,
}

/// The right to answer a key; it ends when dropped.
pub(crate) struct Claim {
    inner: Arc<Inner>,
    name: (String, String),
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.inner.in_flight).remove(&self.name);
    }
}

impl Journal {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path, ttl: Duration) -> Result<Self> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection
                .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000;")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let connection = open().map_err(|e| classify(e).at(format!("'{}'", path.display())))?;
        Ok(Self(Arc::new(Inner { connection: Mutex::new(connection), in_flight: Mutex::default(), ttl })))
    }

    /// Claims a name for one request at a time; `None` when another has it.
    pub(crate) fn claim(&self, tenant: &str, key: &str) -> Option<Claim> {
        let name = (tenant.to_owned(), key.to_owned());
        lock(&self.0.in_flight).insert(name.clone()).then(|| Claim { inner: self.0.clone(), name })
    }

    /// Finds the answer that was stored under a key, with the fingerprint of its request.
    async fn stored(&self, tenant: &str, key: &str, now: EventTime) -> Result<Option<(Vec<u8>, Answer)>> {
        let (tenant, key) = (tenant.to_owned(), key.to_owned());
        self.run(move |connection| {
            let sql = "SELECT fingerprint, status, body FROM idempotency_keys \
                       WHERE tenant = ?1 AND key = ?2 AND expires_at > ?3";
            let row = connection.query_row(sql, params![tenant, key, now.0], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u16>(1)?, row.get::<_, Vec<u8>>(2)?))
            });
            let found = row.optional()?;
            Ok(found.map(|(fingerprint, status, body)| {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                (fingerprint, Answer { status, body })
            }))
        })
        .await
    }

    async fn remember(&self, tenant: &str, key: &str, print: &[u8], answer: &Answer, now: EventTime) -> Result<()> {
        let (tenant, key, print, answer) = (tenant.to_owned(), key.to_owned(), print.to_vec(), answer.clone());
        let ttl = i64::try_from(self.0.ttl.as_nanos()).unwrap_or(i64::MAX);
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM idempotency_keys WHERE expires_at <= ?1", [now.0])?;
            transaction.execute(
                "INSERT OR REPLACE INTO idempotency_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![tenant, key, print, answer.status.as_u16(), answer.body, now.saturating_add(ttl).0],
            )?;
            transaction.commit()
        })
        .await
    }

    /// Finds an earlier replay of a letter with the same payload.
    pub(crate) async fn replay(&self, letter: &str, payload_hash: &str) -> Result<Option<Replay>> {
        let key = (letter.to_owned(), payload_hash.to_owned());
        self.run(move |connection| {
            let sql = "SELECT letter_id, payload_hash, event_type, event_id, replayed_at, replayed_by FROM replays \
                       WHERE letter_id = ?1 AND payload_hash = ?2";
            connection.query_row(sql, params![key.0, key.1], replay_of).optional()
        })
        .await
    }

    /// Lists the replays of some letters.
    pub(crate) async fn replays(&self, letters: Vec<String>) -> Result<Vec<Replay>> {
        self.run(move |connection| {
            let marks = vec!["?"; letters.len()].join(", ");
            let sql = format!(
                "SELECT letter_id, payload_hash, event_type, event_id, replayed_at, replayed_by FROM replays \
                 WHERE letter_id IN ({marks}) ORDER BY replayed_at, payload_hash"
            );
            let mut statement = connection.prepare(&sql)?;
            statement.query_map(rusqlite::params_from_iter(letters), replay_of)?.collect()
        })
        .await
    }

    /// Records a replay, for good.
    pub(crate) async fn record_replay(&self, replay: Replay) -> Result<()> {
        self.run(move |connection| {
            let values = params![
                replay.letter,
                replay.payload_hash,
                replay.event_type,
                replay.event_id,
                replay.replayed_at,
                replay.replayed_by
            ];
            connection.execute("INSERT OR IGNORE INTO replays VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values).map(drop)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let task = tokio::task::spawn_blocking(move || work(&mut lock(&inner.connection)).map_err(classify));
        task.await.map_err(|error| Error::internal(format!("the journal failed: {error}")))?
    }
}

fn replay_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Replay> {
    Ok(Replay {
        letter: row.get(0)?,
        payload_hash: row.get(1)?,
        event_type: row.get(2)?,
        event_id: row.get(3)?,
        replayed_at: row.get(4)?,
        replayed_by: row.get(5)?,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // SQLite keeps its own consistency, and a set is whole after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What makes two requests the same: everything that is processed.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// Answers a request once for each key: runs `work`, or gives the stored answer of the first time.
pub(crate) async fn once<W>(
    state: &crate::ApiState,
    tenant: &str,
    key: Option<&str>,
    print: Vec<u8>,
    work: W,
) -> Result<Response, Problem>
where
    W: Future<Output = Result<Answer, Problem>>,
{
    let Some(key) = key else { return Ok(work.await?.into_response()) };
    let Some(_claim) = state.journal.claim(tenant, key) else {
        return Err(Problem::new(Fault::KeyInFlight, "A request with this idempotency key is being answered."));
    };
    if let Some((first, answer)) = state.journal.stored(tenant, key, state.clock.now()).await? {
        if first != print {
            return Err(Problem::new(Fault::KeyReused, "This idempotency key was used with another request."));
        }
        let mut response = answer.into_response();
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        return Ok(response);
    }
    let answer = work.await?;
    if let Err(error) = state.journal.remember(tenant, key, &print, &answer, state.clock.now()).await {
        // What was asked is done and durable; a retry is harmless because event ids derive from the key.
        tracing::warn!(%error, "idempotent answer not remembered");
    }
    Ok(answer.into_response())
}

/// Reads the header: a structured-field string, `"8e03978e-40d5-43dd-bc93-6894a57f9324"`.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = |why: &str| Problem::invalid(format!("Idempotency-Key {why}; write it in quotes: \"a-unique-key\"."));
    if values.next().is_some() {
        return Err(refused("is given twice"));
    }
    let text = value.to_str().map_err(|_| refused("is not ASCII"))?.trim();
    let inner = text.strip_prefix('"').ok_or_else(|| refused("is not a quoted string"))?;
    let mut key = String::new();
    let mut rest = inner.chars();
    loop {
        match rest.next() {
            Some('"') => break,
            Some('\\') => match rest.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(refused("has a backslash before neither a quote nor a backslash")),
            },
            Some(plain @ ' '..='~') => key.push(plain),
            Some(_) => return Err(refused("has a character that is not printable")),
            None => return Err(refused("has no closing quote")),
        }
    }
    let parameters = rest.as_str().trim_start();
    if !(parameters.is_empty() || parameters.starts_with(';')) {
        return Err(refused("has something after the closing quote"));
    }
    if key.is_empty() || key.len() > KEY_LENGTH_MAX {
        return Err(refused(&format!("must have 1 to {KEY_LENGTH_MAX} characters")));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        key(&headers).ok().flatten()
    }

    #[test]
    fn only_a_structured_string_is_a_key() {
        assert_eq!(parse(r#""a-b""#).as_deref(), Some("a-b"));
        assert_eq!(parse(r#" "a\"b\\" ;v=1"#).as_deref(), Some(r#"a"b\"#));
        let long = format!("\"{}\"", "a".repeat(256));
        for bad in ["", "abc", "\"", "\"\"", "\"a", "\"a\" b", r#""a\n""#, "\"é\"", &long] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_claim_is_held_by_one_and_ends_with_its_holder() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(&folder.path().join("j.db"), Duration::from_secs(1)).expect("opens");
        let first = journal.claim("t", "k").expect("free");
        assert!(journal.claim("t", "k").is_none());
        assert!(journal.claim("other", "k").is_some());
        drop(first);
        assert!(journal.claim("t", "k").is_some());
    }
}
