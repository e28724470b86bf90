//! The table of open sessions, and the form that says which.

use serde::Deserialize;

use crate::admin::html::Html;
use crate::admin::listing::{Listing, Order, Part};
use crate::admin::rows::{Row, parse_network};
use crate::roster::{Facts, Live, Roster};

use super::View;
use super::quantity::{Count, Octets, Rate, Span};

/// How many sessions the form offers to show.
const LIMITS: [&str; 4] = ["25", "50", "100", "250"];
const ORDERS: [(Order, &str, &str); 4] = [
    (Order::Newest, "newest", "newest first"),
    (Order::Oldest, "oldest", "oldest first"),
    (Order::Rate, "rate", "highest rate first"),
    (Order::Octets, "octets", "most octets first"),
];

/// What the form says. A field that is left empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    identity: String,
    rule: String,
    source: String,
    sort: String,
    limit: String,
}

impl Choice {
    fn order(&self) -> Order {
        let chosen = ORDERS.into_iter().find(|(_, word, _)| *word == self.sort);
        chosen.map_or(Order::default(), |(order, ..)| order)
    }

    fn limit(&self) -> usize {
        let chosen = LIMITS.into_iter().find(|limit| *limit == self.limit).unwrap_or(LIMITS[1]);
        chosen.parse().unwrap_or_default()
    }

    /// The sessions that are meant; none, with the reason, if that cannot be told.
    pub(super) fn listing(&self, roster: &Roster) -> (Listing, Option<String>) {
        let part = Part { order: self.order(), limit: self.limit(), after: None };
        match self.test() {
            Ok(is_meant) => (Listing::of(roster, part, is_meant), None),
            Err(why) => (Listing::of(roster, part, |_, _| false), Some(why)),
        }
    }

    fn is_filter(&self) -> bool {
        [&self.identity, &self.rule, &self.source].into_iter().any(|text| !text.trim().is_empty())
    }

    /// The test for what a person has typed: parts of names, in any case.
    fn test(&self) -> Result<impl Fn(&Live, &Facts) -> bool, String> {
        let source = Some(self.source.trim()).filter(|text| !text.is_empty());
        let source = source.map(parse_network).transpose()?;
        let [identity, rule] = [&self.identity, &self.rule].map(|text| text.trim().to_lowercase());
        let has = |whole: &str, part: &str| whole.to_lowercase().contains(part);
        Ok(move |live: &Live, facts: &Facts| {
            let who = || facts.identity.as_deref().map(ToString::to_string);
            source.is_none_or(|source| source.contains(&live.client().ip()))
                && (rule.is_empty() || facts.rule.as_deref().is_some_and(|name| has(name, &rule)))
                && (identity.is_empty() || who().is_some_and(|name| has(&name, &identity)))
        })
    }

    pub(super) fn form(&self) -> Html {
        let mut html = Html::default();
        html.raw("<form id=filter action=\"/\" role=search aria-label=\"Filter the sessions\">");
        for (name, label, hint, value) in [
            ("identity", "Identity", "part of it", &self.identity),
            ("rule", "Rule", "part of it", &self.rule),
            ("source", "Source", "address or network", &self.source),
        ] {
            html.within("<label>", label, " <input autocomplete=off spellcheck=false");
            html.attribute("name", name).attribute("placeholder", hint).attribute("value", value);
            html.raw("></label>");
        }
        html.raw("<label>Order <select name=sort>");
        let order = self.order();
        for (known, word, text) in ORDERS {
            option(&mut html, word, text, known == order);
        }
        html.raw("</select></label><label>Show <select name=limit>");
        let limit = self.limit().to_string();
        for known in LIMITS {
            option(&mut html, known, known, known == limit);
        }
        html.raw("</select></label><button class=main>Filter</button>");
        html.raw("<a class=button id=clear href=\"/\">Clear</a></form>");
        html
    }
}

/// One of a list to choose from.
pub(super) fn option(html: &mut Html, value: &str, text: &str, is_chosen: bool) {
    html.raw("<option").attribute("value", value).raw(if is_chosen { " selected>" } else { ">" });
    html.text(text).raw("</option>");
}

impl View<'_> {
    pub(super) fn session_list(&self) -> Html {
        let mut html = Html::default();
        html.raw("<div id=session-list>");
        match &self.mistake {
            Some(why) => {
                html.within("<p class=\"notice bad\">Source: ", why, "</p>");
            }
            None => self.table(&mut html, &self.listing),
        }
        html.raw("</div>");
        html
    }

    fn table(&self, html: &mut Html, listing: &Listing) {
        html.raw("<p class=note>");
        let (shown, matching) = (listing.sessions.len() as u64, listing.matching as u64);
        match self.choice.is_filter() {
            true => html.text(Count(matching)).text(" of ").text(Count(listing.open as u64)).text(" match"),
            false => html.text(Count(matching)).text(" open"),
        };
        if shown < matching {
            html.text(", the first ").text(Count(shown)).text(" are shown");
        }
        html.raw("</p>");
        if listing.sessions.is_empty() {
            html.raw("<p class=empty>No session.</p>");
            return;
        }
        html.raw("<div class=scroll tabindex=0 role=region aria-label=\"Open sessions\"><table><thead><tr>");
        html.raw("<th scope=col>Identity<th scope=col>Source<th scope=col>Target<th scope=col>Rule");
        html.raw(
            "<th scope=col>Stage<th scope=col class=n>Up<th scope=col class=n>Down<th scope=col class=n>Age",
        );
        if self.caller.is_operator() {
            html.raw("<th scope=col class=act><span class=unseen>End</span>");
        }
        html.raw("</tr></thead><tbody>");
        for row in &listing.sessions {
            self.row(html, row);
        }
        html.raw("</tbody></table></div>");
    }

    fn row(&self, html: &mut Html, row: &Row) {
        html.raw("<tr").attribute("id", format_args!("s-{}", row.session)).raw("><td>");
        match &row.identity {
            Some(identity) => html.within("<b>", identity, "</b>"),
            None => html.raw("<span class=none>not yet known</span>"),
        };
        // A plain name has its method before it.
        let is_told = |method: &&str| row.identity.as_deref().is_some_and(|who| who.starts_with(*method));
        let method = row.method.as_deref().filter(|method| !is_told(method));
        subline(html, [method, row.protection.as_deref().filter(|level| *level != "none")]);
        html.within("<td>", row.client, "");
        let via = row.via.map(|via| format!("via {via}"));
        subline(html, [Some(row.listener.as_str()), via.as_deref()]);
        html.raw("<td>").text(row.target.as_deref().unwrap_or("–"));
        let dialled = row.dialled.map(|address| address.to_string());
        let dialled = dialled.filter(|address| Some(address) != row.target.as_ref());
        let upstream = row.upstream.as_ref().map(|name| format!("through {name}"));
        subline(html, [row.command.as_deref(), dialled.as_deref(), upstream.as_deref()]);
        html.raw("<td>").text(row.rule.as_deref().unwrap_or("–"));
        let policy = (row.policy > 0).then(|| format!("policy {}", row.policy));
        subline(html, [policy.as_deref()]);
        html.raw("<td><span").attribute("class", format_args!("stage {}", row.stage.as_str())).raw(">");
        html.text(row.stage.as_str()).raw("</span>");
        for (rate, octets) in [(row.rates.up, row.up), (row.rates.down, row.down)] {
            html.raw(if rate > 0 { "<td class=n>" } else { "<td class=\"n zero\">" });
            html.text(Rate(rate)).within("<span class=sub>", Octets(octets), "</span>");
        }
        html.within("<td class=n>", Span(row.seconds), "").within(
            "<span class=sub>",
            &row.session,
            "</span>",
        );
        if self.caller.is_operator() {
            end_button(html, row);
        }
        html.raw("</tr>");
    }
}

/// What the script needs to ask, and to act.
fn end_button(html: &mut Html, row: &Row) {
    let who = row.identity.as_deref().unwrap_or("somebody not yet known");
    let target = row.target.as_deref().unwrap_or("nowhere yet");
    html.raw("<td class=act><button type=button class=end");
    html.attribute("data-session", &row.session).attribute("data-client", row.client);
    html.attribute("data-target", target).attribute("data-rule", row.rule.as_deref().unwrap_or("–"));
    if let Some(identity) = &row.identity {
        html.attribute("data-identity", identity);
    }
    html.attribute("aria-label", format_args!("End the session of {who} to {target}"));
    html.raw(">End…</button>");
}

/// A second line of a cell, for what matters less.
pub(super) fn subline<const N: usize>(html: &mut Html, parts: [Option<&str>; N]) {
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        html.within("<span class=sub>", parts.join(" · "), "</span>");
    }
}
