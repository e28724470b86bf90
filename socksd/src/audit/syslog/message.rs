//! One record as a message of RFC 5424.

use std::fmt::Write;

use jiff::Timestamp;

use crate::audit::fields::Fields;
use crate::audit::journal::severity;
use crate::config::{SyslogConfig, SyslogMessage};

/// Our element of structured data. RFC 5424 section 7.2.2 takes the number of an enterprise; this one is kept for
/// examples (RFC 5612), because the project has none of its own.
const ELEMENT: &str = "socksd@32473";
/// RFC 5424 section 6: longer names of parameters are no names.
const LONGEST_NAME: usize = 32;

/// What is the same in all messages of one target.
#[derive(Debug)]
pub(super) struct Form {
    facility: u8,
    message: SyslogMessage,
    host: String,
    process: u32,
    /// The longest message in octets.
    most: usize,
}

impl Form {
    pub(super) fn new(config: &SyslogConfig, most: usize) -> Self {
        let name = rustix::system::uname();
        let host: String = name.nodename().to_string_lossy().chars().filter(char::is_ascii_graphic).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        let SyslogConfig { facility, message, .. } = *config;
        Self { facility, message, host, process: std::process::id(), most }
    }

    /// The message for a line; `None` for one that is no record.
    pub(super) fn message(&self, line: &[u8]) -> Option<Vec<u8>> {
        let fields = Fields::read(line)?;
        let mut message = self.header(&fields);
        match self.message {
            SyslogMessage::Json => {
                message.push_str(" - ");
                let room = self.most.saturating_sub(message.len());
                // Differs from RFC 5424 section 6.4: no byte order mark, which readers of JSON stumble over.
                message.push_str(&if line.len() > room { fields.within(room) } else { text(line) });
            }
            SyslogMessage::Structured => self.add_element(&fields, &mut message),
        }
        Some(message.into_bytes())
    }

    /// RFC 5424 section 6.2.
    fn header(&self, fields: &Fields) -> String {
        let priority = self.facility * 8 + severity(fields);
        // The record's own time, with no more digits than the RFC allows.
        let time = fields.text("time").parse::<Timestamp>().unwrap_or_else(|_| Timestamp::now());
        let (host, process) = (&self.host, self.process);
        let event = fields.text("event");
        format!("<{priority}>1 {time:.6} {host} socksd {process} {event}")
    }

    /// RFC 5424 section 6.3. What finds no room is left out, and the parameter `truncated` tells.
    fn add_element(&self, fields: &Fields, message: &mut String) {
        let truncated = " truncated=\"fields\"]";
        message.push_str(&format!(" [{ELEMENT}"));
        let mut is_cut = false;
        for (name, value) in fields.flat() {
            let mut parameter = format!(" {}=\"", parameter_name(&name));
            escape(&value, &mut parameter);
            parameter.push('"');
            if message.len() + parameter.len() + truncated.len() > self.most {
                is_cut = true;
            } else {
                message.push_str(&parameter);
            }
        }
        message.push_str(if is_cut { truncated } else { "]" });
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// RFC 5424 section 6.3.3: a name has no space, quote, bracket or equals sign.
fn parameter_name(name: &str) -> String {
    let allowed =
        |octet: char| if octet.is_ascii_alphanumeric() || "-._".contains(octet) { octet } else { '_' };
    name.chars().map(allowed).take(LONGEST_NAME).collect()
}

/// RFC 5424 section 6.3.3: these three are escaped. Control characters would break lines of what shows them.
fn escape(value: &str, parameter: &mut String) {
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => parameter.extend(['\\', character]),
            control if control.is_control() => drop(write!(parameter, "\\\\u{:04x}", u32::from(control))),
            plain => parameter.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SyslogAddress;

    fn form(message: SyslogMessage, most: usize) -> Form {
        let config = SyslogConfig { address: SyslogAddress::Unix("/dev/log".into()), facility: 16, message };
        Form { host: "gw".into(), process: 7, ..Form::new(&config, most) }
    }

    fn message(form: &Form, line: &str) -> String {
        String::from_utf8(form.message(line.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn the_record_stands_whole_behind_a_header() {
        let line =
            r#"{"v":1,"event":"session","time":"2026-03-02T08:15:07.504751999Z","client":"192.0.2.1:5"}"#;
        let expected = format!("<134>1 2026-03-02T08:15:07.504751Z gw socksd 7 session - {line}");
        assert_eq!(message(&form(SyslogMessage::Json, 1000), line), expected);
    }

    #[test]
    fn fields_are_parameters_and_cannot_pose_as_others() {
        let line =
            r#"{"event":"reload","time":"2026-03-02T08:15:07Z","result":"refused","detail":"a\"] [x\\\n"}"#;
        let expected = r#"<132>1 2026-03-02T08:15:07.000000Z gw socksd 7 reload [socksd@32473 detail="a\"\] [x\\\\u000a" event="reload" result="refused" time="2026-03-02T08:15:07Z"]"#;
        assert_eq!(message(&form(SyslogMessage::Structured, 1000), line), expected);
    }

    #[test]
    fn a_message_that_is_too_long_is_shortened_and_says_so() {
        let groups = "g".repeat(3000);
        let line = format!(
            r#"{{"event":"session","time":"2026-03-02T08:15:07Z","groups":["{groups}"],"rule":"web"}}"#
        );
        let json = message(&form(SyslogMessage::Json, 2000), &line);
        assert!(
            json.len() <= 2000 && json.contains(r#""truncated":["groups"]"#) && json.contains("web"),
            "{json}"
        );
        let structured = message(&form(SyslogMessage::Structured, 2000), &line);
        assert!(
            structured.ends_with(r#" rule="web" time="2026-03-02T08:15:07Z" truncated="fields"]"#),
            "{structured}"
        );
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        assert_eq!(form(SyslogMessage::Json, 1000).message(b"no record"), None);
    }
}
