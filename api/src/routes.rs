//! The one table of routes: the router is built from it and so is the OpenAPI description, so that neither can have
//! what the other has not.

use crate::layers;
use crate::parameters::Parameter;
use crate::problem::Fault;
use crate::state::ApiState;
use crate::{companies, dead_letters, health, imports, ingest, lineage, page};
use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

/// What a body holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    /// The media types that are read or sent.
    pub(crate) media_types: &'static [&'static str],
    /// The name of the schema in the OpenAPI description; empty for text.
    pub(crate) schema: &'static str,
    /// What it is.
    pub(crate) description: &'static str,
}

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The method in lower case, as OpenAPI writes it.
    pub(crate) method: &'static str,
    /// The path with its parameters in braces.
    pub(crate) path: &'static str,
    /// The group it is shown in.
    pub(crate) tag: &'static str,
    /// What it does, in a few words.
    pub(crate) summary: &'static str,
    /// What it does, in sentences.
    pub(crate) description: &'static str,
    /// Path, query and header parameters.
    pub(crate) parameters: &'static [Parameter],
    /// The request body.
    pub(crate) body: Option<Content>,
    /// The body of a success.
    pub(crate) answer: Content,
    /// The status of a success.
    pub(crate) status: u16,
    /// The problems of its own; those that every route has are added.
    pub(crate) faults: &'static [Fault],
    /// Whether a configured API key is needed.
    pub(crate) secured: bool,
    /// Makes the handler.
    pub(crate) handler: fn() -> MethodRouter<ApiState>,
}

/// Lists all routes.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    let groups: [&'static [Route]; 7] = [
        ingest::ROUTES,
        imports::ROUTES,
        companies::ROUTES,
        lineage::ROUTES,
        dead_letters::ROUTES,
        health::ROUTES,
        page::ROUTES,
    ];
    groups.into_iter().flatten()
}

/// Builds the router with all routes and everything that surrounds them.
pub fn router(state: ApiState) -> Router {
    let mut open = Router::new();
    let mut secured = Router::new();
    for route in all() {
        let routes = if route.secured { &mut secured } else { &mut open };
        *routes = std::mem::take(routes).route(route.path, (route.handler)());
    }
    let secured = secured.route_layer(from_fn_with_state(state.clone(), layers::authenticate));
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request| {
            let route = request.extensions().get::<axum::extract::MatchedPath>().map_or("none", |path| path.as_str());
            tracing::debug_span!("request", method = %request.method(), route)
        })
        .on_failure(());
    open.merge(secured)
        .fallback(layers::no_such_route)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(CatchPanicLayer::custom(layers::on_panic))
        .layer(from_fn_with_state(state.clone(), layers::guard))
        .layer(trace)
        .with_state(state)
}
