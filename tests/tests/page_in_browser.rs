//! The page for people in a real browser: by mouse, by keyboard alone, dark and light.

use std::net::SocketAddr;

use tests::browser::{Browser, DOWN, ENTER, ESCAPE, TAB};
use tests::{Client, Gateway, Setup, targets, web};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const HOSTILE: &str = "\"><script>alert('x')</script><img src=x onerror=alert(1)>";
const POLICY: &str = "\
version: 1
rules:
  - { name: no-mail, action: deny, port: 25 }
  - { name: to-web, action: permit, special-use: permit }
";
/// The rows of the table of sessions.
const ROWS: &str = "document.querySelectorAll('#session-list tbody tr')";

/// A gateway with a page that an operator may sign in to, and a browser that shows it.
struct Desk {
    gateway: Gateway,
    browser: Browser,
    page: SocketAddr,
}

impl Desk {
    fn open(setup: Setup) -> Self {
        let admin = "{ http: '127.0.0.1:0', token-file: token }";
        let gateway = setup.policy(POLICY).key("admin", admin).start_with(|folder| {
            folder.write("token", TOKEN);
        });
        let (browser, page) = (Browser::start(), web::admin(&gateway));
        browser.open(&format!("http://{page}/"));
        Self { gateway, browser, page }
    }

    fn wait_for_rows(&self, count: usize) {
        self.browser.wait(&format!("return {ROWS}.length === {count}"));
    }

    fn login(&self, name: &str) -> Client {
        let mut client = Client::connect(self.gateway.address());
        assert_eq!(client.greet(&[0x02]), 0x02);
        assert_eq!(client.login(name, "secret"), 0x00);
        client
    }

    /// Presses Tab until the focus is where a selector says, as somebody without a mouse does.
    fn tab_to(&self, selector: &str) {
        let is_there = format!("return document.activeElement.matches({selector:?})");
        for _ in 0..60 {
            if self.browser.script(&is_there) == true {
                let seen = "return getComputedStyle(document.activeElement).outlineStyle";
                assert_ne!(self.browser.script(seen), "none", "the focus is to be seen at {selector}");
                return;
            }
            self.browser.press(TAB);
        }
        panic!("no Tab leads to `{selector}`:\n{}", self.browser.text("body"));
    }

    fn sign_in(&self) {
        self.browser.click("#sign-in");
        self.browser.press(TOKEN);
        self.browser.click("#sign button.main");
        self.browser.wait("return document.querySelector('#me').innerText.includes('operator')");
    }

    fn expect_no_complaints(&self) {
        assert_eq!(self.browser.complaints(), Vec::<String>::new());
    }
}

#[test]
fn sessions_come_and_go_are_filtered_and_ended() {
    let desk = Desk::open(Setup::new().user("alice", "secret").or_nobody());
    let (browser, echo) = (&desk.browser, targets::echo());
    assert_eq!(browser.text("#session-list .empty"), "No session.");
    let mut alice = desk.login("alice");
    assert_eq!(alice.connect_to(echo.address).code, 0x00);
    let others = [(); 2].map(|()| Client::tunnel(desk.gateway.address(), echo.address));
    desk.wait_for_rows(3);

    browser.click("#filter input[name=identity]");
    browser.press("ALICE");
    browser.press(ENTER);
    desk.wait_for_rows(1);
    assert!(browser.text("#session-list tbody").contains("password:alice"));
    assert_eq!(browser.script("return location.search"), "?identity=ALICE&sort=newest&limit=50");
    browser.wait("return document.querySelector('#word').innerText.includes('1 of 3 match')");
    assert_eq!(browser.script("return document.querySelectorAll('button.end').length"), 0, "only a viewer");

    desk.sign_in();
    assert_eq!(browser.script("return location.href.includes(sessionStorage['socksd-token'])"), false);
    browser.click("button.end");
    assert!(browser.text("#end-facts").contains("password:alice"));
    browser.press(ESCAPE);
    assert_eq!(browser.script("return document.querySelector('#end').open"), false);
    browser.click("button.end");
    browser.click("#end button.danger");
    desk.wait_for_rows(0);
    let record = desk.gateway.session_of(alice.local());
    assert_eq!(record.text("cause"), "killed");
    assert!(record.text("detail").starts_with("by token from 127.0.0.1:"), "{record}");

    browser.click("#clear");
    desk.wait_for_rows(2);
    browser.click("button.end");
    browser.click("#end input[value=all]");
    browser.click("#end button.danger");
    browser.wait("return document.querySelector('#word').innerText === '2 sessions ended.'");
    for other in &others {
        assert_eq!(desk.gateway.session_of(other.local()).text("cause"), "killed");
    }
    browser.click("#sign-out");
    browser.wait("return document.querySelector('#me').innerText.includes('viewer')");
    desk.expect_no_complaints();
}

#[test]
fn a_denial_is_explained_by_one_click_and_any_question_is_answered() {
    let desk = Desk::open(Setup::new());
    let browser = &desk.browser;
    let mut client = Client::connect(desk.gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    assert_eq!(client.connect_to(([192, 0, 2, 7], 25).into()).code, 0x02);
    browser.wait("return document.querySelectorAll('#denial-list tbody tr').length === 1");
    assert!(browser.text("#denial-list").contains("192.0.2.7:25"));
    browser.click("#denial-list a.ask");
    browser.wait("return document.querySelector('#answer .verdict')");
    let answer = browser.text("#answer");
    assert!(answer.contains("Denied") && answer.contains("no-mail"), "{answer}");
    let field = |name: &str| {
        browser.script(&format!("return document.querySelector('#question').elements[{name:?}].value"))
    };
    assert_eq!((field("to"), field("from")), ("192.0.2.7:25".into(), "127.0.0.1".into()));
    assert_eq!(browser.script("return location.pathname"), "/", "the page was not left");

    browser.script("document.querySelector('#question').elements.to.value = '127.0.0.1:80'");
    browser.click("#question button.main");
    browser.wait("return document.querySelector('#answer').innerText.includes('Permit')");
    browser.script("document.querySelector('#question').elements.from.value = 'nowhere'");
    browser.click("#question button.main");
    browser.wait("return document.querySelector('#answer .notice.bad')");
    desk.expect_no_complaints();

    // The same without the script: the form's own address.
    browser.open(&format!("http://{}/explain?from=10.0.0.1&to=192.0.2.7:25#explain", desk.page));
    assert!(browser.text("#answer").contains("no-mail"));
}

#[test]
fn hostile_names_are_text() {
    let desk = Desk::open(Setup::new().user(HOSTILE, "secret"));
    let (browser, echo) = (&desk.browser, targets::echo());
    let mut open = desk.login(HOSTILE);
    assert_eq!(open.connect_to(echo.address).code, 0x00);
    let mut denied = desk.login(HOSTILE);
    assert_eq!(denied.connect_to(([192, 0, 2, 7], 25).into()).code, 0x02);
    let mut odd = desk.login(HOSTILE);
    assert_eq!(odd.connect_to_name(b"<svg onload=alert(2)>.example", 443).code, 0x04);
    desk.wait_for_rows(1);
    browser.wait("return document.querySelectorAll('#denial-list tbody tr').length >= 1");
    assert!(browser.text("#session-list").contains("<script>alert"), "as it was written");
    desk.sign_in();
    browser.wait("return document.querySelector('button.end')");
    browser.click("button.end");
    assert!(browser.text("#end-who").contains("<img src=x onerror=alert(1)>"));
    browser.press(ESCAPE);
    browser.click("#denial-list a.ask");
    browser.wait("return document.querySelector('#answer .verdict')");
    assert!(browser.text("#answer").contains("<script>alert"));
    // Whatever had become markup would be one of these.
    let foreign = "return document.querySelectorAll('main script, main img, main svg, dialog img').length";
    assert_eq!(browser.script(foreign), 0);
    browser.click("#filter input[name=identity]");
    browser.press("<img src=x onerror=alert(1)>");
    browser.press(ENTER);
    browser.wait("return document.querySelector('#word').innerText.includes('1 of 1 match')");
    desk.expect_no_complaints();
}

#[test]
fn everything_can_be_done_without_a_mouse_and_the_focus_stays() {
    let desk = Desk::open(Setup::new());
    let (browser, echo) = (&desk.browser, targets::echo());
    let tunnel = Client::tunnel(desk.gateway.address(), echo.address);
    let other = Client::tunnel(desk.gateway.address(), echo.address);
    desk.wait_for_rows(2);
    browser.press(TAB);
    assert_eq!(browser.script("return document.activeElement.className"), "skip", "first of all");
    desk.tab_to("#sign-in");
    browser.press(ENTER);
    browser.press(TOKEN);
    browser.press(ENTER);
    browser.wait("return document.querySelector('#me').innerText.includes('operator')");

    // The focus stays where it is while the table changes around it.
    browser.wait(&format!("return {ROWS}.length === 2 && document.querySelector('button.end')"));
    desk.tab_to("button.end");
    let session = browser.script("return document.activeElement.dataset.session");
    let third = Client::tunnel(desk.gateway.address(), echo.address);
    desk.wait_for_rows(3);
    assert_eq!(browser.script("return document.activeElement.dataset.session"), session);

    browser.press(ENTER);
    let focused = "return document.activeElement.textContent";
    assert_eq!(browser.script(focused), "Cancel", "Enter alone ends nothing");
    browser.press(ENTER);
    assert_eq!(browser.script("return document.querySelector('#end').open"), false);
    assert_eq!(browser.script("return document.activeElement.dataset.session"), session, "back again");
    browser.press(ENTER);
    desk.tab_to("#end input[value=one]");
    browser.press(DOWN);
    assert_eq!(browser.script("return document.querySelector('#end input[value=all]').checked"), true);
    desk.tab_to("#end button.danger");
    browser.press(ENTER);
    browser.wait("return document.querySelector('#word').innerText === '3 sessions ended.'");
    for client in [&tunnel, &other, &third] {
        assert_eq!(desk.gateway.session_of(client.local()).text("cause"), "killed");
    }
    desk.tab_to("#question input[name=from]");
    browser.press("10.0.0.1");
    desk.tab_to("#question input[name=to]");
    browser.press("192.0.2.7:25");
    browser.press(ENTER);
    browser.wait("return document.querySelector('#word').innerText.includes('no-mail')");
    desk.expect_no_complaints();
}

/// The contrast of each text with what is behind it, by the formula of WCAG 2.2; the lowest with its element.
const CONTRAST: &str = "
const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    const parts = parse(colour);
    if (parts.length < 4 || parts[3] === 1) return parts;
  }
  return [255, 255, 255];
};
let worst = [21, ''];
for (const node of document.querySelectorAll('main *, header *, label, button')) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.checkVisibility() || node.closest('.unseen')) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < worst[0]) worst = [contrast, node.outerHTML.slice(0, 200)];
}
return worst;";

#[test]
fn it_can_be_read_in_the_dark_and_in_the_light_and_on_a_narrow_screen() {
    let desk = Desk::open(Setup::new());
    let (browser, echo) = (&desk.browser, targets::echo());
    let _tunnel = Client::tunnel(desk.gateway.address(), echo.address);
    let _greeting = Client::connect(desk.gateway.address());
    let mut client = Client::connect(desk.gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    assert_eq!(client.connect_to(([192, 0, 2, 7], 25).into()).code, 0x02);
    browser.wait("return document.querySelector('#denial-list a.ask')");
    desk.wait_for_rows(2);
    desk.sign_in();
    browser.click("#denial-list a.ask");
    browser.wait("return document.querySelector('#answer .verdict')");
    let grounds = ["light", "dark"].map(|scheme| {
        browser.prefer(scheme);
        let worst = browser.script(CONTRAST);
        assert!(worst[0].as_f64().is_some_and(|contrast| contrast >= 4.5), "{scheme}: {worst}");
        browser.script("return getComputedStyle(document.body).backgroundColor")
    });
    assert_ne!(grounds[0], grounds[1]);
    for width in [360, 800, 1440] {
        browser.resize(width, 900);
        let over = browser.script("return document.documentElement.scrollWidth - innerWidth");
        assert!(over.as_i64().is_some_and(|over| over <= 0), "{over} pixels over at {width}");
    }
    desk.expect_no_complaints();
}
