//! What is said of broken rules, word for word: `errors.txt` has the rules and the answers.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, and so may what it calls"
)]

use std::{env, fs, path::Path};

use ferrix_rule::Rule;

#[test]
fn broken_rules_are_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.txt");
    let golden = fs::read_to_string(&path).unwrap();
    let (header, cases) = golden.split_once("\n\n").unwrap();

    let mut found = format!("{header}\n");
    let mut count = 0;
    for case in cases.trim_end().split("\n\n") {
        let lines: Vec<_> = case
            .lines()
            .map_while(|line| line.strip_prefix("> "))
            .collect();
        let rule = lines.join("\n");
        let error = Rule::parse(&rule).expect_err(&rule);
        let quoted = rule.replace('\n', "\n> ");
        found.push_str(&format!("\n> {quoted}\n{error}\n"));
        count += 1;
    }
    if env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(
        found, golden,
        "if this is meant, run the test with UPDATE_GOLDENS=1"
    );
    assert_eq!(count, 100);
}

#[test]
fn a_rule_of_nothing_is_empty() {
    for text in [
        "",
        " ",
        "\n\t",
        "// only a comment",
        "/* only */ // comments",
        "\u{feff}",
    ] {
        let error = Rule::parse(text).unwrap_err();
        assert_eq!(error.message, "the rule is empty", "{text:?}");
        assert_eq!((error.line, error.column), (1, 1), "{text:?}");
    }
}
