//! Chromium without a window, led by WebDriver (<https://www.w3.org/TR/webdriver2/>) over plain HTTP.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lines::Lines;
use crate::web::{self, request, request_with};
use crate::{DEADLINE, Folder, command, process};

/// The keys of that name, as WebDriver writes them.
pub const TAB: &str = "\u{e004}";
/// Enter.
pub const ENTER: &str = "\u{e007}";
/// Escape.
pub const ESCAPE: &str = "\u{e00c}";
/// The arrow that points down.
pub const DOWN: &str = "\u{e015}";

/// How often a page is looked at while something is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A browser of a test's own; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// The browser's own process, if the driver tells.
    process: Option<u32>,
    _profile: Folder,
}

impl Browser {
    /// Starts one with an empty profile.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start() -> Self {
        let profile = Folder::new();
        let mut driver = Command::new(command::tool("chromedriver"));
        driver.arg("--port=0").env("HOME", profile.path()).env_remove("DISPLAY");
        driver.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = driver.spawn().expect("chromedriver starts");
        let lines = Lines::collect(driver.stdout.take().expect("standard output is a pipe"));
        let port = lines.find(DEADLINE, |line| {
            line.split_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok()
        });
        let Some(port) = port else {
            process::kill(driver.id());
            panic!("chromedriver does not listen:\n{}", lines.text());
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut browser = Self { driver, address, session: String::new(), process: None, _profile: profile };
        browser.begin();
        browser
    }

    fn begin(&mut self) {
        let profile = self._profile.file("profile");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1440,1000",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let options = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "binary": command::tool("chromium") },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let begun = self.post("/session", &json!({ "capabilities": { "alwaysMatch": options } }));
        let text = begun.pointer("/sessionId").and_then(Value::as_str);
        text.expect("a session").clone_into(&mut self.session);
        let process = begun.pointer("/capabilities/goog:processID").and_then(Value::as_u64);
        self.process = process.and_then(|id| u32::try_from(id).ok());
    }

    /// Goes to a page and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    /// What a script's function body returns.
    #[track_caller]
    pub fn script(&self, body: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// The text of the first element that a selector finds, as it is shown; empty when there is none.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.script(&format!("return document.querySelector({selector:?})?.innerText ?? ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a script's function body returns something true, and gives it.
    ///
    /// # Panics
    /// When it does not in time, with what the page shows.
    #[track_caller]
    pub fn wait(&self, body: &str) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let value = self.script(body);
            let is_true = !matches!(&value, Value::Null | Value::Bool(false))
                && value != json!("")
                && value != json!(0);
            if is_true {
                return value;
            }
            assert!(Instant::now() < until, "`{body}` is not so; the page shows:\n{}", self.text("body"));
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Clicks the first element that a selector finds, as a mouse does.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let found = self.tell("element", &json!({ "using": "css selector", "value": selector }));
        let element =
            found.as_object().and_then(|object| object.values().next()?.as_str().map(str::to_owned));
        let element = element.unwrap_or_else(|| panic!("no `{selector}`"));
        self.tell(&format!("element/{element}/click"), &json!({}));
    }

    /// Presses keys, one after the other, wherever the focus is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
            })
            .collect();
        self.tell("actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] }));
    }

    /// Says which colours the user prefers: `dark` or `light`.
    #[track_caller]
    pub fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Makes the window so large.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// The window as a picture, in PNG.
    #[track_caller]
    pub fn picture(&self) -> Vec<u8> {
        let path = format!("/session/{}/screenshot", self.session);
        let answer = web::ask(self.address, &request(&format!("GET {path}"), "")).json();
        from_base64(answer.get("value").and_then(Value::as_str).expect("a picture"))
    }

    /// What the browser has complained of since it was asked last: scripts that failed, and what a policy forbade.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let told = self.tell("se/log", &json!({ "type": "browser" }));
        let entries = told.as_array().cloned().unwrap_or_default();
        let field = |entry: &Value, name: &str| {
            entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let bad = entries.iter().filter(|entry| field(entry, "level") == "SEVERE");
        bad.map(|entry| field(entry, "message")).collect()
    }

    fn devtools(&self, name: &str, parameters: &Value) {
        self.tell("goog/cdp/execute", &json!({ "cmd": name, "params": parameters }));
    }

    #[track_caller]
    fn tell(&self, what: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}/{what}", self.session), body)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = web::ask(self.address, &request_with(&format!("POST {path}"), &body.to_string()));
        let value = answer.json().get("value").cloned().unwrap_or_default();
        assert_eq!(answer.code, 200, "{path} {body}: {}", value);
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser, whatever state that is in; nothing here may panic.
        let gone = std::net::TcpStream::connect(self.address).and_then(|mut stream| {
            use std::io::{Read, Write};
            stream.set_read_timeout(Some(DEADLINE))?;
            let line = format!("DELETE /session/{}", self.session);
            stream.write_all(request(&line, "").as_bytes())?;
            // It answers when the browser has gone, and keeps the connection.
            stream.read(&mut [0; 512])
        });
        if let (Err(_), Some(id)) = (gone, self.process) {
            process::kill(id);
        }
        process::kill(self.driver.id());
        drop(self.driver.wait());
    }
}

/// RFC 4648 section 4.
fn from_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for value in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.extend(u8::try_from(bits >> count & 0xFF));
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_read_as_the_standard_writes_them() {
        for (text, octets) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(from_base64(text), octets.as_bytes());
        }
    }
}
