//! Where a PostgreSQL server is and how the way to it is protected. No message has a secret. `sinks` has the same
//! file: the two packages do not know each other.
//!
//! | `sslmode` | meaning |
//! |---|---|
//! | `disable` | never encrypted |
//! | `prefer` (default) | encrypted where the server can; the certificate is not checked |
//! | `require` | encrypted or not at all; the certificate is checked only with `sslrootcert` |
//! | `verify-full` | encrypted, and the certificate must be for this host, signed by `sslrootcert` or the system's roots |

use super::failure::failure;
use headwater_core::{Error, Options, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

const MODES: &[&str] = &["disable", "prefer", "require", "verify-full"];
/// How long a server may take to answer at first, unless the address says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A server's address, read once.
#[derive(Clone)]
pub(crate) struct Address {
    config: Config,
    /// Host, port and database.
    pub(crate) server: String,
    tls: MakeRustlsConnect,
}

/// An open connection: the client, and the task that serves it, which ends with it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    _service: JoinSet<()>,
}

impl Address {
    /// Reads the options `url`, `sslmode` and `sslrootcert`; the last two may stand in the address as well.
    pub(crate) fn of(options: &Options, base: &Path) -> Result<Self> {
        let (url, in_url) = without_ssl(options.require("url")?);
        // The value may hold a password, so no message shows it.
        let mut config: Config = url.parse().map_err(|_| {
            Error::invalid("the option 'url' is no address of a PostgreSQL server")
                .with_help("write postgresql://user:password@host:port/database")
        })?;
        let find = |name: &str| in_url.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let mode = options.get("sslmode").or_else(|| find("sslmode")).unwrap_or("prefer");
        if !MODES.contains(&mode) {
            let error = Error::invalid(format!("the option sslmode = '{mode}' is not understood"));
            return Err(error.with_help(format!("use one of: {}", MODES.join(", "))));
        }
        let roots = options.get("sslrootcert").or_else(|| find("sslrootcert")).map(|path| base.join(path));
        config.ssl_mode(match mode {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if config.get_application_name().is_none() {
            config.application_name("headwater");
        }
        let tls = match (mode, roots) {
            ("disable" | "prefer", _) | ("require", None) => unchecked()?,
            (_, Some(path)) => checked(roots_of(&path)?)?,
            (_, None) => system()?,
        };
        Ok(Self { server: shown(&config), config, tls })
    }

    /// Opens a connection and runs `settings` on it.
    pub(crate) async fn connect(&self, settings: &str) -> Result<Connection> {
        let failed = |error| failure(&self.server, &error);
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(failed)?;
        let mut service = JoinSet::new();
        let server = self.server.clone();
        service.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, server, "the connection to postgresql ended");
            }
        });
        client.batch_execute(settings).await.map_err(failed)?;
        Ok(Connection { client, _service: service })
    }
}

/// Names a server without user and password.
fn shown(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

/// Takes the two settings out of an address, because the client does not know all their values.
fn without_ssl(url: &str) -> (String, Vec<(String, String)>) {
    let mut found = Vec::new();
    let mut keep = |part: &&str| match part.split_once('=') {
        Some((name @ ("sslmode" | "sslrootcert"), value)) => {
            found.push((name.to_owned(), value.trim_matches('\'').to_owned()));
            false
        }
        _ => true,
    };
    let rest = if url.contains("://") {
        match url.split_once('?') {
            None => url.to_owned(),
            Some((address, query)) => {
                let kept: Vec<&str> = query.split('&').filter(&mut keep).collect();
                if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) }
            }
        }
    } else if url.contains("ssl") {
        url.split(' ').filter(&mut keep).collect::<Vec<_>>().join(" ")
    } else {
        url.to_owned()
    };
    (rest, found)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls_error(error: rustls::Error) -> Error {
    Error::internal(format!("TLS cannot be set up: {error}"))
}

fn unchecked() -> Result<MakeRustlsConnect> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(tls_error)?.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked));
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

fn checked(roots: RootCertStore) -> Result<MakeRustlsConnect> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(tls_error)?.with_root_certificates(roots);
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

/// Trusts whom the system trusts.
fn system() -> Result<MakeRustlsConnect> {
    // A provider that the process has installed already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match MakeRustlsConnect::with_native_certs() {
        Ok((tls, _)) => Ok(tls),
        Err(_) => {
            Err(Error::invalid("the system has no root certificates that sslmode = 'verify-full' could check by")
                .with_help("name a file with sslrootcert = '…', or install the package ca-certificates"))
        }
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore> {
    let invalid = |what: String| {
        Error::invalid(format!("the option sslrootcert names '{}', {what}", path.display()))
            .with_help("name a file with certificates in PEM form")
    };
    let bytes = std::fs::read(path).map_err(|error| invalid(format!("which cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| invalid(format!("which is no PEM file: {error:?}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("which has a certificate of no use: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid("which has no certificate".to_owned()));
    }
    Ok(roots)
}

/// Encrypts without asking who is at the other end, as `psql` does for `require`.
#[derive(Debug)]
struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(options: &[(&str, &str)]) -> Result<Address> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Address::of(&options, Path::new("/nonexistent"))
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let address = address(&[("url", "postgresql://alice:s3cret@db.example:5433/crm?sslmode=require")]);
        assert_eq!(address.expect("an address").server, "db.example:5433/crm");
    }

    #[test]
    fn modes_are_taken_out_of_the_address() {
        let (rest, found) = without_ssl("postgresql://h/d?sslmode=verify-full&user=u&sslrootcert=ca.pem");
        assert_eq!(rest, "postgresql://h/d?user=u");
        assert_eq!(found[1], ("sslrootcert".to_owned(), "ca.pem".to_owned()));
        assert_eq!(without_ssl("host=h sslmode=require dbname=d").0, "host=h dbname=d");
        assert_eq!(without_ssl("postgresql://h/d?sslmode=disable").0, "postgresql://h/d");
    }

    #[test]
    fn mistakes_are_told_without_the_address() {
        let error = address(&[("url", "postgresql://u:s3cret@h/d"), ("sslmode", "on")]).map(|_| ());
        let error = error.expect_err("no mode").to_string();
        assert_eq!(
            error,
            "the option sslmode = 'on' is not understood\nhelp: use one of: disable, prefer, require, verify-full"
        );
        let options = [("url", "postgresql://u:s3cret@h/d?sslmode=verify-full"), ("sslrootcert", "ca.pem")];
        let error = address(&options).map(|_| ()).expect_err("no file").to_string();
        assert!(error.contains("'/nonexistent/ca.pem', which cannot be read"), "{error}");
        let error = address(&[("url", "mysql://u:s3cret@h/d")]).map(|_| ()).expect_err("no address").to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
