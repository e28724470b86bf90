//! The page for people: HTML made here, with a little script that keeps it fresh and acts for an operator.
//!
//! It can be read and asked without the script: filters and questions are plain forms.

mod denials;
mod explain;
mod overview;
mod quantity;
mod sessions;
mod shadow;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use rustix::system::uname;

use super::Desk;
use super::access::Caller;
use super::api::Refused;
use super::html::Html;
use super::listing::Listing;

use explain::Form;
use sessions::Choice;

/// Nothing but this program's own files runs or is shown, and no text can be made to run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// The page's paths.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(page))
        .route("/explain", get(explained))
        .route("/part/live", get(live))
        .route("/part/explain", get(answer))
        .route("/page.css", get(async || file("text/css; charset=utf-8", include_str!("page.css"))))
        .route("/page.js", get(async || file("text/javascript; charset=utf-8", include_str!("page.js"))))
        .route("/page.svg", get(async || file("image/svg+xml", include_str!("page.svg"))))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

/// The page as somebody sees it.
struct View<'a> {
    desk: &'a Desk,
    caller: &'a Caller,
    choice: Choice,
    /// All sessions are looked at once for all that is shown.
    listing: Listing,
    /// What is wrong with the choice.
    mistake: Option<String>,
}

async fn page(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(choice) = choice?;
    let view = View::of(&desk, &caller, choice);
    Ok(view.whole(&Form::default(), &Html::default()))
}

/// The page with the answer to a question.
async fn explained(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    form: Result<Query<Form>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(form) = form?;
    let (form, answer) = explain::answer(&desk, form).await?;
    let view = View::of(&desk, &caller, Choice::default());
    Ok(view.whole(&form, &answer))
}

/// What changes by itself, for the script.
async fn live(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(choice) = choice?;
    let view = View::of(&desk, &caller, choice);
    let mut html = Html::default();
    html.raw("<!doctype html><title>socksd</title>").add(&view.me()).add(&view.overview());
    html.add(&view.session_list()).add(&view.denial_list()).add(&view.shadow());
    Ok(answer_html(html))
}

/// The answer to a question alone, for the script.
async fn answer(
    State(desk): State<Arc<Desk>>,
    form: Result<Query<Form>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(form) = form?;
    let (_, answer) = explain::answer(&desk, form).await?;
    let mut html = Html::default();
    html.raw("<!doctype html><title>socksd</title>").add(&explain::place(&answer));
    Ok(answer_html(html))
}

impl<'a> View<'a> {
    fn of(desk: &'a Desk, caller: &'a Caller, choice: Choice) -> Self {
        let (listing, mistake) = choice.listing(&desk.gateway.roster);
        Self { desk, caller, choice, listing, mistake }
    }

    fn whole(&self, form: &Form, answer: &Html) -> Response {
        let mut html = Html::default();
        let machine = uname();
        // Who has several gateways open has to tell them apart.
        let host = machine.nodename().to_string_lossy();
        html.raw("<!doctype html>\n<html lang=en><head><meta charset=utf-8>");
        html.within("<title>", &host, " – socksd</title>").raw(HEAD).text(&host).raw(NAV);
        html.add(&self.me()).raw(TOOLS);
        html.raw("<main>").add(&self.overview());
        html.raw(
            "<section id=sessions aria-labelledby=h-sessions><div class=bar><h2 id=h-sessions>Sessions</h2>",
        );
        html.add(&self.choice.form()).raw("</div>").add(&self.session_list()).raw("</section>");
        html.raw("<div class=pair><div><section id=denials aria-labelledby=h-denials>");
        html.raw("<div class=bar><h2 id=h-denials>Last denials</h2></div>").add(&self.denial_list());
        html.raw("</section>")
            .add(&self.shadow())
            .raw("</div><section id=explain aria-labelledby=h-explain>");
        html.raw("<div class=bar><h2 id=h-explain>Explain</h2>");
        html.raw("<p class=note>What the policy in force says, and why</p></div>");
        html.add(&form.form(self.desk)).add(&explain::place(answer)).raw("</section></div>");
        html.raw("</main>").raw(TAIL);
        answer_html(html)
    }

    /// Who looks, and what he may do.
    fn me(&self) -> Html {
        let mut html = Html::default();
        html.raw("<p id=me").attribute("data-sign-in", self.caller.may_sign_in()).raw(">");
        let role = if self.caller.is_operator() { "operator" } else { "viewer" };
        html.within("<span class=pill>", role, "</span> ").text(&self.caller.name).raw("</p>");
        html
    }
}

fn answer_html(html: Html) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    (headers, html.into_string()).into_response()
}

const HEAD: &str = include_str!("head.html");
const NAV: &str = include_str!("nav.html");
const TOOLS: &str = include_str!("tools.html");
const TAIL: &str = include_str!("tail.html");

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_runs_within_the_markup() {
        let files = [
            include_str!("head.html"),
            include_str!("nav.html"),
            include_str!("tools.html"),
            include_str!("tail.html"),
            include_str!("page.css"),
            include_str!("page.js"),
            include_str!("page.svg"),
        ];
        for text in files {
            let foreign = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("http:") && !foreign.contains("https:") && !foreign.contains("//cdn"));
            for inline in [" style=", " onclick=", " onload=", "javascript:", "innerHTML", "eval(", "@import"]
            {
                assert!(!text.contains(inline), "{inline}");
            }
        }
    }
}
