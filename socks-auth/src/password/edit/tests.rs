use std::fs;

use proptest::prelude::*;

use super::*;
use crate::password::tests::quick_hash;

fn hash(password: &str) -> StoredHash {
    quick_hash(password.as_bytes()).parse().unwrap()
}

fn user(name: &str) -> User {
    User::new(name, hash("secret"))
}

/// A file with that text, in a folder that lasts as long as it.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.yaml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// The text after an edit, with the quick hash of `secret` as `HASH`.
fn edited(text: &str, edit: impl FnOnce(&mut UsersFile) -> Result<(), EditError>) -> Result<String, String> {
    let hash = hash("secret");
    let (_folder, path) = file(&text.replace("HASH", hash.as_str()));
    let mut users = UsersFile::open(path).unwrap();
    edit(&mut users).map_err(|error| error.to_string())?;
    Ok(users.text().replace(hash.as_str(), "HASH"))
}

#[test]
fn an_account_is_added_in_the_style_of_the_others() {
    for (before, after) in [
        ("", "users:\n  - name: new\n    hash: \"HASH\"\n"),
        ("# mine\n", "# mine\nusers:\n  - name: new\n    hash: \"HASH\"\n"),
        ("users: []  # none\n", "users:   # none\n  - name: new\n    hash: \"HASH\"\n"),
        ("users:\n", "users:\n  - name: new\n    hash: \"HASH\"\n"),
        ("users:", "users:\n  - name: new\n    hash: \"HASH\"\n"),
        ("users: ~", "users: \n  - name: new\n    hash: \"HASH\"\n"),
        (
            "users:\n- name: a   # odd\n  hash: HASH # last\n\n# end\n",
            "users:\n- name: a   # odd\n  hash: HASH # last\n- name: new\n  hash: \"HASH\"\n\n# end\n",
        ),
        (
            "users:\n   -  name: a\n      hash: \"HASH\"",
            "users:\n   -  name: a\n      hash: \"HASH\"\n   - name: new\n     hash: \"HASH\"\n",
        ),
        (
            "users:\r\n- {name: a, hash: \"HASH\"}\r\n",
            "users:\r\n- {name: a, hash: \"HASH\"}\r\n- name: new\r\n  hash: \"HASH\"\r\n",
        ),
        (
            "users: [{name: a, hash: \"HASH\"}]\n",
            "users: [{name: a, hash: \"HASH\"}, {name: new, hash: \"HASH\"}]\n",
        ),
    ] {
        assert_eq!(edited(before, |it| it.add(&user("new"))), Ok(after.to_owned()), "{before:?}");
    }
}

#[test]
fn groups_end_and_odd_names_are_written() {
    let account = User {
        groups: vec!["a".into(), "b c".into(), "null".into()],
        expires: "2027-01-02T00:00:00Z".parse().ok(),
        disabled: true,
        ..user("jürgen \"x\" \\ #: y")
    };
    let text = edited("", |it| it.add(&account)).unwrap();
    let expected = "users:\n  - name: \"jürgen \\\"x\\\" \\\\ #: y\"\n    hash: \"HASH\"\n    groups: [a, \"b c\", \"null\"]\n    expires: 2027-01-01\n    disabled: true\n";
    assert_eq!(text, expected);
}

#[test]
fn an_account_is_removed_with_its_lines() {
    let block = "# top\nusers:\n- name: a\n  hash: \"HASH\"   # x\n\n# of b\n- hash: HASH\n  name: b\n- {name: c, hash: \"HASH\"}\n# end\n";
    for (name, after) in [
        ("a", "# top\nusers:\n\n# of b\n- hash: HASH\n  name: b\n- {name: c, hash: \"HASH\"}\n# end\n"),
        (
            "b",
            "# top\nusers:\n- name: a\n  hash: \"HASH\"   # x\n\n# of b\n- {name: c, hash: \"HASH\"}\n# end\n",
        ),
        ("c", "# top\nusers:\n- name: a\n  hash: \"HASH\"   # x\n\n# of b\n- hash: HASH\n  name: b\n# end\n"),
    ] {
        assert_eq!(edited(block, |it| it.remove(name)), Ok(after.to_owned()), "{name}");
    }
    assert_eq!(
        edited("users:\n- {name: a, hash: \"HASH\"}\n", |it| it.remove("a")),
        Ok("users:\n".to_owned())
    );
    let flow = "users: [{name: a, hash: \"HASH\"}, {name: b, hash: \"HASH\"}]\n";
    assert_eq!(edited(flow, |it| it.remove("a")), Ok("users: [{name: b, hash: \"HASH\"}]\n".to_owned()));
    assert_eq!(edited(flow, |it| it.remove("b")), Ok("users: [{name: a, hash: \"HASH\"}]\n".to_owned()));
    let both = |it: &mut UsersFile| it.remove("a").and_then(|()| it.remove("b"));
    assert_eq!(edited(flow, both), Ok("users: []\n".to_owned()));
}

#[test]
fn a_password_is_changed_in_its_place() {
    let (_folder, path) = file("");
    let mut users = UsersFile::open(&path).unwrap();
    users.add(&user("a")).unwrap();
    users.set_hash("a", &hash("other")).unwrap();
    assert_eq!(users.verify("a", b"other").as_str(), "granted");
    assert_eq!(users.verify("a", b"secret").as_str(), "wrong password");
    assert!(matches!(users.set_hash("b", &hash("x")), Err(EditError::Unknown(_))));
}

#[test]
fn what_cannot_be_done_is_said() {
    let text = "users:\n- {name: a, hash: \"HASH\"}\n";
    assert_eq!(edited(text, |it| it.add(&user("a"))), Err("user `a` is there already".to_owned()));
    assert_eq!(edited(text, |it| it.remove("b")), Err("there is no user `b`".to_owned()));
    assert_eq!(
        edited(text, |it| it.add(&user(""))),
        Err("a user name has 1 to 255 octets, not 0".to_owned())
    );
    let by_hand = Err("the file's form is not one that can be edited; edit it by hand".to_owned());
    assert_eq!(edited("{users: []}\n", |it| it.add(&user("a"))), by_hand);
    assert_eq!(edited("users:\n-\n  name: a\n  hash: HASH\n", |it| it.add(&user("b"))), by_hand);
    let (_folder, path) = file("users: 1\n");
    assert!(matches!(UsersFile::open(path), Err(EditError::File(_))));
}

#[test]
fn a_file_is_saved_unless_somebody_changed_it() {
    let (folder, path) = file("users: []\n");
    let mut users = UsersFile::open(&path).unwrap();
    users.add(&user("a")).unwrap();
    users.save().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), users.text());
    users.add(&user("b")).unwrap();
    users.save().unwrap();
    fs::write(&path, "users: []\n").unwrap();
    users.add(&user("c")).unwrap();
    assert!(matches!(users.save(), Err(EditError::Changed)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "users: []\n");

    let fresh = folder.path().join("fresh.yaml");
    let mut users = UsersFile::open(&fresh).unwrap();
    users.add(&user("a")).unwrap();
    users.save().unwrap();
    assert!(Users::read(&fresh).unwrap().find(b"a").is_some());
}

proptest! {
    #[test]
    fn any_name_survives_being_added_and_removed(name in "[^\\p{Cc}]{1,40}") {
        let (_folder, path) = file("users:\n- name: first\n  hash: HASH\n".replace("HASH", hash("x").as_str()).as_str());
        let mut users = UsersFile::open(path).unwrap();
        let before = users.text().to_owned();
        prop_assume!(name != "first");
        users.add(&user(&name)).unwrap();
        prop_assert!(users.users().find(name.as_bytes()).is_some());
        users.remove(&name).unwrap();
        prop_assert_eq!(users.text(), before);
    }
}
