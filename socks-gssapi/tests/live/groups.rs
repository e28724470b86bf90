//! Where a client's groups come from, with real tickets.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use krb_testenv::{Environment, Realm};
use socks_auth::groups::{GroupError, GroupSource, Groups};
use socks_auth::{AuthSession, Authenticator, BuildContext, ClientInfo, async_trait};
use socks_core::{Identity, Level, Levels};
use socks_gssapi::{Gssapi, GssapiFactory, Options};

use crate::method::negotiate;
use crate::stage::{SERVICE, both_sides, in_realm, ordinary, rules};

/// The method with these further options in JSON.
fn gssapi(options: &str) -> Gssapi {
    let text = format!(r#"{{ "keytab": {:?}{options} }}"#, rules().keytab);
    let options: Options = serde_json::from_str(&text).unwrap();
    GssapiFactory.method(&options, &BuildContext::new("gssapi", Path::new("/"), None)).unwrap()
}

/// Logs in, and gives the identity that comes of it; the policy must have been asked about the same one.
async fn log_in(method: &Gssapi) -> Identity {
    let (ours, mut theirs) = tokio::io::duplex(1 << 17);
    let address = "192.0.2.1:1".parse().unwrap();
    let judged = Mutex::new(None);
    let policy = |identity: &Identity| {
        *judged.lock().unwrap() = Some(identity.clone());
        Levels::Unrestricted
    };
    let server = async {
        let mut received = BytesMut::new();
        let info = ClientInfo::new(address, address);
        let mut session = AuthSession::new(&mut theirs, &mut received, info, &policy);
        method.authenticate(&mut session).await
    };
    let client = negotiate(ours, Level::Confidentiality, Levels::Unrestricted);
    let (granted, agreed) = tokio::join!(server, client);
    assert!(agreed.unwrap().is_some());
    let identity = granted.unwrap().identity;
    assert_eq!(judged.into_inner().unwrap().as_ref(), Some(&identity));
    identity
}

fn run(test: &str, prepare: impl FnOnce() -> (Realm, Environment), body: impl Future<Output = ()>) {
    in_realm(test, prepare, || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body);
    });
}

/// A realm with one user, whom krb5.conf maps to this local one.
fn mapped(user: &str, local: Option<&str>) -> (Realm, Environment) {
    let mut builder = Realm::builder("EXAMPLE.TEST").user(user, "secret").service(SERVICE);
    if let Some(local) = local {
        builder = builder.local_name(user, local);
    }
    let realm = builder.start().unwrap();
    let environment = both_sides(&realm, &realm.kinit(user).unwrap());
    (realm, environment)
}

fn attribute<'a>(identity: &'a Identity, name: &str) -> Option<&'a str> {
    identity.attributes.get(name).map(|value| &**value)
}

/// The reason why the groups are unknown, after a check that there are none.
fn missing(identity: &Identity) -> &str {
    assert!(identity.groups.is_empty(), "{identity:?}");
    assert_eq!(attribute(identity, "groups-source"), None);
    identity.groups_missing.as_deref().expect("groups are unknown")
}

#[test]
fn a_ticket_without_groups_leaves_them_unknown_unless_nobody_asks_it() {
    run("groups::a_ticket_without_groups_leaves_them_unknown_unless_nobody_asks_it", ordinary, async {
        let alice = log_in(&gssapi(r#", "groups": []"#)).await;
        assert!(alice.groups.is_empty() && alice.groups_missing.is_none(), "{alice:?}");
        assert_eq!(attribute(&alice, "groups-source"), None);
        for options in ["", r#", "groups": ["pac"]"#] {
            let alice = log_in(&gssapi(options)).await;
            assert!(missing(&alice).starts_with("source `pac`: ticket has no groups"), "{alice:?}");
        }
    });
}

#[test]
fn a_groups_file_counts_as_it_is_at_the_login() {
    run("groups::a_groups_file_counts_as_it_is_at_the_login", ordinary, async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.yaml");
        fs::write(&path, "groups: { staff: [alice@EXAMPLE.TEST], admins: [bob@EXAMPLE.TEST] }").unwrap();
        let method = gssapi(&format!(r#", "groups": [{{ "file": {path:?} }}]"#));
        let alice = log_in(&method).await;
        assert_eq!(alice.groups, ["staff".into()]);
        assert_eq!(attribute(&alice, "groups-source"), Some("file"));
        assert_eq!(attribute(&alice, "groups-age"), Some("0"));
        fs::write(&path, "groups: { staff: [alice@EXAMPLE.TEST").unwrap();
        assert!(missing(&log_in(&method).await).starts_with("source `file`: /"));
        fs::remove_file(&path).unwrap();
        assert!(missing(&log_in(&method).await).starts_with("source `file`: cannot read `/"));
        fs::write(&path, "groups: { admins: [alice@EXAMPLE.TEST] }").unwrap();
        assert_eq!(log_in(&method).await.groups, ["admins".into()]);
    });
}

#[test]
fn the_local_database_knows_the_groups_of_the_local_name() {
    let prepare = || mapped("alice", Some("root"));
    run("groups::the_local_database_knows_the_groups_of_the_local_name", prepare, async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.yaml");
        fs::write(&path, "groups: { staff: [alice@EXAMPLE.TEST] }").unwrap();
        let method = gssapi(&format!(r#", "groups": ["local", {{ "file": {path:?} }}]"#));
        let alice = log_in(&method).await;
        assert!(alice.groups.contains(&"root".into()), "{alice:?}");
        assert!(alice.groups.contains(&"staff".into()), "{alice:?}");
        assert_eq!(attribute(&alice, "local-name"), Some("root"));
        assert_eq!(attribute(&alice, "groups-source"), Some("local,file"));
        fs::remove_file(&path).unwrap();
        let reason = log_in(&method).await;
        assert!(missing(&reason).starts_with("source `file`"), "one that fails is enough: {reason:?}");
    });
}

#[test]
fn who_is_no_user_of_the_system_has_unknown_groups() {
    let prepare = || mapped("alice", Some("no-such-user"));
    run("groups::who_is_no_user_of_the_system_has_unknown_groups", prepare, async {
        let alice = log_in(&gssapi(r#", "groups": ["local"]"#)).await;
        assert!(missing(&alice).contains("knows no user `no-such-user`"), "{alice:?}");
    });
}

#[test]
fn who_has_no_local_name_has_unknown_groups() {
    let prepare = || mapped("svc/batch", None);
    run("groups::who_has_no_local_name_has_unknown_groups", prepare, async {
        let batch = log_in(&gssapi(r#", "groups": ["local"]"#)).await;
        assert!(missing(&batch).contains("`svc/batch@EXAMPLE.TEST` has no local name"), "{batch:?}");
    });
}

/// A third party's source.
enum Foreign {
    Tells,
    Hangs,
}

#[async_trait]
impl GroupSource for Foreign {
    fn name(&self) -> &str {
        "foreign"
    }

    async fn groups(&self, identity: &Identity) -> Result<Groups, GroupError> {
        match self {
            Self::Tells => Ok(Groups::new([identity.to_string()], "2026-01-01T00:00:00Z".parse().unwrap())),
            Self::Hangs => std::future::pending().await,
        }
    }
}

#[test]
fn a_third_party_can_add_a_source_and_its_answer_has_an_age() {
    run("groups::a_third_party_can_add_a_source_and_its_answer_has_an_age", ordinary, async {
        let alice = log_in(&gssapi(r#", "groups": []"#).group_source(Arc::new(Foreign::Tells))).await;
        assert_eq!(alice.groups, ["alice@EXAMPLE.TEST".into()]);
        assert_eq!(attribute(&alice, "groups-source"), Some("foreign"));
        assert!(attribute(&alice, "groups-age").unwrap().parse::<u64>().unwrap() > 86_400);
    });
}

#[test]
fn a_source_that_hangs_costs_the_groups_and_not_the_login() {
    run("groups::a_source_that_hangs_costs_the_groups_and_not_the_login", ordinary, async {
        let alice = log_in(&gssapi(r#", "groups": []"#).group_source(Arc::new(Foreign::Hangs))).await;
        assert!(missing(&alice).starts_with("source `foreign`: no answer within 3 s"), "{alice:?}");
    });
}

#[test]
fn mistakes_in_the_options_are_told() {
    run("groups::mistakes_in_the_options_are_told", ordinary, async {
        for options in [
            r#""groups": ["nis"]"#,
            r#""groups": [{ "local": 1 }]"#,
            r#""groups": "pac""#,
            r#""groups": [{ "file": "/nowhere/groups.yaml" }]"#,
            r#""groups": ["pac", "pac"]"#,
            r#""group-cache": "2h""#,
            r#""group-cache": "60""#,
        ] {
            let text = format!(r#"{{ "keytab": {:?}, {options} }}"#, rules().keytab);
            let context = BuildContext::new("gssapi", Path::new("/"), None);
            let built = serde_json::from_str::<Options>(&text)
                .map_err(|error| error.to_string())
                .and_then(|it| GssapiFactory.method(&it, &context).map_err(|error| error.to_string()));
            println!("{options}: {}", built.map(drop).unwrap_err());
        }
        gssapi(r#", "groups": ["pac", "local"], "group-cache": "0s""#);
    });
}
