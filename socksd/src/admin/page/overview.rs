//! The gateway as a whole: is it well, which policy is in force, how much goes through it.

use jiff::Timestamp;

use crate::admin::html::Html;
use crate::admin::listing::{Listing, Totals};
use crate::admin::status::Status;
use crate::audit::ReloadResult;
use crate::last_reload::Reload;

use super::View;
use super::quantity::{Count, Rate, Span};

/// Warnings that are shown.
const MOST_WARNINGS: usize = 100;

impl View<'_> {
    pub(super) fn overview(&self) -> Html {
        let status = Status::of(&self.desk.gateway, &self.desk.sources.reception.listeners());
        let mut html = Html::default();
        html.raw("<section id=gateway aria-label=Gateway><dl class=strip>");
        state(&mut html, &status);
        policy(&mut html, &status);
        reload(&mut html, status.last_reload.as_ref());
        counts(&mut html, &status, &self.listing);
        html.raw("</dl>");
        mistakes(&mut html, status.last_reload.as_ref());
        warnings(&mut html, &status.warnings);
        html.raw("</section>");
        html
    }
}

fn state(html: &mut Html, status: &Status) {
    html.raw("<div><dt>State</dt>");
    match status.unready.as_deref() {
        None => html.raw("<dd><span class=\"state good\">Serving</span></dd>"),
        Some("the gateway stops") => html.raw("<dd><span class=\"state warn\">Draining</span></dd>"),
        Some(_) => html.raw("<dd><span class=\"state bad\">Refusing</span></dd>"),
    };
    html.raw("<dd class=sub>");
    match &status.unready {
        Some(why) => html.text(why),
        None => html.text("up ").text(Span::since(status.started)).text(", ").text(&status.version),
    };
    html.raw("</dd></div><div><dt>Listens</dt>");
    for listener in status.listeners.iter().take(2) {
        html.within("<dd class=small>", listener.address, " ").within(
            "<span class=sub>",
            &listener.name,
            "</span></dd>",
        );
    }
    if let Some(more) = status.listeners.len().checked_sub(3) {
        html.within("<dd class=sub>and ", more + 1, " more</dd>");
    }
    html.raw("</div>");
}

fn policy(html: &mut Html, status: &Status) {
    html.within("<div><dt>Policy</dt><dd>generation ", status.policy, "</dd><dd class=sub>");
    html.text(Count(status.rules as u64)).text(if status.rules == 1 { " rule" } else { " rules" });
    html.text(", read ");
    moment(html, status.loaded);
    html.raw("</dd></div>");
}

fn reload(html: &mut Html, last: Option<&Reload>) {
    html.raw("<div><dt>Last reload</dt>");
    let Some(Reload { time, who, result, .. }) = last else {
        html.raw("<dd>none</dd><dd class=sub>since the start</dd></div>");
        return;
    };
    match result {
        ReloadResult::Applied => html.raw("<dd><span class=\"state good\">Applied</span></dd>"),
        ReloadResult::Refused => html.raw("<dd><span class=\"state bad\">Refused</span></dd>"),
    };
    html.raw("<dd class=sub>");
    moment(html, *time);
    html.text(" by ").text(who.as_deref().unwrap_or("a signal")).raw("</dd></div>");
}

fn counts(html: &mut Html, status: &Status, listing: &Listing) {
    let Totals { rates, stages } = listing.all;
    html.within("<div><dt>Sessions</dt><dd>", Count(listing.open as u64), " open</dd><dd class=sub>");
    html.text(Count((stages.greeting + stages.authenticated) as u64)).text(" logging in, ");
    html.text(Count(stages.opening as u64)).raw(" opening</dd></div>");
    html.raw("<div><dt>Traffic</dt><dd class=n><span class=way>up</span> ").text(Rate(rates.up));
    html.raw("</dd><dd class=n><span class=way>down</span> ").text(Rate(rates.down)).raw("</dd></div>");
    html.within("<div><dt>Since the start</dt><dd>", Count(status.begun), "");
    html.raw(if status.begun == 1 { " session</dd>" } else { " sessions</dd>" });
    html.within("<dd class=sub>", Count(status.denied), " denied</dd></div>");
}

/// What was wrong with the files, in full.
fn mistakes(html: &mut Html, last: Option<&Reload>) {
    if let Some(detail) = last.and_then(|last| last.detail.as_deref()) {
        html.raw("<div class=\"notice bad\"><h3>The files as they are now were refused: what was read before is in force</h3>");
        html.within("<pre tabindex=0>", detail, "</pre></div>");
    }
}

fn warnings(html: &mut Html, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    html.raw("<div class=\"notice warn\"><h3>").text(warnings.len());
    html.text(if warnings.len() == 1 { " warning" } else { " warnings" }).raw(" in force</h3><ul>");
    for warning in warnings.iter().take(MOST_WARNINGS) {
        html.within("<li><pre>", warning.trim(), "</pre></li>");
    }
    html.raw("</ul></div>");
}

/// How long ago that was, and when exactly.
pub(super) fn moment(html: &mut Html, time: Timestamp) {
    let exact = format!("{time:.0}");
    html.raw("<time").attribute("datetime", &exact).attribute("title", &exact).raw(">");
    html.text(Span::since(time)).raw(" ago</time>");
}
