use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::Value;

fn parse(text: &str) -> Result<Document, Findings> {
    Document::parse("f", text.to_owned())
}

/// Line, column and message of each finding.
fn mistakes(text: &str) -> Vec<String> {
    let findings = parse(text).unwrap_err();
    let shown = |it: &Finding| {
        let place = it.place.as_ref().map(|it| format!("{}:{} ", it.line(), it.column())).unwrap_or_default();
        format!("{place}{}", it.message)
    };
    findings.iter().map(shown).collect()
}

/// The tree as one line: scalars with their quotes as `'`, places left out.
fn outline(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(scalar) if scalar.is_plain() => scalar.text().to_owned(),
        Value::Scalar(scalar) => format!("'{}'", scalar.text()),
        Value::List(items) => format!("[{}]", items.iter().map(outline).collect::<Vec<_>>().join(",")),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}:{}", outline(key), outline(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn scalars_stay_as_they_are_written() {
    let text = "a: 22\nb: 0x16\nc: 10.0\nd: yes\ne: '22'\nf: ~\ng:\nh: \"x\\ty\"\ni: 2027-03-31\nj: null\nk: 'null'\n";
    let expected = "{a:22,b:0x16,c:10.0,d:yes,e:'22',f:null,g:null,h:'x\ty',i:2027-03-31,j:null,k:'null'}";
    assert_eq!(outline(&parse(text).unwrap().root), expected);
}

#[test]
fn nested_forms_keep_their_order_and_repeated_keys() {
    let text = "b:\n- 1\n- {y: 2, x: [3]}\na: |\n  two\n  lines\nb: 4\n";
    assert_eq!(outline(&parse(text).unwrap().root), "{b:[1,{y:2,x:[3]}],a:'two\nlines\n',b:4}");
}

#[test]
fn an_empty_file_is_nothing() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "\u{FEFF}"] {
        assert!(parse(text).unwrap().root.is_null(), "{text:?}");
    }
}

#[test]
fn places_count_characters_in_files_with_crlf_and_a_byte_order_mark() {
    let document = parse("\u{FEFF}grüße: ä\r\nb:   [ö, {ü: x}]\r\n").unwrap();
    let Value::Map(pairs) = &document.root.value else { panic!("no mapping") };
    let spot = |node: &Node| (node.place.line(), node.place.column(), node.place.text().to_owned());
    assert_eq!(spot(&pairs[0].0), (1, 1, "grüße".to_owned()));
    assert_eq!(spot(&pairs[0].1), (1, 8, "ä".to_owned()));
    assert_eq!(spot(&pairs[1].1), (2, 6, "[ö, {ü: x}]".to_owned()));
    let inner = &pairs[1].1.items()[1];
    assert_eq!(spot(inner), (2, 10, "{ü: x}".to_owned()));
    let Value::Map(pairs) = &inner.value else { panic!("no mapping") };
    assert_eq!(spot(&pairs[0].1), (2, 14, "x".to_owned()));
}

#[test]
fn a_block_ends_with_its_last_value() {
    let document = parse("- name: a # first\n  port: 1\n\n# next\n- name: b\n").unwrap();
    let first = &document.root.items()[0].place;
    assert_eq!((first.line(), first.column()), (1, 3));
    assert_eq!(&first.source().text()[first.offsets()], "name: a # first\n  port: 1");
}

#[test]
fn what_is_not_accepted_is_found_all_at_once() {
    let text = "a: &x 1\nb: *x\nc: !tag 2\n<<: {}\nd: *.corp.example\n";
    let expected = [
        "1:4 anchors are not accepted",
        "2:4 aliases are not accepted",
        "3:4 tags are not accepted",
        "4:1 merge keys are not accepted",
        "5:4 aliases are not accepted",
    ];
    assert_eq!(mistakes(text), expected);
    let findings = parse("[*.corp.example]").unwrap_err();
    let help = findings.iter().next().and_then(|it| it.help.clone());
    assert_eq!(help.as_deref(), Some("put quotes around a text that begins with `*`"));
}

#[test]
fn a_mistake_of_syntax_has_a_place() {
    for (text, expected) in [
        ("a: 1\n---\nb: 1\n", "2:1 several documents in one file are not accepted"),
        ("a:\n\tb: 1\n", "2:2 tabs cannot indent"),
        ("a: b: c\n", "1:5 a value cannot begin here"),
        ("  a: 1\n b: 2\n", "2:2 the indentation fits nothing above"),
        ("a: 1\n- b\n", "2:3 expected another key of the mapping above"),
        ("a: @x\n", "1:4 unexpected character `@`"),
        ("a: [1, 2\n", "1:4 syntax: unclosed bracket '['"),
        ("%YAML 1.2\n---\na: 1\n", "1:1 directives are not accepted"),
        ("a: \"x", "1:4 syntax: unclosed quote"),
    ] {
        assert_eq!(mistakes(text), [expected], "{text:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let flow = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&flow(MAX_DEPTH)).is_ok());
    let deepest = format!("1:{} nested deeper than {MAX_DEPTH} levels", MAX_DEPTH + 1);
    assert_eq!(mistakes(&flow(MAX_DEPTH + 1)), [deepest]);
    for opening in ["[", "- ", "{a: ", "? "] {
        let shown = mistakes(&opening.repeat(100_000));
        assert_eq!(shown.len(), 1, "{opening}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding_without_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.yaml");
    let findings = Document::read(&missing).unwrap_err();
    assert!(findings.to_string().starts_with(&format!("mistake: cannot read `{}`", missing.display())));

    let octets = folder.path().join("octets.yaml");
    File::create(&octets).unwrap().write_all(b"a: 1\nb: \xFF\n").unwrap();
    let shown = Document::read(&octets).unwrap_err().to_string();
    assert!(shown.ends_with("is not UTF-8 text (in line 2)"), "{shown}");

    let large = folder.path().join("large.yaml");
    File::create(&large).unwrap().set_len(MAX_LEN as u64 + 1).unwrap();
    let shown = Document::read(&large).unwrap_err().to_string();
    assert!(shown.ends_with("is larger than 64 MiB"), "{shown}");

    assert!(Document::read(folder.path()).is_err());
}

/// Whatever a file holds, reading it ends with a tree whose places are inside, or with findings that print.
fn reads_without_panic(text: &str) {
    match parse(text) {
        Ok(document) => {
            let mut findings = Findings::default();
            if let Some(mut fields) = document.root.fields(&mut findings) {
                fields.take("a");
                fields.finish(&mut findings);
            }
            let read = document.root.read::<std::collections::BTreeMap<String, Vec<u8>>>();
            drop((outline(&document.root), findings.to_string(), read.map_err(|it| it.to_string())));
        }
        Err(findings) => {
            assert!(findings.has_mistakes());
            assert!(!findings.to_string().is_empty());
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        reads_without_panic(&text);
    }

    #[test]
    fn any_text_of_yaml_characters_is_read_or_refused(text in "[-a:?,\\[\\]{}&*#!|>'\"%@`~ \t\r\n\u{FEFF}ä\u{0}\\\\<0]{0,80}") {
        reads_without_panic(&text);
    }
}
