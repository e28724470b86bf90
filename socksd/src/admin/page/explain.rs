//! The question to the policy as a form, and its answer as people read it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use socks_core::Level;
use socks_policy::{Explanation, Outcome, Verdict};

use crate::admin::Desk;
use crate::admin::api::{Refused, judge};
use crate::admin::html::Html;
use crate::explain::{Answer, Question};

use super::sessions::option;

/// Rules that are shown of one explanation.
const MOST_RULES: usize = 100;
const SHADOW: &str = "shadow";
const COMMANDS: [&str; 3] = ["connect", "bind", "udp-associate"];

/// What the form says. A field that is left empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Form {
    from: String,
    identity: String,
    /// One in each line.
    groups: String,
    groups_missing: String,
    method: String,
    protection: String,
    listener: String,
    command: String,
    to: String,
    peer: String,
    at: String,
    /// Which policy is asked: `shadow`, or the one in force.
    policy: String,
}

impl Form {
    /// The question, with the reason if it is none.
    fn question(&self) -> Result<Question, String> {
        let fields = [
            ("from", &self.from),
            ("identity", &self.identity),
            ("groups-missing", &self.groups_missing),
            ("method", &self.method),
            ("protection", &self.protection),
            ("listener", &self.listener),
            ("command", &self.command),
            ("to", &self.to),
            ("peer", &self.peer),
            ("at", &self.at),
        ];
        let mut question = Map::new();
        for (name, text) in fields {
            // A name may begin or end with a space; nothing else does.
            let text = if name == "identity" { text } else { text.trim() };
            if !text.is_empty() {
                question.insert(name.into(), text.into());
            }
        }
        let groups = self.groups.lines().map(str::trim).filter(|group| !group.is_empty());
        question.insert("group".into(), groups.collect());
        question.insert("shadow".into(), (self.policy == SHADOW).into());
        if self.groups_missing.is_empty() || self.groups.trim().is_empty() {
            serde_json::from_value(Value::Object(question)).map_err(|error| error.to_string())
        } else {
            Err("groups are known, or they could not be learned: not both".into())
        }
    }

    pub(super) fn form(&self, desk: &Desk) -> Html {
        let mut html = Html::default();
        html.raw("<form id=question action=\"/explain#explain\" aria-label=\"Question to the policy\"><div class=fields>");
        field(&mut html, ("from", "Client address", "10.20.1.7"), &self.from, true);
        field(&mut html, ("identity", "Identity", "anonymous"), &self.identity, false);
        field(&mut html, ("to", "Target", "host:443"), &self.to, false);
        select(&mut html, ("command", "Command"), COMMANDS, &self.command);
        select(&mut html, ("protection", "Protection"), Level::ALL.map(Level::as_str), &self.protection);
        let snapshot = desk.gateway.snapshot.load();
        if snapshot.shadow.is_some() {
            select(&mut html, ("policy", "Policy"), ["in force", SHADOW], &self.policy);
        }
        html.raw("</div><details").raw(if self.says_more() { " open" } else { "" });
        html.raw("><summary>More facts</summary><div class=fields>");
        html.raw("<label>Groups, one in each line <textarea name=groups rows=2 spellcheck=false>");
        // A parser drops a line feed at the very beginning.
        html.raw("\n").text(&self.groups).raw("</textarea></label>");
        let missing = ("groups-missing", "Groups not learned, because", "");
        field(&mut html, missing, &self.groups_missing, false);
        field(&mut html, ("method", "Authenticator", "as the identity says"), &self.method, false);
        let listeners = snapshot.listeners.iter().map(|listener| &*listener.name);
        select(&mut html, ("listener", "Listener"), listeners, &self.listener);
        field(&mut html, ("peer", "Arriving peer, for bind", "192.0.2.7:20"), &self.peer, false);
        field(&mut html, ("at", "When", "now"), &self.at, false);
        html.raw("</div></details><div class=buttons><button class=main>Explain</button></div></form>");
        html
    }

    fn says_more(&self) -> bool {
        [&self.groups, &self.groups_missing, &self.peer, &self.at].into_iter().any(|text| !text.is_empty())
    }

    /// Only filled in: there is nothing to ask yet.
    fn lacks_target(&self) -> bool {
        self.to.trim().is_empty() && ["", "connect"].contains(&self.command.as_str())
    }
}

fn field(
    html: &mut Html,
    (name, label, hint): (&'static str, &'static str, &'static str),
    value: &str,
    is_required: bool,
) {
    html.within("<label>", label, " <input autocomplete=off spellcheck=false").attribute("name", name);
    html.attribute("placeholder", hint).attribute("value", value);
    html.raw(if is_required { " required></label>" } else { "></label>" });
}

fn select<'a>(
    html: &mut Html,
    (name, label): (&'static str, &'static str),
    words: impl IntoIterator<Item = &'a str>,
    chosen: &str,
) {
    html.within("<label>", label, " <select").attribute("name", name).raw(">");
    for word in words {
        option(html, word, word, word == chosen);
    }
    html.raw("</select></label>");
}

/// Where an answer stands.
pub(super) fn place(answer: &Html) -> Html {
    let mut html = Html::default();
    html.raw("<div id=answer tabindex=-1>").add(answer).raw("</div>");
    html
}

/// What the policy in force says; what is wrong with the question is an answer too.
pub(super) async fn answer(desk: &Arc<Desk>, form: Form) -> Result<(Form, Html), Refused> {
    let mut html = Html::default();
    if form.lacks_target() {
        html.raw("<p class=note>It asked for nothing yet, so say where it would like to go.</p>");
        return Ok((form, html));
    }
    let question = match form.question() {
        Ok(question) => question,
        Err(why) => {
            wrong(&mut html, &why);
            return Ok((form, html));
        }
    };
    match judge(desk, question).await? {
        Ok(answer) => show(&mut html, &form, &answer),
        Err(why) => wrong(&mut html, &why),
    }
    Ok((form, html))
}

fn wrong(html: &mut Html, why: &str) {
    html.within("<p class=\"notice bad\">That is no question: ", why, "</p>");
}

fn show(html: &mut Html, form: &Form, answer: &Answer) {
    let identity = if form.identity.is_empty() { "anonymous" } else { &form.identity };
    verdict(html, &answer.request.verdict);
    html.raw("<p class=asked>").within("<b>", identity, "</b>").text(" from ").text(&form.from);
    if !form.to.is_empty() {
        html.within(" to <b>", &form.to, "</b>");
    }
    if form.policy == SHADOW {
        html.text(", asked of the shadow policy");
    }
    html.raw("</p>");
    explanation(html, &answer.request);
    if let Some(resolved) = &answer.resolved {
        html.within("<h3>", &resolved.name, " resolves to</h3>");
        if let Some(error) = &resolved.error {
            html.within("<p class=\"notice bad\">", error, "</p>");
        }
        for address in &resolved.addresses {
            html.within("<details><summary>", address.address, " ");
            word(html, &address.explanation.verdict);
            html.raw("</summary>");
            explanation(html, &address.explanation);
            html.raw("</details>");
        }
    }
    if let Some(arrival) = &answer.arrival {
        html.within("<h3>", arrival.peer, " arrives</h3>");
        if !arrival.expected {
            html.raw("<p class=note>It is not the expected peer");
            html.raw(if arrival.only_expected { ", and refused for that.</p>" } else { ".</p>" });
        }
        verdict(html, &arrival.explanation.verdict);
        explanation(html, &arrival.explanation);
    }
}

fn verdict(html: &mut Html, verdict: &Verdict) {
    html.raw(match verdict {
        Verdict::Permit { .. } => "<p class=\"verdict state good\"><span>Permitted",
        Verdict::Deny { .. } => "<p class=\"verdict state bad\"><span>Denied",
        Verdict::Needs { .. } => "<p class=\"verdict state warn\"><span>Depends",
    });
    // The sentence begins with that word.
    let text = verdict.to_string();
    html.marked(text.trim_start_matches(|letter: char| letter.is_alphabetic())).raw("</span></p>");
}

/// One word that can be seen from afar.
fn word(html: &mut Html, verdict: &Verdict) {
    html.raw(match verdict {
        Verdict::Permit { .. } => "<span class=\"state good\">Permit</span>",
        Verdict::Deny { .. } => "<span class=\"state bad\">Deny</span>",
        Verdict::Needs { .. } => "<span class=\"state warn\">Depends</span>",
    });
}

fn explanation(html: &mut Html, explanation: &Explanation) {
    if explanation.admitted == Some(false) {
        html.raw("<p class=note>No row of <code>clients</code> lets this client in with this method and protection.</p>");
    }
    let left_out = explanation.rules.len().saturating_sub(MOST_RULES);
    if left_out > 0 {
        html.within(
            "<p class=note>",
            left_out,
            " rules before these are not shown: none of them decides.</p>",
        );
    }
    html.raw("<div class=scroll tabindex=0 role=region aria-label=\"Rules in order\"><table><thead><tr>");
    html.raw("<th scope=col>Rule<th scope=col class=n>Line<th scope=col>Action<th scope=col>Outcome</tr></thead><tbody>");
    for considered in explanation.rules.iter().skip(left_out) {
        html.raw(match considered.outcome {
            Outcome::Matches => "<tr class=matches>",
            Outcome::MayMatch => "<tr class=may>",
            Outcome::DoesNotMatch => "<tr class=not>",
        });
        html.within("<td>", &considered.rule, "").within("<td class=n>", considered.line, "");
        html.within("<td>", considered.action, "").within("<td>", considered.outcome, "");
        if let Some(reason) = &considered.reason {
            html.raw("<span class=sub>").marked(reason).raw("</span>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
    if explanation.not_reached > 0 {
        html.within("<p class=note>Rules behind, not reached: ", explanation.not_reached, "</p>");
    }
}
