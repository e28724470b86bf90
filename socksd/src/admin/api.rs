//! What can be asked, and the answers in JSON. `docs/admin.md` describes each.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::explain::{Answer, Question};
use crate::shadow::Report;

use super::Desk;
use super::access::{Caller, guard};
use super::rows::{Filter, Row};
use super::status::{Status, Version};

/// Octets of a request's body.
const MOST_BODY: usize = 16 * 1024;

/// A refusal with the reason in words.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

/// All paths.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/version", get(version))
        .route("/api/status", get(status))
        .route("/api/shadow", get(shadow))
        .route("/api/sessions", get(sessions))
        .route("/api/sessions/end", post(end_all))
        .route("/api/sessions/{session}/end", post(end_one))
        .route("/api/reload", post(reload))
        .route("/api/explain", post(explain))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "there is nothing here".into()))
        .method_not_allowed_fallback(async || {
            Refused(StatusCode::METHOD_NOT_ALLOWED, "this path is asked in another way".into())
        })
        .layer(from_fn(guard))
        .layer(map_response(harden))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(desk)
}

/// No browser may keep an answer, guess its type, frame it, or load anything into it.
async fn harden(mut response: Response) -> Response {
    let rules = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in rules {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let strict = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(strict);
    response
}

async fn ready(State(desk): State<Arc<Desk>>) -> Result<&'static str, Refused> {
    match desk.gateway.unready() {
        None => Ok("ready\n"),
        Some(why) => Err(Refused(StatusCode::SERVICE_UNAVAILABLE, why.into())),
    }
}

/// The content type is that of OpenMetrics 1.0.
async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], desk.gateway.metrics.text(&desk.gateway))
}

async fn version() -> Json<Version> {
    Json(Version::own())
}

async fn status(State(desk): State<Arc<Desk>>) -> Json<Status> {
    Json(Status::of(&desk.gateway, &desk.sources.reception.listeners()))
}

async fn shadow(State(desk): State<Arc<Desk>>) -> Json<Report> {
    let snapshot = desk.gateway.snapshot.load();
    Json(Report::of(snapshot.shadow.as_ref(), snapshot.ruleset.generation()))
}

async fn sessions(
    State(desk): State<Arc<Desk>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Vec<Row>>, Refused> {
    let Query(filter) = filter?;
    let is_meant = filter.test().map_err(bad)?;
    let all = desk.gateway.roster.list();
    Ok(Json(all.iter().filter(|live| is_meant(live)).map(|live| Row::of(live)).collect()))
}

async fn end_one(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<String>,
) -> Result<Json<Value>, Refused> {
    if !desk.end_one(&session, &caller) {
        return Err(Refused(StatusCode::NOT_FOUND, "no open session has that number".into()));
    }
    Ok(Json(json!({ "ended": 1 })))
}

async fn end_all(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(filter) = filter?;
    let ended = desk.end_all(&filter, &caller).map_err(bad)?;
    Ok(Json(json!({ "ended": ended })))
}

async fn reload(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Refused> {
    let reloaded = spawn_blocking(move || desk.reload(&caller)).await.map_err(bug)?;
    let reloaded = reloaded.map_err(|text| Refused(StatusCode::UNPROCESSABLE_ENTITY, text))?;
    Ok(Json(
        json!({ "policy": reloaded.policy, "warnings": reloaded.warnings, "sessions": reloaded.sessions }),
    ))
}

async fn explain(
    State(desk): State<Arc<Desk>>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Answer>, Refused> {
    let Json(question) = question?;
    let gateway = desk.gateway.clone();
    let runtime = tokio::runtime::Handle::current();
    let answer = move || {
        let own = gateway.own_for(Some(question.operation()));
        question.answer(&gateway.snapshot.load(), &own, &runtime)
    };
    let (_, answer) = spawn_blocking(answer).await.map_err(bug)?.map_err(bad)?;
    Ok(Json(answer))
}

fn bad(text: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, text)
}

fn bug(error: impl std::fmt::Display) -> Refused {
    Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("a bug of the gateway's, see its log: {error}"))
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(json!({ "error": error }))).into_response()
    }
}
