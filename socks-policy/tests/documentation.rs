//! Every YAML sample of the policy language's reference is a policy without mistakes whose tests pass.

use std::path::Path;

use socks_config::Document;
use socks_core::Timestamp;
use socks_policy::{Context, Ruleset};

/// The time at which the samples are read: before their rules expire.
const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The fenced YAML blocks of a page, each with the line in which it begins.
fn samples(page: &str) -> Vec<(usize, String)> {
    let mut samples = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((begin, _)) = lines.find(|(_, line)| *line == "```yaml") {
        let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        samples.push((begin, block.flat_map(|line| [line, "\n"]).collect()));
    }
    samples
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    let page = std::fs::read_to_string(path).unwrap();
    let samples = samples(&page);
    assert!(samples.len() > 4, "the page has samples");
    for (line, sample) in samples {
        let document = Document::parse("policy.md", completed(&sample)).unwrap_or_else(|it| panic!("{it}"));
        let loaded = Ruleset::load(&document, &Context { now: NOW, ..Context::default() });
        let loaded = loaded.unwrap_or_else(|findings| panic!("sample in line {line}:\n{findings}"));
        assert!(loaded.warnings.is_empty(), "sample in line {line}:\n{}", loaded.warnings);
        for test in loaded.ruleset.run_tests() {
            assert!(test.passed(), "sample in line {line}:\n{test}");
        }
    }
}
