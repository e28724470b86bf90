//! The replay cache: where it is, and whether it can be written.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};
use rustix::process::geteuid;
use socks_auth::BuildContext;
use socks_gssapi::ReplayCache;

use super::finding::Report;
use super::profile::Profile;

const ID: &str = "replay-cache";
/// What `statfs` says of a file system in memory.
const TMPFS: i64 = 0x0102_1994;
/// Where the library puts the cache unless the environment names a folder.
const FOLDER: &str = "/var/tmp";

/// The option with a path relative to the configuration.
pub(super) fn placed(option: &ReplayCache, context: &BuildContext) -> ReplayCache {
    match option {
        ReplayCache::File(path) => ReplayCache::File(context.path(path)),
        other => other.clone(),
    }
}

/// Says where requests are remembered, and whether that works.
pub(super) fn examine(option: &ReplayCache, profile: &Profile, report: &mut Report<'_>) {
    match option {
        ReplayCache::File(path) => file(path, report),
        ReplayCache::None => none("`replay-cache: none`", report),
        ReplayCache::Default => by_name(&default_name(profile), report),
    }
}

/// The library's own choice: environment, configuration, default.
fn default_name(profile: &Profile) -> String {
    let named = env::var("KRB5RCACHENAME").ok();
    let configured = || profile.library_default("default_rcache_name").map(ToOwned::to_owned);
    let by_type =
        || env::var("KRB5RCACHETYPE").ok().filter(|kind| kind == "none").map(|_| "none:".to_owned());
    named.or_else(configured).or_else(by_type).unwrap_or_else(|| "dfl:".to_owned())
}

fn by_name(name: &str, report: &mut Report<'_>) {
    match name.split_once(':') {
        Some(("none", _)) => none(&format!("`{name}` in environment or krb5.conf"), report),
        Some(("dfl", _)) => file(&default_file(), report),
        Some(("file2", path)) if !path.contains("%{") => file(Path::new(path), report),
        _ => report.note(ID, format!("replay cache is `{name}`, which this check cannot look at"), ""),
    }
}

fn default_file() -> PathBuf {
    let folder = env::var_os("KRB5RCACHEDIR").or_else(|| env::var_os("TMPDIR"));
    let folder = folder.map_or_else(|| PathBuf::from(FOLDER), PathBuf::from);
    folder.join(format!("krb5_{}.rcache2", geteuid().as_raw()))
}

fn none(why: &str, report: &mut Report<'_>) {
    let text = format!(
        "no replay cache ({why}): whoever has recorded a handshake can repeat its first step, and is stopped only when it must seal its level"
    );
    report.warning(
        ID,
        text,
        "use `replay-cache: default` or a file, unless the load of handshakes forbids it",
    );
}

fn file(path: &Path, report: &mut Report<'_>) {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let remedy = format!(
        "see the owner and the rights of `{shown}` and its folder, or name another file with `replay-cache`"
    );
    let user = geteuid().as_raw();
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            report.mistake(
                ID,
                format!("replay cache `{shown}` is no ordinary file"),
                "remove it, and look for who has put it there",
            );
        }
        Ok(metadata) if metadata.uid() != user => {
            let text = format!(
                "replay cache `{shown}` belongs to user {}, and the library wants it to be user {user}'s",
                metadata.uid()
            );
            report.mistake(ID, text, "remove it, or run this check as the gateway's user");
        }
        Ok(_) => judge(path, Access::READ_OK | Access::WRITE_OK, &remedy, report),
        Err(_) if folder.is_dir() => judge_folder(path, folder, &remedy, report),
        Err(error) => {
            report.mistake(
                ID,
                format!("replay cache `{shown}` cannot be made: `{}`: {error}", folder.display()),
                remedy,
            );
        }
    }
}

fn judge(path: &Path, wanted: Access, remedy: &str, report: &mut Report<'_>) {
    let shown = path.display();
    match accessat(CWD, path, wanted, AtFlags::EACCESS) {
        Ok(()) => good(path, path, report),
        Err(error) => {
            report.mistake(ID, format!("replay cache `{shown}` cannot be written: {error}"), remedy);
        }
    }
}

fn judge_folder(path: &Path, folder: &Path, remedy: &str, report: &mut Report<'_>) {
    let shown = path.display();
    match accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => good(path, folder, report),
        Err(error) => report.mistake(
            ID,
            format!("replay cache `{shown}` cannot be made in its folder: {error}"),
            remedy,
        ),
    }
}

fn good(path: &Path, there: &Path, report: &mut Report<'_>) {
    // After a restart of the machine a cache in memory is empty, and a request counts for some minutes.
    let is_in_memory = statfs(there).is_ok_and(|system| system.f_type == TMPFS);
    let kind =
        if is_in_memory { ", in memory: a restart of the machine forgets the last minutes" } else { "" };
    report.ok(ID, format!("replay cache `{}` can be written{kind}", path.display()));
}
