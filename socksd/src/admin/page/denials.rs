//! The last denials, each with a way to ask why.

use form_urlencoded::Serializer;

use crate::admin::html::Html;
use crate::denials::{Denied, Told};

use super::View;
use super::overview::moment;
use super::quantity::Count;
use super::sessions::subline;

/// Denials that are shown.
const MOST: usize = 25;

impl View<'_> {
    pub(super) fn denial_list(&self) -> Html {
        let last = self.desk.gateway.denials.last(MOST);
        let mut html = Html::default();
        html.raw("<div id=denial-list>");
        if last.is_empty() {
            html.raw("<p class=empty>Nobody was denied since the start.</p></div>");
            return html;
        }
        html.raw("<div class=scroll tabindex=0 role=region aria-label=\"Last denials\"><table><thead><tr>");
        html.raw("<th scope=col>When<th scope=col>Who<th scope=col>Wanted<th scope=col>Reason");
        html.raw("<th scope=col class=act><span class=unseen>Explain</span></tr></thead><tbody>");
        for told in &last {
            row(&mut html, told);
        }
        html.raw("</tbody></table></div></div>");
        html
    }
}

fn row(html: &mut Html, Told { time, count, denied }: &Told) {
    html.raw("<tr").attribute("id", format_args!("d-{}", denied.session)).raw("><td class=when>");
    moment(html, *time);
    if *count > 1 {
        html.within("<span class=sub>", Count(*count), " times</span>");
    }
    html.raw("<td>");
    match (&denied.identity, &denied.claimed_identity) {
        (Some(identity), _) => html.within("<b>", identity, "</b>"),
        (None, Some(claimed)) => html.within("<span class=none>says it is</span> ", claimed, ""),
        (None, None) => html.raw("<span class=none>not known</span>"),
    };
    let client = denied.client.to_string();
    let more =
        (denied.groups_left_out > 0).then(|| format!("{} more groups than kept", denied.groups_left_out));
    let method = denied.method.as_deref().filter(|_| denied.identity.is_none());
    subline(html, [Some(client.as_str()), method, more.as_deref()]);
    html.raw("<td>").text(denied.target.as_deref().unwrap_or("–"));
    subline(html, [denied.command]);
    html.raw("<td>").marked(if denied.detail.is_empty() { denied.cause } else { &denied.detail });
    let rule = denied.rule.as_ref().map(|rule| format!("rule {rule}"));
    subline(html, [Some(denied.cause), rule.as_deref()]);
    html.raw("<td class=act><a class=\"button ask\"").attribute("href", question(denied));
    let who = denied.identity.as_deref().unwrap_or("an unknown client");
    html.attribute("aria-label", format_args!("Explain the denial of {who}")).raw(">Explain</a></tr>");
}

/// The form's address with what is known of the denial filled in.
fn question(denied: &Denied) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("from", &denied.client.ip().to_string());
    let claimed = || Some(format!("{}:{}", denied.method.as_deref()?, denied.claimed_identity.as_deref()?));
    let who = denied.asks_as.clone().or_else(claimed);
    let groups = denied.groups.join("\n");
    let fields = [
        ("identity", who.as_deref()),
        ("groups", Some(groups.as_str())),
        ("groups-missing", denied.groups_missing.as_deref()),
        ("method", denied.method.as_deref()),
        ("protection", denied.protection),
        ("listener", Some(denied.listener.as_str())),
        ("command", denied.command),
        ("to", denied.target.as_deref()),
    ];
    for (name, value) in fields {
        query.extend_pairs(value.filter(|value| !value.is_empty()).map(|value| (name, value)));
    }
    format!("/explain?{}#explain", query.finish())
}
