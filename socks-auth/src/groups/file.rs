//! A groups file: read at the start, and looked at again with each login.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use socks_config::{Document, Finding, Findings};
use socks_core::{Identity, Timestamp};

use super::{GroupError, GroupSource, Groups, LookupPool, Members};
use crate::{BuildContext, BuildError};

/// The largest file that is read: 16 MiB.
const MAX_LEN: u64 = 16 << 20;
/// A file that changed less long ago may change again without another time of change.
const SETTLED: Duration = Duration::from_secs(2);

/// A file that names groups and their members.
///
/// Whatever the file says counts at once, as with a keytab. One that vanishes or has a mistake is a source that
/// fails: what it said before is not kept.
pub struct GroupFile {
    path: Arc<Path>,
    pool: Arc<LookupPool>,
    kept: Arc<Mutex<Option<Kept>>>,
}

/// What was read last, mistakes included.
struct Kept {
    stamp: Stamp,
    is_settled: bool,
    members: Result<Arc<Members>, GroupError>,
}

/// What changes when a file is changed or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl GroupFile {
    /// Reads the file for the first time, and warns of one that others may change; it is looked at again on `pool`.
    ///
    /// # Errors
    /// All mistakes of the file together, each with its place.
    pub fn build(path: PathBuf, pool: Arc<LookupPool>, context: &BuildContext) -> Result<Self, BuildError> {
        let metadata = metadata(&path).map_err(Findings::from)?;
        Members::of(&Document::read(&path)?)?;
        if metadata.mode() & 0o022 != 0 {
            let shown = path.display();
            context.warn(format!(
                "groups file `{shown}` can be changed by others than its owner: run `chmod 644` on it"
            ));
        }
        Ok(Self { path: path.into(), pool, kept: Arc::default() })
    }
}

#[async_trait]
impl GroupSource for GroupFile {
    fn name(&self) -> &str {
        "file"
    }

    async fn groups(&self, identity: &Identity) -> Result<Groups, GroupError> {
        let (path, kept) = (Arc::clone(&self.path), Arc::clone(&self.kept));
        let look = move || {
            let read_at = Timestamp::now();
            current(&path, &kept).map(|members| (members, read_at))
        };
        let (members, read_at) = self.pool.run(look).await?;
        Ok(Groups::new(members.groups_of(identity)?.iter().cloned(), read_at))
    }
}

/// What the file says now. The lock is held while it is read, so that many logins read it once.
fn current(path: &Path, kept: &Mutex<Option<Kept>>) -> Result<Arc<Members>, GroupError> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let metadata = metadata(path).map_err(|finding| in_short(&finding.into()))?;
    let stamp = Stamp::of(&metadata);
    if let Some(kept) = &*kept
        && kept.is_settled
        && kept.stamp == stamp
    {
        return kept.members.clone();
    }
    let members = Document::read(path).and_then(|document| Members::of(&document));
    let members = members.map(Arc::new).map_err(|findings| in_short(&findings));
    let is_settled = stamp.is_settled(SystemTime::now());
    *kept = Some(Kept { stamp, is_settled, members: members.clone() });
    members
}

/// What the system knows of the file, if it is one and not too large.
fn metadata(path: &Path) -> Result<Metadata, Finding> {
    let shown = path.display();
    let metadata =
        path.metadata().map_err(|error| Finding::unplaced(format!("cannot read `{shown}`: {error}")))?;
    if !metadata.is_file() {
        return Err(Finding::unplaced(format!("`{shown}` is no file")));
    }
    if metadata.len() > MAX_LEN {
        return Err(Finding::unplaced(format!("`{shown}` is larger than {} MiB", MAX_LEN >> 20)));
    }
    Ok(metadata)
}

/// All mistakes in one line, for a record.
fn in_short(findings: &Findings) -> GroupError {
    let mut mistakes = findings.mistakes();
    let first = mistakes.next().map_or_else(String::new, |finding| match &finding.place {
        Some(place) => format!("{place}: {}", finding.message),
        None => finding.message.clone(),
    });
    let others = match mistakes.count() {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    GroupError::new(format!("{first}{others}: run `socksd check`"))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Tells whether a further change is sure to leave another stamp.
    fn is_settled(&self, now: SystemTime) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or_default();
        let age = now.duration_since(UNIX_EPOCH + Duration::from_secs(changed));
        age.is_ok_and(|age| age > SETTLED)
    }
}

impl fmt::Debug for GroupFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Stage {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    impl Stage {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("groups.yaml");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            Self { _folder: folder, path }
        }

        fn build(&self) -> (Result<GroupFile, BuildError>, Vec<String>) {
            let context = BuildContext::new("gssapi", "/", None);
            (GroupFile::build(self.path.clone(), Arc::default(), &context), context.warnings())
        }

        async fn groups_of_bob(&self, source: &GroupFile) -> Result<Vec<Box<str>>, String> {
            let groups = source.groups(&Identity::user("bob")).await;
            let name = self.path.display().to_string();
            groups.map(|groups| groups.names).map_err(|error| error.to_string().replace(&name, "FILE"))
        }
    }

    #[tokio::test]
    async fn what_the_file_says_counts_at_once_and_not_longer() {
        let stage = Stage::new("groups: { staff: [bob] }");
        let source = stage.build().0.unwrap();
        assert_eq!(stage.groups_of_bob(&source).await, Ok(vec!["staff".into()]));
        // The same length, perhaps the same time: only reading tells.
        fs::write(&stage.path, "groups: { stuff: [bob] }").unwrap();
        assert_eq!(stage.groups_of_bob(&source).await, Ok(vec!["stuff".into()]));
        fs::write(&stage.path, "groups: { staff: [bob], a: [x/y], b: [x/y] }").unwrap();
        let broken = stage.groups_of_bob(&source).await.unwrap_err();
        assert_eq!(
            broken,
            "FILE:1:29: `x/y`: is no principal of the form `name@REALM` or `service/host@REALM` (and 1 more): \
             run `socksd check`"
        );
        fs::remove_file(&stage.path).unwrap();
        let gone = stage.groups_of_bob(&source).await.unwrap_err();
        assert_eq!(gone, "cannot read `FILE`: No such file or directory (os error 2): run `socksd check`");
        fs::write(&stage.path, "groups: {}").unwrap();
        assert_eq!(stage.groups_of_bob(&source).await, Ok(vec![]));
    }

    #[test]
    fn a_file_that_has_settled_is_not_read_again() {
        let stage = Stage::new("groups: { staff: [bob] }");
        let stamp = Stamp::of(&stage.path.metadata().unwrap());
        let members = Err(GroupError::new("kept"));
        let kept = |is_settled| Mutex::new(Some(Kept { stamp, is_settled, members: members.clone() }));
        assert_eq!(current(&stage.path, &kept(true)).unwrap_err(), GroupError::new("kept"));
        assert!(current(&stage.path, &kept(false)).is_ok());
        fs::write(&stage.path, "groups: { staff: [bob], more: [] }").unwrap();
        assert!(current(&stage.path, &kept(true)).is_ok());
    }

    #[test]
    fn a_stamp_settles_after_two_seconds() {
        let stamp = Stamp { file: (1, 2), len: 3, modified: (4, 5), changed: (1000, 999_999_999) };
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        assert!(!stamp.is_settled(at(1002)));
        assert!(stamp.is_settled(at(1003)));
        assert!(!stamp.is_settled(at(900)), "a clock that was set back");
    }

    #[test]
    fn mistakes_are_told_before_anything_starts() {
        let (built, _) = Stage::new("groups: { staff: [bob@] }").build();
        assert!(matches!(built, Err(BuildError::File(_))));
        let stage = Stage::new("");
        fs::remove_file(&stage.path).unwrap();
        assert!(matches!(stage.build().0, Err(BuildError::File(_))));
        fs::create_dir(&stage.path).unwrap();
        assert!(stage.build().0.unwrap_err().to_string().contains("is no file"));
    }

    #[test]
    fn a_file_that_others_may_change_is_warned_of() {
        let stage = Stage::new("groups: {}");
        assert!(stage.build().1.is_empty());
        fs::set_permissions(&stage.path, Permissions::from_mode(0o664)).unwrap();
        let (built, warnings) = stage.build();
        assert!(built.is_ok() && matches!(warnings.as_slice(), [one] if one.contains("chmod 644")));
    }
}
