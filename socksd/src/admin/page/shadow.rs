//! How the shadow policy would have decided otherwise, if there is one.

use std::path::Path;

use crate::admin::html::Html;
use crate::shadow::{Difference, Kind, Report};

use super::View;
use super::overview::moment;
use super::quantity::Count;
use super::sessions::subline;

/// Differences that are shown.
const MOST: usize = 20;

impl View<'_> {
    pub(super) fn shadow(&self) -> Html {
        let snapshot = self.desk.gateway.snapshot.load();
        let mut html = Html::default();
        let Some(shadow) = &snapshot.shadow else {
            html.raw("<section id=shadow hidden aria-label=\"Shadow policy\"></section>");
            return html;
        };
        let report = Report::of(Some(shadow), snapshot.ruleset.generation());
        html.raw("<section id=shadow aria-label=\"Shadow policy\"><div class=bar><h2>Shadow policy</h2>");
        let path = report.file.as_deref().unwrap_or_default();
        let name = Path::new(path).file_name().unwrap_or_default();
        html.raw("<p class=note><code")
            .attribute("title", path)
            .raw(">")
            .text(name.display())
            .raw("</code>, ");
        html.text(Count(report.rules as u64)).text(" rules, ").text(Count(report.compared));
        html.text(" decisions compared since it began");
        if let Some(since) = report.since {
            html.raw(" ");
            moment(&mut html, since);
        }
        html.raw("</p></div>");
        if report.failed {
            html.raw(
                "<p class=\"notice bad\">It judges no more, for a bug of the gateway’s: see its log.</p>",
            );
        }
        table(&mut html, &report);
        html.raw("</section>");
        html
    }
}

fn table(html: &mut Html, report: &Report) {
    if report.differences.is_empty() {
        html.raw("<p class=empty>It would have decided the same every time.</p>");
        return;
    }
    html.raw("<p class=note>In sessions: ");
    let counts =
        Kind::ALL.map(|kind| (word(kind), report.counts.get(kind.as_str()).copied().unwrap_or_default()));
    let counts: Vec<_> = counts.iter().map(|(word, count)| format!("{word} {}", Count(*count))).collect();
    html.text(counts.join(" · ")).raw("</p>");
    html.raw(
        "<div class=scroll tabindex=0 role=region aria-label=\"Differences of the shadow policy\"><table>",
    );
    html.raw("<thead><tr><th scope=col>It<th scope=col>Policy in force<th scope=col>Shadow policy");
    html.raw("<th scope=col class=n>Sessions<th scope=col>Last<th scope=col>For</tr></thead><tbody>");
    for row in report.differences.iter().take(MOST) {
        let Difference { kind, live_rule, live_reason, shadow_rule, shadow_reason } = &row.difference;
        html.raw("<tr><td>").raw(match kind {
            Kind::WouldDeny => "<span class=\"state bad\">",
            Kind::WouldPermit => "<span class=\"state warn\">",
            Kind::OtherRule | Kind::Undecided => "<span class=none>",
        });
        html.text(word(*kind)).raw("</span>");
        for (rule, reason) in [(live_rule, live_reason), (shadow_rule, shadow_reason)] {
            html.raw("<td>").text(rule.as_deref().unwrap_or("no rule"));
            subline(html, [*reason]);
        }
        html.within("<td class=n>", Count(row.count), "<td class=when>");
        moment(html, row.last);
        html.raw("<td>");
        if let Some(shown) = report.examples.iter().find(|shown| shown.difference == row.difference) {
            let example = &shown.example;
            html.text(example.identity.as_deref().unwrap_or("not known"));
            let client = example.client.to_string();
            subline(html, [Some(client.as_str()), example.target.as_deref()]);
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}

/// What it would do, for people.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::WouldDeny => "would deny",
        Kind::WouldPermit => "would permit",
        Kind::OtherRule => "other rule",
        Kind::Undecided => "undecided",
    }
}
