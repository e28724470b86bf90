//! The samples in the documentation are what the programs take and write: files, records, command lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use krb_testenv::Realm;
use serde_json::Value;
use tests::command::run;
use tests::{DEADLINE, Folder, audit, program};

/// Blocks of these kinds are not ours to check: other programs' files and commands, and plain text.
const OTHERS: [&str; 6] = ["powershell", "ini", "toml", "js", "text", "rust,ignore"];
/// What `socksd.yaml` may begin with.
const CONFIG: [&str; 12] = [
    "listeners",
    "auth",
    "policy",
    "shadow-policy",
    "upstreams",
    "limits",
    "nat64",
    "admin",
    "upgrade",
    "audit",
    "log",
    "quotas",
];
const POLICY: [&str; 5] = ["version", "sets", "clients", "rules", "tests"];
/// A hash that stands for those which the samples shorten.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$H/JzNc+3D3j1WIv06lBQqg$RwKPx17YYvGVR3gdhkiOrBhJK2XsKQUtSuQc6ELTTr8";

/// A fenced block.
#[derive(Debug, Clone)]
struct Block {
    place: String,
    kind: String,
    text: String,
}

/// A page and its blocks in order.
fn pages() -> Vec<(PathBuf, Vec<Block>)> {
    let docs = fs::read_dir(program::workspace().join("docs")).expect("the documentation");
    let mut paths: Vec<_> = docs.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    paths.push(program::workspace().join("README.md"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), blocks(&path))).collect()
}

/// The blocks of a page; one in a list is indented as a whole.
fn blocks(path: &Path) -> Vec<Block> {
    let page = fs::read_to_string(path).expect("a page");
    let mut lines = (1..).zip(page.lines());
    let mut blocks = Vec::new();
    while let Some((number, fence)) = lines.find(|(_, line)| line.trim_start().starts_with("```")) {
        let indent = fence.len() - fence.trim_start().len();
        let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text = body.flat_map(|line| [line.get(indent..).unwrap_or_default(), "\n"]).collect();
        let place = format!("{}, line {number}", path.display());
        blocks.push(Block { place, kind: fence.trim().trim_start_matches('`').to_owned(), text });
    }
    blocks
}

/// What a block of YAML is a sample of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Config,
    Policy,
    Users,
    Groups,
}

impl File {
    /// Tells by the keys at the left margin.
    fn of(block: &Block) -> Option<Self> {
        let keys: Vec<&str> = keys(&block.text);
        let all = |known: &[&str]| !keys.is_empty() && keys.iter().all(|key| known.contains(key));
        match () {
            () if all(&["users"]) => Some(Self::Users),
            () if all(&["groups"]) => Some(Self::Groups),
            () if all(&POLICY) => Some(Self::Policy),
            () if all(&CONFIG) => Some(Self::Config),
            () => None,
        }
    }
}

fn keys(text: &str) -> Vec<&str> {
    let keys = text.lines().filter_map(|line| line.split_once(':').map(|(key, _)| key));
    keys.filter(|key| key.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

/// Files of one gateway, as a page shows them one after the other.
#[derive(Debug, Default)]
struct Site {
    config: Option<Block>,
    policy: Option<Block>,
    users: Option<Block>,
    groups: Option<Block>,
}

/// A `socksd.yaml` begins a site; a policy, a users file and a groups file belong to the one before them.
fn sites(blocks: &[Block]) -> Vec<Site> {
    let mut sites = vec![Site::default()];
    for block in blocks.iter().filter(|block| block.kind == "yaml") {
        let file = File::of(block).unwrap_or_else(|| panic!("{}: neither of our files", block.place));
        let last = sites.last_mut().expect("there is one");
        let place = match file {
            File::Config => &mut last.config,
            File::Policy => &mut last.policy,
            File::Users => &mut last.users,
            File::Groups => &mut last.groups,
        };
        let taken = file == File::Config || place.is_some();
        if !taken {
            *place = Some(block.clone());
            continue;
        }
        let mut site = Site::default();
        match file {
            File::Config => site.config = Some(block.clone()),
            File::Policy => site.policy = Some(block.clone()),
            File::Users => site.users = Some(block.clone()),
            File::Groups => site.groups = Some(block.clone()),
        }
        sites.push(site);
    }
    sites
}

impl Site {
    /// The folder of a gateway of which the page shows these files; what it leaves out is added.
    fn write(&self) -> Folder {
        let folder = Folder::new();
        let mut config = self.config.as_ref().map(|block| block.text.clone()).unwrap_or_default();
        for (key, text) in [
            ("listeners", "listeners: [{ address: '127.0.0.1:0' }]\n"),
            ("auth", "auth: [{ kind: password, options: { users: users.yaml } }]\n"),
            ("policy", "policy: policy.yaml\n"),
        ] {
            if !keys(&config).contains(&key) {
                config.push_str(text);
            }
        }
        folder.write("socksd.yaml", &config);
        let policy = self.policy.as_ref().map(|block| block.text.clone());
        let policy = policy.unwrap_or_else(|| "version: 1\nclients: []\nrules: []\n".into());
        folder.write("policy.yaml", &policy);
        folder.write("next.yaml", &policy);
        let users = self.users.as_ref().map(|block| block.text.as_str()).unwrap_or("users: []\n");
        folder.write("users.yaml", &with_hashes(users));
        let groups = self.groups.as_ref().map(|block| block.text.as_str());
        folder.write("groups.yaml", groups.unwrap_or("groups: {}\n"));
        folder.set_mode("users.yaml", 0o600);
        folder.write("admin.token", "0123456789abcdef");
        for name in config.split("keytab: ").skip(1).filter_map(|rest| rest.split([' ', '\n']).next()) {
            assert!(
                Path::new(name).is_relative(),
                "{}: `{name}` is no file of the sample's own",
                self.place()
            );
            fs::copy(keytab(), folder.file(name)).expect("a keytab");
        }
        for name in config.split("password-file: ").skip(1).filter_map(|rest| rest.split([' ', '\n']).next())
        {
            folder.write(name, "secret\n");
            folder.set_mode(name, 0o600);
        }
        folder
    }

    fn place(&self) -> String {
        let files = [&self.config, &self.policy, &self.users, &self.groups];
        files.into_iter().flatten().map(|block| block.place.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// The program that the sample is for: one with a plug-in knows its kind.
    fn program(&self) -> &'static str {
        let plugin = self.config.as_ref().is_some_and(|block| block.text.contains("kind: acme-token"));
        if plugin { "acme-token" } else { "socksd" }
    }
}

/// The samples' hashes are shortened.
fn with_hashes(users: &str) -> String {
    let whole = users.lines().map(|line| match line.split_once("hash: ") {
        Some((head, _)) => format!("{head}hash: \"{HASH}\"\n"),
        None => format!("{line}\n"),
    });
    whole.collect()
}

fn keytab() -> &'static Path {
    static KEYTAB: OnceLock<(Folder, PathBuf)> = OnceLock::new();
    let (_, file) = KEYTAB.get_or_init(|| {
        let folder = Folder::new();
        let services = ["socks/gw.corp.example", "rcmd/gw.corp.example"];
        let realm = services.iter().fold(Realm::builder("CORP.EXAMPLE"), |realm, name| realm.service(*name));
        let file = folder.file("socksd.keytab");
        realm.start().and_then(|realm| realm.keytab(&services, &file)).expect("a keytab");
        (folder, file)
    });
    file
}

#[test]
fn every_configuration_in_the_documentation_has_no_mistake() {
    let mut count = 0;
    for (_, blocks) in pages() {
        // Policies that stand alone are checked beside the policy's own code.
        for site in sites(&blocks).iter().filter(|site| site.config.is_some() || site.users.is_some()) {
            let folder = site.write();
            let mut check = Command::new(program::built(site.program()));
            let checked = run(check.args(["check", "--config"]).arg(folder.file("socksd.yaml")), DEADLINE);
            assert_eq!(checked.code, Some(0), "{}: {checked}", site.place());
            count += 1;
        }
    }
    assert!(count > 7, "only {count} samples");
}

#[test]
fn no_block_is_of_a_kind_that_nobody_checks() {
    for block in pages().into_iter().flat_map(|(_, blocks)| blocks) {
        let known = ["yaml", "json", "sh"].contains(&block.kind.as_str());
        assert!(known || OTHERS.contains(&block.kind.as_str()), "{}: kind `{}`", block.place, block.kind);
    }
}

#[test]
fn records_in_the_documentation_have_the_fields_of_the_reference() {
    let page = fs::read_to_string(program::workspace().join("docs/audit.md")).expect("the reference");
    // The first column of its tables, which a test of the record itself compares with the code.
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let words: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').step_by(2)).collect();
    let mut count = 0;
    for block in pages().into_iter().flat_map(|(_, blocks)| blocks).filter(|block| block.kind == "json") {
        for line in block.text.lines() {
            let record: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", block.place));
            if record.get("event").is_some() {
                audit::parse(line);
            }
            let fields = record.as_object().unwrap_or_else(|| panic!("{}: no object", block.place));
            for name in fields.keys() {
                assert!(words.contains(name.as_str()), "{}: field `{name}`", block.place);
            }
            if let Some(cause) = fields.get("cause").and_then(Value::as_str) {
                assert!(words.contains(cause), "{}: cause `{cause}`", block.place);
            }
            count += 1;
        }
    }
    assert!(count > 1, "only {count} samples");
}

/// Our programs by the words that their command lines begin with.
fn help(words: &[&str]) -> Option<String> {
    let package = match *words.first()? {
        "socksd" => "socksd",
        "socks-forward" => "socks-client",
        "krb-testenv" => "krb-testenv",
        _ => return None,
    };
    let mut command = Command::new(program::built_of(package, words.first()?));
    Some(run(command.args(words.get(1..)?).arg("--help"), DEADLINE).succeeded().text())
}

/// Command lines of our programs in a block, each by itself.
fn calls(text: &str) -> Vec<Vec<String>> {
    let whole = text.replace("\\\n", " ");
    let lines = whole.lines().map(|line| line.split(" #").next().unwrap_or_default());
    let calls = lines.flat_map(|line| line.split(['|', ';', '&', '\'', '"'])).map(|call| {
        let words = call.split_whitespace().map(|word| word.trim_matches(['[', ']', '`']));
        let words = words.map(|word| word.rsplit_once("release/").map_or(word, |(_, name)| name).to_owned());
        words.skip_while(|word| word == "sudo").collect()
    });
    let is_ours = |call: &Vec<String>| {
        let program = call.first().map(String::as_str);
        program.is_some_and(|name| ["socksd", "socks-forward", "krb-testenv"].contains(&name))
    };
    calls.filter(is_ours).collect()
}

#[test]
fn every_option_in_a_command_of_the_documentation_exists() {
    let mut count = 0;
    for block in pages().into_iter().flat_map(|(_, blocks)| blocks).filter(|block| block.kind == "sh") {
        for call in calls(&block.text) {
            // `socksd policy explain`: what stands before the first option are the command's words.
            let mut words: Vec<&str> = call.iter().map(String::as_str).collect();
            let options = words.iter().position(|word| word.starts_with('-')).map(|at| words.split_off(at));
            let Some(options) = options else { continue };
            let help = help(&words).unwrap_or_else(|| panic!("{}: {words:?}", block.place));
            for option in options.into_iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let name = option.split('=').next().unwrap_or(option);
                let known = help.split([' ', '\n', ',', '=']).any(|word| word == name);
                assert!(known, "{}: `{name}` is no option of {words:?}", block.place);
                count += 1;
            }
        }
    }
    assert!(count > 20, "only {count} options");
}

/// The names that a page's headings have for links: `## Two words` is `two-words`.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
    let name = |heading: &str| heading.trim_start_matches('#').trim().to_lowercase();
    headings.map(|it| name(it).chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_in_the_documentation_leads_somewhere() {
    let mut count = 0;
    for (path, _) in pages() {
        let page = fs::read_to_string(&path).expect("a page");
        let folder = path.parent().expect("a folder");
        // A link may be broken over two lines.
        let text = page.replace("]\n(", "](");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: no `{link}`", path.display());
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).expect("a page");
                assert!(anchors(&target).contains(anchor), "{}: no `{link}`", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 50, "only {count} links");
}
