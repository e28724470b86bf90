//! Every YAML sample of a policy in the documentation is a policy without mistakes whose tests pass.

use std::path::{Path, PathBuf};

use socks_config::Document;
use socks_core::Timestamp;
use socks_policy::{Context, Ruleset};

/// The time at which the samples are read: before their rules expire.
const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The README and the pages of the reference.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs"))
        .expect("the documentation")
        .map(|entry| entry.expect("an entry").path());
    docs.filter(|path| path.extension().is_some_and(|end| end == "md"))
        .chain([root.join("README.md")])
        .collect()
}

/// The fenced YAML blocks of a page, each with the line in which it begins; those in a list are indented.
fn samples(page: &str) -> Vec<(usize, String)> {
    let mut samples = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((begin, fence)) = lines.find(|(_, line)| line.trim_start() == "```yaml") {
        let indent = fence.len() - fence.trim_start().len();
        let block = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_start() != "```");
        let block = block.flat_map(|line| [line.get(indent..).unwrap_or_default(), "\n"]);
        samples.push((begin, block.collect()));
    }
    samples
}

/// The keys that stand at the left margin.
fn sections(sample: &str) -> Vec<&str> {
    let keys = sample.lines().filter_map(|line| line.split_once(':').map(|(key, _)| key));
    keys.filter(|key| key.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

/// Whole or in part: all of its sections are those of a policy. What else there is, the tests of the whole
/// program check.
fn is_policy(sample: &str) -> bool {
    let sections = sections(sample);
    !sections.is_empty()
        && sections.iter().all(|key| ["version", "sets", "clients", "rules", "tests"].contains(key))
}

/// The sample with the sections that a policy must have and that it leaves out.
fn completed(sample: &str) -> String {
    let mut text = sample.to_owned();
    for (section, line) in
        [("version", "version: 1\n"), ("clients", "clients: []\n"), ("rules", "rules: []\n")]
    {
        if !sample.lines().any(|line| line.starts_with(&format!("{section}:"))) {
            text.push_str(line);
        }
    }
    text
}

#[test]
fn every_sample_is_a_policy_whose_tests_pass() {
    let mut count = 0;
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for (line, sample) in samples(&page).into_iter().filter(|(_, sample)| is_policy(sample)) {
            check(&format!("{}, line {line}", path.display()), &sample);
            count += 1;
        }
    }
    assert!(count > 9, "only {count} samples");
}

/// A folder with the files that the sample includes.
fn included(sample: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let files = sample.split("include: ").skip(1).filter_map(|rest| rest.split([' ', '}', '\n']).next());
    files.for_each(|file| std::fs::write(folder.path().join(file), "192.0.2.0/24\n").expect("a file"));
    folder
}

fn check(place: &str, sample: &str) {
    let document =
        Document::parse("policy.yaml", completed(sample)).unwrap_or_else(|it| panic!("{place}:\n{it}"));
    let folder = included(sample);
    let context = Context { now: NOW, base: Some(folder.path()), ..Context::default() };
    let loaded = Ruleset::load(&document, &context);
    let loaded = loaded.unwrap_or_else(|findings| panic!("{place}:\n{findings}"));
    assert!(loaded.warnings.is_empty(), "{place}:\n{}", loaded.warnings);
    for test in loaded.ruleset.run_tests() {
        assert!(test.passed(), "{place}:\n{test}");
    }
}
