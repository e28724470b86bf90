//! `socksd reload --preview`: what a reload would change, for a person.

use serde_json::Value;
use socks_config::{Change, KeyChange, Way};

use crate::preview::{Foreseen, Preview, Section};
use crate::rejudge::Swept;

use super::screen::{Mood, Screen};
use super::{Exit, admin, say};

/// Shows the answer; the exit code tells whether an open session would lose its permit.
pub(super) fn show(answer: Value, json: bool) -> Result<Exit, Exit> {
    let shown = json.then(|| admin::pretty(&answer));
    let preview: Preview = admin::read(answer)?;
    match shown {
        Some(json) => say(json),
        None => {
            preview.warnings.iter().for_each(|warning| eprintln!("{warning}"));
            say(text(&preview, Screen::output()));
        }
    }
    Ok(if preview.takes_permits() { Exit::No } else { Exit::Done })
}

fn text(preview: &Preview, screen: Screen) -> String {
    let mut lines = vec![match preview.sections.is_empty() {
        true => format!("no change of policy {}", preview.policy),
        false => {
            format!("a reload would change policy {} as follows; nothing has changed yet", preview.policy)
        }
    }];
    preview.sections.iter().for_each(|section| section_lines(section, screen, &mut lines));
    session_lines(preview, screen, &mut lines);
    lines.join("\n")
}

fn section_lines(section: &Section, screen: Screen, lines: &mut Vec<String>) {
    let Section { section, total, changes } = section;
    lines.push(format!("{section}: {total}"));
    lines.extend(changes.iter().map(|change| change_line(change, screen)));
    lines.extend(more(total - changes.len()));
}

fn change_line(change: &Change, screen: Screen) -> String {
    let (word, mood) = match change.change {
        Way::Added => ("added", Mood::Good),
        Way::Removed => ("removed", Mood::Bad),
        Way::Changed => ("changed", Mood::Note),
        Way::Moved => ("moved", Mood::Note),
        Way::Shadowed => ("shadowed", Mood::Warning),
    };
    let keys: Vec<String> = change.keys.iter().map(key_text).collect();
    let keys = if keys.is_empty() { String::new() } else { format!(": {}", keys.join("; ")) };
    format!("  {} {}{keys}", screen.paint(mood, word), change.name)
}

/// `port 25 -> 587`; a value that comes or goes has nothing on the other side.
fn key_text(change: &KeyChange) -> String {
    let KeyChange { key, before, after } = change;
    let space = if key.is_empty() { "" } else { " " };
    match (before, after) {
        (Some(before), Some(after)) => format!("{key}{space}{before} -> {after}"),
        (Some(before), None) => format!("{key}{space}{before} -> nothing"),
        (None, Some(after)) => format!("{key}{space}{after}"),
        (None, None) => key.clone(),
    }
}

fn session_lines(preview: &Preview, screen: Screen, lines: &mut Vec<String>) {
    let sessions = &preview.sessions;
    let Swept { moved, kept, draining, ended } = sessions.swept;
    let lost = kept + draining + ended;
    lines.push(format!(
        "open sessions: {}; {moved} under another rule; permit lost: {ended} ended, {draining} draining, {kept} kept",
        sessions.open
    ));
    for session in &sessions.lost {
        let on_revoke = screen.paint(Mood::Bad, session.on_revoke.as_deref().unwrap_or("-"));
        let why = session.why.as_deref().unwrap_or("-");
        lines.push(format!("  {on_revoke} {}: {why}", session_text(session)));
    }
    lines.extend(more(lost - sessions.lost.len().min(lost)));
    for session in &sessions.under_another_rule {
        let to = session.to.as_deref().unwrap_or("-");
        lines.push(format!("  {} {} -> {to}", screen.paint(Mood::Note, "moved"), session_text(session)));
    }
    lines.extend(more(moved - sessions.under_another_rule.len().min(moved)));
}

fn session_text(session: &Foreseen) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let Foreseen { session, client, identity, target, rule, .. } = session;
    let [identity, target, rule] = [identity, target, rule].map(or_none);
    format!("{session} {identity} from {client} to {target} by rule `{rule}`")
}

fn more(count: usize) -> Option<String> {
    (count > 0).then(|| format!("  and {count} more"))
}
