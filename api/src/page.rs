//! `GET /openapi.json`, and one page to browse it: no build, nothing loaded from elsewhere.
//!
//! The page is a file of this crate. Its content security policy allows its own inline script and style, by their
//! hashes, and requests to this server; nothing else.

use crate::openapi;
use crate::routes::{Content, Route};
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const HTML: &str = include_str!("page.html");

const PAGE: Content = Content { media_types: &["text/html"], schema: "", description: "The page." };

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/openapi.json",
        tag: "documentation",
        summary: "Describe the interface",
        description: "This description, OpenAPI 3.1.",
        parameters: &[],
        body: None,
        answer: Content { media_types: &["application/json"], schema: "Object", description: "The description." },
        status: 200,
        faults: &[],
        secured: false,
        handler: || get(description),
    },
    Route {
        method: "get",
        path: "/",
        tag: "documentation",
        summary: "Browse the interface",
        description: "A page that shows this description and tries its GET routes.",
        parameters: &[],
        body: None,
        answer: PAGE,
        status: 200,
        faults: &[],
        secured: false,
        handler: || get(page),
    },
    Route {
        method: "get",
        path: "/docs",
        tag: "documentation",
        summary: "Browse the interface",
        description: "The same page as '/'.",
        parameters: &[],
        body: None,
        answer: PAGE,
        status: 200,
        faults: &[],
        secured: false,
        handler: || get(page),
    },
];

static DESCRIPTION: LazyLock<Value> = LazyLock::new(openapi::description);

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         script-src {}; style-src {}",
        source_hash("<script>", "</script>"),
        source_hash("<style>", "</style>"),
    );
    HeaderValue::try_from(policy).expect("hashes in base64 are printable ASCII")
});

/// Returns the hash that allows the inline text between two tags.
fn source_hash(open: &str, close: &str) -> String {
    let inner = HTML.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map_or("", |(inner, _)| inner);
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inner)))
}

async fn description() -> Json<&'static Value> {
    Json(&DESCRIPTION)
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, HTML).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing_from_elsewhere() {
        assert_eq!((HTML.matches("<script").count(), HTML.matches("<style").count()), (1, 1));
        for foreign in ["http://", "https://", "src=", "@import", "onclick=", "style=\"", "innerHTML"] {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
    }
}
