//! Who may call: static API keys, each with the companies it reaches.
//!
//! Keys are kept as SHA-256 digests and compared in constant time, all of them for every request; a key is never
//! logged or printed. Without keys the interface is open, and then only for this machine: [`Auth::check_binding`].

use crate::problem::{Fault, Problem};
use axum::http::{HeaderMap, HeaderValue, header};
use headwater_core::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use subtle::ConstantTimeEq;

/// The shortest key that is accepted: 128 bits in hex.
const KEY_LENGTH_MIN: usize = 32;

/// Which companies a caller reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Companies {
    /// All of them.
    All,
    /// These, by their ids in lower case.
    Only(BTreeSet<String>),
}

impl Companies {
    /// Whether rows of this company may be read and written.
    #[must_use]
    pub fn allow(&self, company: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&company.to_lowercase()),
        }
    }

    /// Returns the one company that a caller can mean without naming it.
    pub(crate) fn only_one(&self) -> Option<&str> {
        match self {
            Self::Only(ids) if ids.len() == 1 => ids.first().map(String::as_str),
            Self::All | Self::Only(_) => None,
        }
    }
}

/// An issued key.
#[derive(Clone)]
pub struct ApiKey {
    name: String,
    digest: [u8; 32],
    companies: Companies,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("companies", &self.companies).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// Takes a key as configured: its name for the log, its secret, and the companies, `*` for all.
    ///
    /// # Errors
    /// `Invalid` when the secret is shorter than 32 characters or there is no company.
    pub fn new<'a>(name: &str, secret: &str, companies: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        if secret.len() < KEY_LENGTH_MIN {
            return Err(Error::invalid(format!("the API key '{name}' is shorter than {KEY_LENGTH_MIN} characters"))
                .with_help("make one with `openssl rand -hex 32`"));
        }
        let ids: BTreeSet<String> = companies.into_iter().map(|id| id.trim().to_lowercase()).collect();
        if ids.is_empty() {
            return Err(Error::invalid(format!("the API key '{name}' reaches no company"))
                .with_help("list company ids, or '*' for all"));
        }
        let companies = if ids.contains("*") { Companies::All } else { Companies::Only(ids) };
        Ok(Self { name: name.into(), digest: Sha256::digest(secret).into(), companies })
    }
}

/// The configured keys.
#[derive(Debug, Clone, Default)]
pub struct Auth(Vec<ApiKey>);

/// The caller of one request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The name of the key; `open` when there are no keys.
    pub(crate) name: String,
    /// What it reaches.
    pub(crate) companies: Companies,
}

impl Caller {
    /// Makes sure that the caller reaches a company. The answer is the same whether or not the company exists.
    pub(crate) fn reach(&self, company: &str) -> Result<(), Problem> {
        if self.companies.allow(company) {
            return Ok(());
        }
        Err(Problem::new(Fault::Forbidden, format!("This API key does not reach the company '{company}'.")))
    }
}

impl Auth {
    /// Makes an interface that needs one of these keys, or an open one when there are none.
    #[must_use]
    pub fn new(keys: Vec<ApiKey>) -> Self {
        Self(keys)
    }

    /// Whether no key is needed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses to listen for other machines without keys.
    ///
    /// # Errors
    /// `Invalid` when the address is not a loopback address and no key is configured.
    pub fn check_binding(&self, address: &SocketAddr) -> Result<()> {
        if !self.is_open() || address.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::invalid(format!("{address} is reachable from other machines and no API key is configured"))
            .with_help("configure API keys, or listen on 127.0.0.1"))
    }

    /// Finds the caller by `Authorization: Bearer KEY` or `X-Api-Key: KEY`.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.is_open() {
            return Ok(Caller { name: "open".into(), companies: Companies::All });
        }
        let Some(presented) = presented_key(headers) else {
            return Err(unauthorised("Send an API key as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'."));
        };
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let mut found = None;
        for key in &self.0 {
            // No early exit: the time must not tell which key was close, or that one matched.
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        let key = found.ok_or_else(|| unauthorised("This API key is not known."))?;
        Ok(Caller { name: key.name.clone(), companies: key.companies.clone() })
    }
}

fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn unauthorised(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"headwater\"");
    Problem::new(Fault::Unauthorised, detail).with_header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn without_keys_only_loopback_may_be_listened_on() {
        let outside: SocketAddr = "0.0.0.0:8080".parse().expect("an address");
        let inside: SocketAddr = "[::1]:8080".parse().expect("an address");
        assert!(Auth::default().check_binding(&outside).is_err());
        assert!(Auth::default().check_binding(&inside).is_ok());
        let keyed = Auth::new(vec![ApiKey::new("a", SECRET, ["*"]).expect("long enough")]);
        assert!(keyed.check_binding(&outside).is_ok());
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = ApiKey::new("reader", SECRET, ["C1"]).expect("long enough");
        let shown = format!("{key:?}");
        assert!(shown.contains("reader") && shown.contains("c1") && !shown.contains("digest"), "{shown}");
    }

    #[test]
    fn short_keys_and_keys_without_companies_are_refused() {
        assert!(ApiKey::new("a", "short", ["*"]).is_err());
        assert!(ApiKey::new("a", SECRET, []).is_err());
    }

    #[test]
    fn a_malformed_authorization_header_is_no_key() {
        for value in ["", "Bearer", "Basic abcdef", "béarer x"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
            assert_eq!(presented_key(&headers), None, "{value}");
        }
    }
}
