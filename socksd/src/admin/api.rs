//! What can be asked, and the answers in JSON. `docs/admin.md` describes each.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::denials::Told;
use crate::explain::{Answer, Question};
use crate::logins::LockRow;
use crate::preview::Preview;
use crate::reload::NotReloaded;
use crate::shadow::Report;

use super::Desk;
use super::access::{Caller, guard};
use super::listing::{Listing, MOST_ROWS, Order, Part, USUAL_ROWS};
use super::page;
use super::rows::{Filter, LockFilter};
use super::status::{Status, Version};

/// Octets of a request's body.
const MOST_BODY: usize = 16 * 1024;

/// A refusal with the reason in words.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

/// All paths.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .merge(page::router())
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/version", get(version))
        .route("/api/status", get(status))
        .route("/api/shadow", get(shadow))
        .route("/api/sessions", get(sessions))
        .route("/api/denials", get(denials))
        .route("/api/sessions/end", post(end_all))
        .route("/api/sessions/{session}/end", post(end_one))
        .route("/api/logins/locks", get(locks))
        .route("/api/logins/unlock", post(unlock))
        .route("/api/reload", post(reload))
        .route("/api/reload/preview", post(preview))
        .route("/api/explain", post(explain))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "there is nothing here".into()))
        .method_not_allowed_fallback(async || {
            Refused(StatusCode::METHOD_NOT_ALLOWED, "this path is asked in another way".into())
        })
        .layer(from_fn_with_state(desk.clone(), guard))
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
        (header::X_FRAME_OPTIONS, "DENY"),
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

async fn status(State(desk): State<Arc<Desk>>, Extension(caller): Extension<Caller>) -> Json<Status> {
    let mut status = Status::of(&desk.gateway, &desk.sources.reception.listeners());
    status.predecessors = desk.predecessors(&caller).await;
    Json(status)
}

async fn shadow(State(desk): State<Arc<Desk>>) -> Json<Report> {
    let snapshot = desk.gateway.snapshot.load();
    Json(Report::of(snapshot.shadow.as_ref(), snapshot.ruleset.generation()))
}

/// What the path of the list takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    identity: Option<String>,
    rule: Option<String>,
    source: Option<String>,
    #[serde(default)]
    sort: Order,
    limit: Option<usize>,
    after: Option<String>,
    process: Option<u32>,
}

impl Wanted {
    fn part(&self) -> Result<Part, String> {
        let limit = self.limit.unwrap_or(USUAL_ROWS);
        if limit > MOST_ROWS {
            return Err(format!("`limit` is at most {MOST_ROWS}: ask for what is behind with `after`"));
        }
        let after = self.after.as_deref().map(str::parse).transpose();
        let after = after.map_err(|()| "`after` is not the number of a session".to_owned())?;
        if after.is_some() && !self.sort.is_by_age() {
            return Err("`after` goes with the orders `newest` and `oldest`".into());
        }
        Ok(Part { order: self.sort, limit, after })
    }
}

async fn sessions(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Listing>, Refused> {
    let Query(wanted) = wanted?;
    if let Some(process) = wanted.process.filter(|process| *process != std::process::id()) {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let listing = desk.ask_predecessor(Method::GET, path, &caller).await;
        let none = || Refused(StatusCode::NOT_FOUND, format!("process {process} has no sessions any more"));
        return listing.map(Json).ok_or_else(none);
    }
    let part = wanted.part().map_err(bad)?;
    let Wanted { identity, rule, source, .. } = wanted;
    let filter = Filter { identity, rule, source };
    let is_meant = filter.test().map_err(bad)?;
    Ok(Json(Listing::of(&desk.gateway.roster, part, is_meant)))
}

async fn denials(State(desk): State<Arc<Desk>>) -> Json<Vec<Told>> {
    Json(desk.gateway.denials.last(usize::MAX))
}

async fn end_one(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<String>,
) -> Result<Json<Value>, Refused> {
    if !desk.end_one(&session, &caller) && !desk.end_elsewhere(&session, &caller).await {
        return Err(Refused(StatusCode::NOT_FOUND, "no open session has that number".into()));
    }
    Ok(Json(json!({ "ended": 1 })))
}

async fn end_all(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(filter) = filter?;
    let ended = desk.end_all(&filter, &caller).map_err(bad)?;
    let elsewhere = desk.end_all_elsewhere(uri.query().unwrap_or_default(), &caller).await;
    Ok(Json(json!({ "ended": ended + elsewhere })))
}

async fn locks(State(desk): State<Arc<Desk>>) -> Json<Vec<LockRow>> {
    Json(desk.gateway.logins.locks())
}

async fn unlock(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    filter: Result<Query<LockFilter>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(filter) = filter?;
    let lifted = desk.unlock(&filter, &caller).map_err(bad)?;
    Ok(Json(json!({ "lifted": lifted })))
}

async fn reload(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Refused> {
    let (act, who) = (desk.clone(), caller.clone());
    let reloaded = spawn_blocking(move || act.reload(&who)).await.map_err(bug)?;
    let mut reloaded = reloaded.map_err(|why| match why {
        NotReloaded::Mistaken(text) => Refused(StatusCode::UNPROCESSABLE_ENTITY, text),
        NotReloaded::Elsewhere(process) => {
            let text = format!("process {} serves, and nothing was reloaded: ask that one", process.pid());
            Refused(StatusCode::CONFLICT, text)
        }
    })?;
    if let Some(predecessor) = desk.gateway.predecessor() {
        reloaded.warnings.extend(predecessor.reload(&caller.name).await);
    }
    Ok(Json(
        json!({ "policy": reloaded.policy, "warnings": reloaded.warnings, "sessions": reloaded.sessions }),
    ))
}

async fn preview(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Preview>, Refused> {
    let preview = spawn_blocking(move || desk.preview(&caller)).await.map_err(bug)?;
    preview.map(Json).map_err(|text| Refused(StatusCode::UNPROCESSABLE_ENTITY, text))
}

async fn explain(
    State(desk): State<Arc<Desk>>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Answer>, Refused> {
    let Json(question) = question?;
    judge(&desk, question).await?.map(Json).map_err(bad)
}

/// The answer of the policy in force, or what the question lacks.
pub(super) async fn judge(desk: &Desk, question: Question) -> Result<Result<Answer, String>, Refused> {
    let gateway = desk.gateway.clone();
    let runtime = tokio::runtime::Handle::current();
    let answer = move || {
        let own = gateway.own_for(Some(question.operation()));
        question.answer(&gateway.snapshot.load(), &own, &runtime)
    };
    let answered = spawn_blocking(answer).await.map_err(bug)?;
    Ok(answered.map(|(_, answer)| answer))
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
