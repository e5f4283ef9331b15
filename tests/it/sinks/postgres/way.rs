//! The way to the server: TLS, users, and what is told when it is closed.

use super::*;
use crate::servers::free_port;
use std::path::Path;
use std::process::Command;

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server with a certificate for `localhost` that `ca.pem` signed.
fn encrypted(port: u16) -> Postgres {
    Postgres::start_with(|folder| {
        let subject = |name: &str| format!("/CN={name}");
        openssl(
            folder,
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
                "-days",
                "3650",
                "-subj",
                &subject("test"),
                "-addext",
                "basicConstraints=critical,CA:TRUE",
            ],
        );
        openssl(
            folder,
            &[
                "req",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                "server.key",
                "-out",
                "server.csr",
                "-subj",
                &subject("localhost"),
            ],
        );
        std::fs::write(folder.join("ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE").expect("writes");
        openssl(
            folder,
            &[
                "x509",
                "-req",
                "-in",
                "server.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-out",
                "server.pem",
                "-days",
                "3650",
                "-extfile",
                "ext",
            ],
        );
        let key = folder.join("server.key");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("is made private");
        vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", folder.join("server.pem").display()),
            format!("ssl_key_file={}", key.display()),
        ]
    })
}

async fn reach(url: &str, options: &[(&'static str, String)]) -> Result<Box<dyn Sink>, Error> {
    let mut all = vec![("url", url.to_owned())];
    all.extend(options.iter().cloned());
    spec("postgres", &table("t", schema(), &[], &all))?.open(&Process::new().context(None, 0, 1)).await
}

#[tokio::test]
async fn connections_are_encrypted_and_certificates_checked_as_asked() {
    let port = free_port();
    let server = encrypted(port);
    let url = |host: &str| format!("postgresql://headwater:s3cret@{host}:{port}/postgres");
    let ca = server.folder().join("ca.pem").display().to_string();
    let ssl = format!(
        "psql -h 127.0.0.1 -p {port} -U headwater -d postgres -XqtA -c \
        \"SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'headwater'\""
    );
    let encrypted = || {
        let output = Command::new("sh").args(["-c", &ssl]).output().expect("psql runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for (options, expected) in [
        (vec![], "1"),
        (vec![("sslmode", "disable".to_owned())], "0"),
        (vec![("sslmode", "require".to_owned())], "1"),
        (vec![("sslmode", "require".to_owned()), ("sslrootcert", ca.clone())], "1"),
        (vec![("sslmode", "verify-full".to_owned()), ("sslrootcert", ca.clone())], "1"),
    ] {
        let sink = reach(&url("localhost"), &options).await.unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!(encrypted(), expected, "{options:?}");
        drop(sink);
    }
    // Signed by nobody that the system knows, and by somebody known for another name.
    let unknown = [("sslmode", "verify-full".to_owned())];
    let named = [("sslmode", "verify-full".to_owned()), ("sslrootcert", ca)];
    for (host, options) in [("localhost", &unknown[..]), ("127.0.0.1", &named[..])] {
        let error = reach(&url(host), options).await.map(|_| ()).expect_err("is not trusted");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains("invalid peer certificate") && !error.message().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn a_closed_way_says_what_to_do() {
    let server = Postgres::start();
    let by_name = |name: &str, user: &str| {
        format!("postgresql:///{name}?host={}&user={user}&password=s3cret", server.folder().display())
    };
    for (url, message, help) in [
        (by_name("nowhere", "headwater"), "database \"nowhere\" does not exist", "check the name of the database"),
        (by_name("postgres", "nobody"), "role \"nobody\" does not exist", "check user and password"),
    ] {
        let error = reach(&url, &[]).await.map(|_| ()).expect_err("is closed");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(message) && !error.to_string().contains("s3cret"), "{error}");
        assert!(error.help().is_some_and(|text| text.contains(help)), "{error}");
    }
    server.sql("CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let error = reach(&by_name("postgres", "reader"), &[]).await.map(|_| ()).expect_err("may not");
    assert!(error.message().ends_with("permission denied for schema public"), "{error}");
    let error = reach(&by_name("postgres", "headwater"), &[("sslmode", "require".to_owned())]).await.map(|_| ());
    let error = error.expect_err("has no TLS");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = reach(&by_name("postgres", "headwater"), &[("table", "no.t".to_owned())]).await.map(|_| ());
    assert_eq!(error.expect_err("no schema").kind(), ErrorKind::Invalid);
}
