//! Who enters a NATS server, and how the way is encrypted: the options. Pure but for reading files of credentials.
//!
//! Values may be secrets: the planner fills them in from environment variables, and nothing here shows them.

use async_nats::{ConnectOptions, ServerAddr};
use headwater_core::{Error, Result, TableDefinition};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;

/// Who enters.
#[derive(Clone, Default)]
pub(super) enum Auth {
    /// Who the address says, or nobody.
    #[default]
    None,
    Password {
        user: String,
        password: String,
    },
    Token(String),
    /// The seed of a key pair.
    Nkey(String),
    /// A file of credentials: a JSON web token and the seed of its key.
    CredsFile(PathBuf),
    /// The content of such a file.
    Creds(String),
}

impl Auth {
    /// Reads the options `user` and `password`, `token`, `nkey`, `creds_file`, `creds`.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let ways = ["user", "token", "nkey", "creds_file", "creds"];
        let given: Vec<&str> = ways.into_iter().filter(|way| options.get(way).is_some()).collect();
        let password = options.get("password");
        if given.len() > 1 {
            let error = Error::invalid(format!("the options {} are several ways to enter", given.join(" and ")));
            return Err(error.with_help("keep one of them"));
        }
        let value = |name: &str| options.get(name).unwrap_or_default().to_owned();
        Ok(match (given.first().copied(), password) {
            (Some("user"), Some(password)) => Self::Password { user: value("user"), password: password.to_owned() },
            (Some("user"), None) => {
                return Err(Error::invalid("the option 'user' needs a password").with_help("add password = '…'"));
            }
            (_, Some(_)) => {
                return Err(Error::invalid("the option 'password' needs a user").with_help("add user = '…'"));
            }
            (Some("token"), None) => Self::Token(value("token")),
            (Some("nkey"), None) => Self::Nkey(value("nkey")),
            (Some("creds_file"), None) => Self::CredsFile(table.base.join(value("creds_file"))),
            (Some(_), None) => Self::Creds(value("creds")),
            (None, None) => Self::None,
        })
    }

    /// Takes who an address says, `nats://user:password@host` or `nats://token@host`, where no option says it.
    pub(super) fn or_of(self, addresses: &[ServerAddr]) -> Result<Self> {
        let Some((user, password)) = addresses.iter().find_map(|at| Some((at.username()?, at.password()))) else {
            return Ok(self);
        };
        if !matches!(self, Self::None) {
            return Err(Error::invalid("the address and the options both say who enters").with_help("keep one of them"));
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok(match password {
            Some(password) => Self::Password { user: decoded(user), password: decoded(password) },
            None => Self::Token(decoded(user)),
        })
    }

    /// Adds them to what a client is told.
    pub(super) async fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions> {
        Ok(match self {
            Self::None => options,
            Self::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
            Self::Token(token) => options.token(token.clone()),
            Self::Nkey(seed) => options.nkey(seed.clone()),
            Self::CredsFile(path) => {
                let text = tokio::fs::read_to_string(path).await;
                let text =
                    text.map_err(|error| Error::io(format!("cannot read creds_file '{}'", path.display()), error))?;
                let read = options.credentials(&text);
                // The client's own words may quote the file.
                read.map_err(|_| Error::invalid(format!("'{}' is no file of NATS credentials", path.display())))?
            }
            Self::Creds(text) => {
                options.credentials(text).map_err(|_| Error::invalid("the option 'creds' is no NATS credentials"))?
            }
        })
    }
}

/// How the way is encrypted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    required: bool,
    first: bool,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Reads the options `tls`, `tls_first`, `tls_ca`, `tls_cert` and `tls_key`.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let path = |name: &str| options.get(name).map(|path| table.base.join(path));
        let certificate = match (path("tls_cert"), path("tls_key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(Error::invalid("the option 'tls_cert' needs tls_key")),
            (None, Some(_)) => return Err(Error::invalid("the option 'tls_key' needs tls_cert")),
        };
        let ca = path("tls_ca");
        let first = options.parse("tls_first", "true or false")?.unwrap_or(false);
        let implied = first || ca.is_some() || certificate.is_some();
        let required = options.parse("tls", "true or false")?.unwrap_or(implied);
        if implied && !required {
            let error = Error::invalid("tls = 'false' contradicts the other options of TLS");
            return Err(error.with_help("remove it, or remove tls_first, tls_ca, tls_cert and tls_key"));
        }
        for path in ca.iter().chain(certificate.iter().flat_map(|(certificate, key)| [certificate, key])) {
            if !path.is_file() {
                return Err(Error::not_found(format!("there is no file '{}'", path.display())));
            }
        }
        Ok(Self { required, first, ca, certificate })
    }

    /// Adds it to what a client is told.
    pub(super) fn apply(&self, options: ConnectOptions) -> ConnectOptions {
        let options = if self.required { options.require_tls(true) } else { options };
        let options = if self.first { options.tls_first() } else { options };
        let options = match &self.ca {
            Some(path) => options.add_root_certificates(path.clone()),
            None => options,
        };
        match &self.certificate {
            Some((certificate, key)) => options.add_client_certificate(certificate.clone(), key.clone()),
            None => options,
        }
    }
}
