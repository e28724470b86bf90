//! The page for people at the admin listener, as its HTML: who sees what, and that no text of anybody's is markup.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use tests::web::{self, Answer, request};
use tests::{Client, DEADLINE, Gateway, Setup, targets};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// A user's name that would be markup, and would run.
const HOSTILE: &str = "\"><script>alert('x')</script><img src=x onerror=alert(1)>";
const POLICY: &str = "\
version: 1
rules:
  - { name: no-mail, action: deny, port: 25 }
  - { name: to-web, action: permit, special-use: permit }
";

/// A gateway whose page is at both doors.
fn start(setup: Setup) -> (Gateway, SocketAddr) {
    let admin = "{ socket: admin.sock, http: '127.0.0.1:0', token-file: token }";
    let gateway = setup.policy(POLICY).key("admin", admin).start_with(|folder| {
        folder.write("token", TOKEN);
    });
    let address = web::admin(&gateway);
    (gateway, address)
}

fn get(address: SocketAddr, path: &str) -> Answer {
    web::ask(address, &request(&format!("GET {path}"), ""))
}

fn get_by_socket(gateway: &Gateway, path: &str) -> Answer {
    let socket = UnixStream::connect(gateway.folder().file("admin.sock")).expect("the admin socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    web::exchange(socket, &request(&format!("GET {path}"), ""))
}

/// The element with that id, to the end of the page.
fn part<'a>(page: &'a Answer, id: &str) -> &'a str {
    let at = page.body.find(&format!("id={id}")).unwrap_or_else(|| panic!("no `{id}`: {page:?}"));
    page.body.get(at..).unwrap_or_default()
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_nobody_may_frame_or_keep_it() {
    let (gateway, address) = start(Setup::new());
    for page in [get(address, "/"), get_by_socket(&gateway, "/"), get(address, "/explain?from=x&to=y")] {
        assert_eq!(page.code, 200, "{page:?}");
        let policy = page.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(page.header(name), Some(value), "{name}");
        }
    }
    let kinds = [("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/page.svg", "image/svg+xml")];
    for (path, kind) in kinds {
        let file = get(address, path);
        assert!(file.header("content-type").is_some_and(|told| told.starts_with(kind)), "{file:?}");
        assert!(!file.body.is_empty());
    }
}

#[test]
fn only_who_may_act_sees_buttons() {
    let ((gateway, address), echo) = (start(Setup::new()), targets::echo());
    let _tunnel = Client::tunnel(gateway.address(), echo.address);
    let target = echo.address.to_string();
    let viewer = get(address, "/");
    assert!(viewer.body.contains(&target) && viewer.body.contains("to-web"), "{viewer:?}");
    assert!(!viewer.body.contains("class=end") && part(&viewer, "me").contains("viewer"), "{viewer:?}");
    assert!(part(&viewer, "me").contains("data-sign-in=\"true\""), "he may sign in");
    let operator = get_by_socket(&gateway, "/");
    assert!(operator.body.contains("class=end") && part(&operator, "me").contains("operator"));
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let signed_in = web::ask(address, &request("GET /part/live", &bearer(TOKEN)));
    assert!(signed_in.body.contains("class=end"), "{signed_in:?}");
    assert_eq!(web::ask(address, &request("GET /part/live", &bearer("0123456789abcdeF"))).code, 401);
    let act = gateway.record(|record| record.text("event") == "admin");
    assert_eq!((act.text("act"), act.text("result")), ("other", "refused: that is not the token"));
}

#[test]
fn no_name_is_markup_wherever_it_is_shown() {
    let (gateway, address) = start(Setup::new().user(HOSTILE, "secret"));
    let echo = targets::echo();
    let login = |name: &str, password: &str| {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(&[0x02]), 0x02);
        (client.login(name, password), client)
    };
    let (status, mut open) = login(HOSTILE, "secret");
    assert_eq!((status, open.connect_to(echo.address).code), (0x00, 0x00));
    let (_, mut denied) = login(HOSTILE, "secret");
    assert_eq!(denied.connect_to(([192, 0, 2, 7], 25).into()).code, 0x02);
    let (_, mut odd) = login(HOSTILE, "secret");
    assert_eq!(odd.connect_to_name(b"<svg onload=alert(2)>.example", 443).code, 0x04);
    let (status, _refused) = login("<b>nobody</b>", "wrong");
    assert_ne!(status, 0x00);
    gateway.record(|record| record.text("claimed-identity") == "<b>nobody</b>");

    let filter = "identity=%22%3E%3Cscript%3Ealert&rule=%3Ci%3E&source=%3Cu%3E&sort=%3Cs%3E&limit=%3Cq%3E";
    let question =
        "from=%3Ci%3E&to=%3Cscript%3E:1&identity=%3Cu%3E&groups=%3C/textarea%3E%3Cscript%3E&at=%22%3E";
    for page in [
        get(address, "/"),
        get_by_socket(&gateway, "/"),
        get(address, "/part/live"),
        get(address, &format!("/?{filter}")),
        get(address, &format!("/explain?{question}")),
        get(address, "/explain?from=10.0.0.1&to=192.0.2.7:25&identity=password:%3Cscript%3E"),
        get(address, &format!("/part/explain?{question}")),
    ] {
        assert_eq!(page.code, 200, "{page:?}");
        let own = page.body.replace("<script src=\"/page.js\" defer></script>", "");
        for markup in
            ["<script", "<b>nobody", "<svg", "<i>", "<u>", "<img src=x", "onerror=alert(1)>", "</textarea><"]
        {
            let is_own = markup == "</textarea><";
            assert!(is_own || !own.contains(markup), "`{markup}`: {own}");
        }
    }
    let page = get(address, "/");
    assert!(page.body.contains("&lt;script&gt;alert(\\&#39;x\\&#39;)&lt;/script&gt;"), "{page:?}");
    assert!(page.body.contains("&lt;b&gt;nobody&lt;/b&gt;"), "{page:?}");
}

#[test]
fn a_filter_takes_parts_of_names_and_says_what_is_wrong() {
    let ((gateway, address), echo) =
        (start(Setup::new().user("Alice", "secret").or_nobody()), targets::echo());
    let mut alice = Client::connect(gateway.address());
    assert_eq!(alice.greet(&[0x02]), 0x02);
    assert_eq!((alice.login("Alice", "secret"), alice.connect_to(echo.address).code), (0x00, 0x00));
    let anonymous = Client::tunnel(gateway.address(), echo.address);
    let shown = |query: &str| {
        let page = get(address, &format!("/?{query}"));
        [alice.local(), anonymous.local()].map(|client| page.body.contains(&format!("<td>{client}")))
    };
    assert_eq!(shown(""), [true, true]);
    assert_eq!(shown("identity=alice"), [true, false]);
    assert_eq!(shown("identity=anon&rule=WEB"), [false, true]);
    assert_eq!(shown("rule=no-mail"), [false, false]);
    assert_eq!(shown("source=127.0.0.0/8"), [true, true]);
    assert_eq!(shown("source=192.0.2.1"), [false, false]);
    let page = get(address, "/?source=somewhere");
    assert!(page.body.contains("neither an address nor a network"), "{page:?}");
}

#[test]
fn a_denial_is_shown_and_its_link_asks_the_same_question_again() {
    let (gateway, address) = start(Setup::new());
    for _ in 0..3 {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(&[0x00]), 0x00);
        assert_eq!(client.connect_to(([192, 0, 2, 7], 25).into()).code, 0x02);
    }
    gateway.sessions(3);
    let page = get(address, "/");
    let denials = part(&page, "denial-list");
    assert!(denials.contains("192.0.2.7:25") && denials.contains("3 times"), "{denials}");
    assert!(denials.contains("rule no-mail"), "{denials}");
    let (_, link) = denials.split_once("href=\"").expect("a link");
    let link = link.split_once('"').expect("it ends").0.replace("&amp;", "&");
    let path = link.split_once('#').map_or(link.as_str(), |(path, _)| path);
    let answer = get(address, path);
    let answered = part(&answer, "answer");
    assert!(answered.contains("Denied: ") && answered.contains("no-mail"), "{answered}");
    let list = get(address, "/api/denials").json();
    assert_eq!((&list[0]["count"], &list[0]["rule"]), (&3.into(), &"no-mail".into()), "{list}");
    let foreign = request(&format!("GET {path}"), "Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(web::ask(address, &foreign).code, 403, "another site asks no question");
}

#[test]
fn the_shadow_policy_is_shown_and_can_be_asked() {
    let shadow = "version: 1\nclients: [{ methods: [none] }]\nrules: [{ name: closed, action: deny }]\n";
    let (gateway, address) = {
        let admin = "{ http: '127.0.0.1:0' }";
        let setup = Setup::new().policy(POLICY).key("admin", admin).key("shadow-policy", "shadow.yaml");
        let gateway = setup.start_with(|folder| drop(folder.write("shadow.yaml", shadow)));
        let address = web::admin(&gateway);
        (gateway, address)
    };
    let echo = targets::echo();
    let _tunnel = Client::tunnel(gateway.address(), echo.address);
    let page = get(address, "/");
    let told = part(&page, "shadow ");
    for text in ["would deny", "to-web", "closed", &echo.address.to_string(), "shadow.yaml"] {
        assert!(told.contains(text), "`{text}`: {told}");
    }
    let question = format!("/explain?from=127.0.0.1&to={}", echo.address);
    let answered = |policy: &str| {
        let page = get(address, &format!("{question}&policy={policy}"));
        part(&page, "answer").split("</section>").next().unwrap_or_default().to_owned()
    };
    assert!(answered("shadow").contains("Denied: "), "{}", answered("shadow"));
    assert!(answered("in+force").contains("Permitted by rule"), "{}", answered("in+force"));

    let (_other, address) = start(Setup::new());
    assert!(part(&get(address, "/"), "shadow ").starts_with("id=shadow hidden"), "there is none");
}

#[test]
fn the_page_tells_of_policy_reloads_warnings_and_the_end() {
    let ((gateway, address), echo) = (start(Setup::new()), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let overview = |page: &Answer| {
        let gateway = part(page, "gateway");
        gateway.split_once("</section>").map_or(gateway, |(part, _)| part).to_owned()
    };
    let machine = rustix::system::uname();
    let host = machine.nodename().to_string_lossy();
    assert!(
        get(address, "/").body.contains(&format!("<title>{host} – socksd</title>")),
        "which gateway it is"
    );
    let before = overview(&get(address, "/"));
    for text in ["Serving", "generation 1", "since the start", "1 open"] {
        assert!(before.contains(text), "`{text}`: {before}");
    }
    let reload = request("POST /api/reload", &format!("Authorization: Bearer {TOKEN}\r\n"));
    gateway.folder().write("policy.yaml", "version: 1\nrules: [{ name: <x>, action: maybe }]\nclients: []\n");
    assert_eq!(web::ask(address, &reload).code, 422);
    let refused = overview(&get(address, "/"));
    assert!(refused.contains("Refused") && refused.contains("maybe"), "{refused}");
    assert!(refused.contains("token from 127.0.0.1") && !refused.contains("<x>"), "{refused}");
    let good = "version: 1\nrules: [{ name: all, action: permit, special-use: permit }]\n";
    gateway.folder().write("policy.yaml", &format!("{good}clients: [{{ methods: [none] }}]\n"));
    assert_eq!(web::ask(address, &reload).code, 200);
    let applied = overview(&get(address, "/"));
    assert!(applied.contains("Applied") && applied.contains("generation 2"), "{applied}");
    gateway.signal(rustix::process::Signal::TERM);
    let stopping = |line: &str| line.contains("stopping").then_some(());
    assert!(gateway.log().find(DEADLINE, stopping).is_some());
    let draining = overview(&get(address, "/"));
    assert!(draining.contains("Draining"), "{draining}");
    tunnel.expect_echo(b"and it goes on");
}
