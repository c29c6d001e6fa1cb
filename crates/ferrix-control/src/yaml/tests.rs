use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<Result<Value, String>> {
    documents(text)
        .map(|document| match document {
            Ok(document) => Ok(document.value),
            Err(error) => Err(format!("{}: {error}", error.line)),
        })
        .collect()
}

fn value(text: &str) -> Value {
    match values(text).as_slice() {
        [Ok(value)] => value.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scalars() {
    for (text, expected) in [
        ("~", json!(null)),
        ("null", json!(null)),
        ("''", json!("")),
        ("true", json!(true)),
        ("'true'", json!("true")),
        ("!!str true", json!("true")),
        ("yes", json!("yes")),
        ("8080", json!(8080)),
        ("-5", json!(-5)),
        ("+5", json!(5)),
        ("0x1F", json!(31)),
        ("0o17", json!(15)),
        (
            "18446744073709551615",
            json!(18_446_744_073_709_551_615_u64),
        ),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        (".5", json!(0.5)),
        ("1.2.3", json!("1.2.3")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("2026-01-01", json!("2026-01-01")),
        ("1-2", json!("1-2")),
        ("-", json!([null])),
        ("e1", json!("e1")),
        (".", json!(".")),
        ("0x", json!("0x")),
        ("`/api`", json!(null)),
    ] {
        if text.starts_with('`') {
            // A backtick starts no plain text in YAML: rules beginning with one are quoted.
            assert!(values(text)[0].is_err());
            continue;
        }
        let document = value(&format!("[{text}]\n").replace("[-]", "[[null]]"));
        assert_eq!(document, json!([expected]), "{text}");
    }
}

#[test]
fn documents_are_apart() {
    assert_eq!(values(""), []);
    assert_eq!(values("# nothing\n---\n---\n"), []);
    assert_eq!(
        values("a: 1\n---\nb: 2\n...\n---\nc: 3\n"),
        [
            Ok(json!({ "a": 1 })),
            Ok(json!({ "b": 2 })),
            Ok(json!({ "c": 3 })),
        ]
    );
    let broken = values("a: 1\n---\nb: [\n---\nc: 3\n");
    assert_eq!(
        (&broken[0], &broken[2]),
        (&Ok(json!({ "a": 1 })), &Ok(json!({ "c": 3 })))
    );
    assert!(broken[1].is_err(), "{broken:?}");
    let cut = values("a: 1\n---\nb: {c: 1");
    assert_eq!(cut[0], Ok(json!({ "a": 1 })));
    assert!(cut[1].is_err(), "{cut:?}");
}

#[test]
fn anchors_and_merges() {
    let text = "base: &b {x: 1, y: 2}\nmore: &m {z: 3}\none: *b\ntwo:\n  <<: [*b, *m]\n  y: 4\n";
    assert_eq!(
        value(text),
        json!({
            "base": { "x": 1, "y": 2 },
            "more": { "z": 3 },
            "one": { "x": 1, "y": 2 },
            "two": { "x": 1, "y": 4, "z": 3 },
        })
    );
    assert!(values("a: *b")[0].is_err());
    assert!(values("a: &a [*a]")[0].is_err());
}

#[test]
fn bounds() {
    let laughs: String = (0..12)
        .map(|level| {
            format!(
                "l{level}: &l{level} [{}]\n",
                format!("*l{},", level - 1).repeat(10)
            )
        })
        .collect();
    let laughs = laughs.replace(&"*l-1,".repeat(10), "1,2,3,4,5,6,7,8,9,0");
    assert_eq!(
        values(&laughs),
        [Err("6: the document has more than 500000 values".to_owned())]
    );
    for text in ["[".repeat(100), "- ".repeat(100), "{a: ".repeat(100)] {
        assert!(values(&text)[0].is_err());
    }
}

#[test]
fn lines_of_fields() {
    let text = "# comment\nkind: A\nspec:\n  rules:\n  - name: x\n    port: 1\n  - {name: y}\n";
    let document = documents(text).next().expect("a document").expect("YAML");
    let lines = document.lines;
    for (field, line) in [
        ("", 2),
        ("kind", 2),
        ("spec", 3),
        ("spec.rules", 4),
        ("spec.rules[0]", 5),
        ("spec.rules[0].port", 6),
        ("spec.rules[1].name", 7),
        ("spec.rules[1].missing", 7),
        ("spec.rules[7]", 4),
        ("nothing.of.the[3].kind", 2),
    ] {
        assert_eq!(lines.of(field), line, "{field}");
    }
}

#[test]
fn keys() {
    assert_eq!(
        value("8080: a\ntrue: b\n"),
        json!({ "8080": "a", "true": "b" })
    );
    assert_eq!(
        values("a: 1\na: 2\n"),
        [Err("2: the key `a` is there twice".to_owned())]
    );
    assert!(values("? [a]\n: b\n")[0].is_err());
}

#[test]
fn json_files() {
    let documents = json_documents("\n{\"a\": 1}\n\n{\"b\":\n 2}\n{");
    let lines: Vec<_> = documents
        .iter()
        .map(|document| match document {
            Ok(document) => (document.lines.line(), true),
            Err(error) => (error.line, false),
        })
        .collect();
    assert_eq!(lines, [(2, true), (4, true), (6, false)]);
}
