use std::path::PathBuf;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use socks_config::Document;
use socks_core::{Level, Levels};
use tempfile::TempDir;

use super::*;
use crate::testing::{Client, End, FakeGuard, FakeSession, check};
use crate::{BuildContext, Passage, Registry, Standing};

/// A hash that is quick to compute, and weak.
pub(super) fn quick_hash(password: &[u8]) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(password, b"saltsalt").unwrap().to_string()
}

/// A folder with a users file.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(&[
            ("alice", "groups: [admins, staff]"),
            ("bob", "disabled: true"),
            ("carol", "expires: 2001-01-01"),
            ("dave", "expires: 9000-01-01"),
        ]);
        folder
    }

    /// Writes accounts whose passwords are `secret`.
    fn write(&self, users: &[(&str, &str)]) {
        let hash = quick_hash(b"secret");
        let entries =
            users.iter().map(|(name, more)| format!("- {{name: {name}, hash: \"{hash}\", {more}}}\n"));
        let text = format!("users:\n{}", entries.collect::<String>());
        std::fs::write(self.path(), text).unwrap();
        set_mode(&self.path(), 0o600);
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("users.yaml")
    }

    fn build(&self, options: &str, previous: Option<Arc<dyn Authenticator>>) -> (Arc<Password>, Vec<String>) {
        let context = BuildContext::new("password", self.0.path(), previous);
        let document = Document::parse("f", format!("{{users: users.yaml, {options}}}")).unwrap();
        let built = Factory.build(document.root.read().unwrap(), &context).unwrap();
        let context = BuildContext::new("password", "", Some(built));
        (context.previous().unwrap(), context_warnings(&self.build_context(options)))
    }

    fn build_context(&self, options: &str) -> BuildContext {
        let context = BuildContext::new("password", self.0.path(), None);
        let document = Document::parse("f", format!("{{users: users.yaml, {options}}}")).unwrap();
        Factory.build(document.root.read().unwrap(), &context).unwrap();
        context
    }

    fn password(&self) -> Arc<Password> {
        self.build("", None).0
    }
}

/// The warnings but that about weak hashes, which these tests use for speed.
fn context_warnings(context: &BuildContext) -> Vec<String> {
    context.warnings().into_iter().filter(|warning| !warning.contains("cheap to guess")).collect()
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn login(name: &str, password: &str) -> Vec<u8> {
    let mut octets = bytes::BytesMut::new();
    socks_core::wire::Encode::encode(&Login::new(name.as_bytes(), password.as_bytes()).unwrap(), &mut octets);
    octets.to_vec()
}

/// What a login gives, without its network side.
async fn attempt(password: &Password, name: &str, word: &str) -> Result<Identity, AuthError> {
    let (mut fake, mut client) = FakeSession::new(Levels::Unrestricted);
    tokio::io::AsyncWriteExt::write_all(&mut client, &login(name, word)).await.unwrap();
    password.authenticate(&mut fake.session()).await.map(|it| it.identity)
}

async fn refusal(password: &Password, name: &str, word: &str) -> String {
    match attempt(password, name, word).await {
        Err(AuthError::Refused { claimed, reason }) => format!("{} {reason}", claimed.unwrap_or_default()),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_right_password_passes_every_check() {
    let client = Client::new().sends(login("alice", "secret")).hears(b"\x01\x00");
    check(&*Folder::new().password(), &client, End::Granted).await.unwrap();
}

#[tokio::test]
async fn refusals_reach_the_client_and_are_all_alike() {
    let password = Folder::new().password();
    for (name, word) in
        [("alice", "wrong"), ("nobody", "secret"), ("bob", "secret"), ("carol", "secret"), ("bob", "wrong")]
    {
        let client = Client::new().sends(login(name, word)).hears(b"\x01\x01");
        check(&*password, &client, End::Refused).await.unwrap();
    }
}

#[tokio::test]
async fn malformed_logins_are_answered_too() {
    let password = Folder::new().password();
    for octets in [&b"\x05"[..], b"\x01\x00", b"\x01\x01a\x00"] {
        let client = Client::new().sends(octets).hears(b"\x01\x01");
        check(&*password, &client, End::Malformed).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_is_let_in_where_the_policy_asks_for_protection() {
    let client = Client::new().sends(login("alice", "secret")).hears(b"\x01\x01");
    let client = client.with_levels(Levels::Only(vec![Level::Integrity]));
    check(&*Folder::new().password(), &client, End::LevelRefused).await.unwrap();
}

#[tokio::test]
async fn the_identity_holds_name_groups_and_end() {
    let password = Folder::new().password();
    let alice = attempt(&password, "alice", "secret").await.unwrap();
    assert_eq!(alice.name, IdentityName::User("alice".into()));
    assert_eq!(alice.groups, ["admins".into(), "staff".into()]);
    assert_eq!(alice.valid_until, None);
    let dave = attempt(&password, "dave", "secret").await.unwrap();
    assert_eq!(dave.valid_until, "9000-01-02T00:00:00Z".parse().ok());
}

#[tokio::test]
async fn the_record_tells_refusals_apart() {
    let password = Folder::new().password();
    assert_eq!(refusal(&password, "alice", "wrong").await, "alice wrong password");
    assert_eq!(refusal(&password, "nobody", "secret").await, "nobody unknown user");
    assert_eq!(refusal(&password, "bob", "secret").await, "bob account disabled");
    assert_eq!(refusal(&password, "carol", "secret").await, "carol account expired");
    assert_eq!(refusal(&password, "bob", "wrong").await, "bob wrong password");
    assert_eq!(refusal(&password, "a\x1bb", "x").await, r"a\x1bb unknown user");
}

#[tokio::test]
async fn an_unknown_user_costs_one_hash_like_everybody() {
    let password = Folder::new().build("cache: off", None).0;
    let usual = password.users.hash_for(b"alice").cost();
    for (number, (name, word)) in
        [("alice", "secret"), ("alice", "wrong"), ("nobody", "secret"), ("bob", "secret"), ("carol", "wrong")]
            .into_iter()
            .enumerate()
    {
        let _ = attempt(&password, name, word).await;
        assert_eq!(password.pool.computed(), number as u64 + 1, "{name}");
        assert_eq!(password.users.hash_for(name.as_bytes()).cost(), usual, "{name}");
    }
}

#[tokio::test]
async fn a_verified_login_is_remembered_and_a_wrong_one_is_not() {
    let password = Folder::new().password();
    for _ in 0..3 {
        attempt(&password, "alice", "secret").await.unwrap();
    }
    assert_eq!(password.pool.computed(), 1);
    for _ in 0..2 {
        assert!(attempt(&password, "alice", "wrong").await.is_err());
    }
    assert_eq!(password.pool.computed(), 3);
}

#[tokio::test]
async fn without_a_cache_every_login_is_hashed() {
    for options in ["cache: off", "cache: {for: 0s}"] {
        let password = Folder::new().build(options, None).0;
        for _ in 0..3 {
            attempt(&password, "alice", "secret").await.unwrap();
        }
        assert_eq!(password.pool.computed(), 3, "{options}");
    }
}

#[tokio::test]
async fn a_reload_keeps_logins_whose_accounts_stayed_as_they_were() {
    let folder = Folder::new();
    let before = folder.password();
    attempt(&before, "alice", "secret").await.unwrap();
    attempt(&before, "dave", "secret").await.unwrap();
    folder.write(&[("alice", ""), ("dave", "disabled: true")]);
    let after = folder.build("", Some(before.clone())).0;
    attempt(&after, "alice", "secret").await.unwrap();
    assert_eq!(refusal(&after, "dave", "secret").await, "dave account disabled");
    assert_eq!(after.pool.computed(), 2, "pool and cache are the same as before");

    let other = StoredHash::of_password(b"changed").unwrap();
    let text = format!("users:\n- {{name: alice, hash: \"{}\"}}\n", other.as_str());
    std::fs::write(folder.path(), text).unwrap();
    let changed = folder.build("", Some(after)).0;
    assert_eq!(refusal(&changed, "alice", "secret").await, "alice wrong password");
    assert_eq!(refusal(&changed, "dave", "secret").await, "dave unknown user");
}

/// A login at work from that address, which ends when the sender is dropped.
async fn busy(
    password: &Password,
    address: [u8; 4],
) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let pool = password.pool.clone();
    let work = move || {
        let _ = started.send(());
        let _ = held.recv();
    };
    let source = Source::from(std::net::IpAddr::from(address));
    let task = tokio::spawn(async move { pool.compute(source, work).await.unwrap() });
    start.await.unwrap();
    (release, task)
}

#[tokio::test]
async fn a_full_queue_is_said_to_the_client() {
    let password = Folder::new().build("hashing: {threads: 1, queue: 0}", None).0;
    let (release, busy) = busy(&password, [127, 0, 0, 9]).await;
    let client = Client::new().sends(login("alice", "secret")).hears(b"\x01\x01");
    check(&*password, &client, End::Unavailable).await.unwrap();
    drop(release);
    busy.await.unwrap();
    assert!(attempt(&password, "alice", "secret").await.is_ok());
}

#[tokio::test]
async fn one_source_cannot_keep_the_others_from_logging_in() {
    let password = Folder::new().build("hashing: {threads: 1, queue: 3}", None).0;
    // The address of the sessions in memory.
    let (release, flood) = busy(&password, [192, 0, 2, 1]).await;
    let client = Client::new().sends(login("alice", "secret")).hears(b"\x01\x01");
    check(&*password, &client, End::Unavailable).await.unwrap();
    let Err(AuthError::Unavailable(cause)) = attempt(&password, "alice", "secret").await else {
        panic!("the source has one place only");
    };
    assert!(cause.contains("from one source"), "{cause}");
    drop(release);
    flood.await.unwrap();

    let (release, flood) = busy(&password, [127, 0, 0, 9]).await;
    let mut other = Box::pin(attempt(&password, "alice", "secret"));
    tokio::select! { biased; early = &mut other => panic!("refused: {early:?}"), () = async {} => () }
    drop(release);
    assert!(other.await.is_ok());
    flood.await.unwrap();
}

#[test]
fn a_file_that_others_can_use_is_a_warning() {
    let folder = Folder::new();
    for (mode, expected) in [
        (0o600, None),
        (0o640, None),
        (0o644, Some("can be read by everyone")),
        (0o660, Some("can be changed by others than its owner")),
        (0o606, Some("can be changed by others than its owner")),
    ] {
        set_mode(&folder.path(), mode);
        let warnings = context_warnings(&folder.build_context(""));
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{mode:o} {warnings:?}");
        assert!(warnings.iter().all(|it| it.contains(expected.unwrap_or_default())), "{mode:o} {warnings:?}");
    }
}

#[test]
fn weak_and_unlike_hashes_are_warnings() {
    let folder = Folder::new();
    let weak = "password hash of `alice` and 3 more is cheap to guess: set a new password";
    assert_eq!(folder.build_context("").warnings(), [weak]);
    let (cheap, dear) = (quick_hash(b"x"), StoredHash::of_password(b"x").unwrap());
    let text =
        format!("users:\n- {{name: a, hash: \"{cheap}\"}}\n- {{name: b, hash: \"{}\"}}\n", dear.as_str());
    std::fs::write(folder.path(), text).unwrap();
    set_mode(&folder.path(), 0o600);
    let warnings = folder.build_context("").warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("differ in cost"));
}

/// The first line of each finding of an entry with those options.
fn entry(folder: &Folder, options: &str) -> Vec<String> {
    let text = format!("kind: password\noptions: {options}\n");
    let document = Document::parse("f", text).unwrap();
    let mut fields = document.root.fields(&mut socks_config::Findings::default()).unwrap();
    let (kind, options) = (fields.take("kind").unwrap(), fields.take("options"));
    let context = BuildContext::new("password", folder.0.path(), None);
    match Registry::shipped().build(kind, options, &context) {
        Ok(_) => Vec::new(),
        Err(findings) => {
            findings.iter().map(|it| it.to_string().lines().next().unwrap().to_owned()).collect()
        }
    }
}

#[test]
fn mistakes_in_options_and_file_stand_at_their_places() {
    let folder = Folder::new();
    assert_eq!(entry(&folder, "{users: users.yaml, cache: {for: 5m}, hashing: {threads: 3}}"), [""; 0]);
    for (options, expected) in [
        ("{}", "f:2:10: mistake: missing key `users`"),
        ("{usres: x}", "f:2:11: mistake: unknown key `usres`"),
        ("{users: users.yaml, cache: on}", "f:2:37: mistake: unknown value `on`"),
        (
            "{users: users.yaml, cache: {for: 5}}",
            "f:2:43: mistake: `5`: the unit is missing, write for example `250ms`, `30s`, `10m`, `2h` or `1d`",
        ),
        (
            "{users: users.yaml, cache: {for: 2d}}",
            "f:2:10: mistake: `cache` remembers logins for more than a day",
        ),
        (
            "{users: users.yaml, hashing: {threads: 0}}",
            "f:2:49: mistake: expected a nonzero whole number, found `0`",
        ),
        (
            "{users: users.yaml, hashing: {queue: -1}}",
            "f:2:47: mistake: expected a whole number from 0 to 65535, found `-1`",
        ),
    ] {
        assert_eq!(entry(&folder, options), [expected]);
    }
    let missing = entry(&folder, "{users: none.yaml}");
    assert!(missing[0].starts_with("f:2:10: mistake: cannot read `"), "{missing:?}");

    std::fs::write(folder.path(), "users:\n- {name: alice, hash: hunter2}\n- {name: bob}\n").unwrap();
    let found = entry(&folder, "{users: users.yaml}");
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("users.yaml:2:23: mistake: `hash` is no hash"), "{found:?}");
    assert!(!found.concat().contains("hunter2"));
}

#[test]
fn a_bad_hash_is_never_shown() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "users:\n- {name: alice, hash: hunter2}\n").unwrap();
    let shown = Users::read(&folder.path()).unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// What a login gives, and what the guard was told of it.
async fn guarded(
    password: &Password,
    guard: FakeGuard,
    name: &str,
    word: &str,
) -> (Option<AuthError>, Vec<String>) {
    let guard = Arc::new(guard);
    let (fake, mut client) = FakeSession::new(Levels::Unrestricted);
    let mut fake = fake.guarded_by(Arc::clone(&guard));
    tokio::io::AsyncWriteExt::write_all(&mut client, &login(name, word)).await.unwrap();
    let result = password.authenticate(&mut fake.session()).await;
    drop(fake);
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut client, &mut answer).await.unwrap();
    assert_eq!(answer, [1, u8::from(result.is_err())]);
    (result.err(), guard.told())
}

#[tokio::test]
async fn the_guard_hears_how_each_login_came_out() {
    let password = Folder::new().password();
    for (name, word, expected) in [
        ("alice", "secret", "passed alice"),
        ("alice", "wrong", "failed alice"),
        ("nobody", "secret", "failed nobody"),
        ("bob", "secret", "failed bob"),
        ("carol", "secret", "failed carol"),
    ] {
        let (_, told) = guarded(&password, FakeGuard::default(), name, word).await;
        assert_eq!(told, [expected]);
    }
}

#[tokio::test]
async fn no_hash_is_computed_while_a_lock_holds_whatever_is_remembered() {
    let password = Folder::new().password();
    attempt(&password, "alice", "secret").await.unwrap();
    let computed = password.pool.computed();
    for name in ["alice", "nobody"] {
        let guard = FakeGuard::new(Standing::Locked(Duration::ZERO), Passage::AtOnce);
        let (error, told) = guarded(&password, guard, name, "secret").await;
        assert!(matches!(error, Some(AuthError::LockedOut { claimed }) if &*claimed == name));
        assert!(told.is_empty(), "{told:?}");
    }
    assert_eq!(password.pool.computed(), computed);
}

#[tokio::test]
async fn a_lock_that_came_meanwhile_refuses_the_right_password_too() {
    let guard = FakeGuard::new(Standing::Judged(Duration::ZERO), Passage::Locked);
    let (error, _) = guarded(&Folder::new().password(), guard, "alice", "secret").await;
    assert!(matches!(error, Some(AuthError::LockedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn a_lockout_takes_as_long_as_a_login() {
    let password = Folder::new().password();
    refusal(&password, "alice", "wrong").await;
    let usual = password.pool.usual();
    assert!(usual > Duration::ZERO);
    let begun = Instant::now();
    let guard = FakeGuard::new(Standing::Locked(Duration::ZERO), Passage::AtOnce);
    guarded(&password, guard, "alice", "secret").await;
    assert!(begun.elapsed() >= usual);
}
