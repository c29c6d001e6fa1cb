//! Secrets that may not be read: what the routes that need them say, and that they follow.
#![allow(clippy::unwrap_used, reason = "tests")]

use ferrix_control::{
    Compiler, Settings,
    decode::{Decoded, Strictness, decode},
    objects::{Kind, Origin},
    world::Change,
};
use ferrix_table::{publish, table::EntryPoint};

fn route(namespace: &str) -> Change {
    change(&serde_json::json!({
        "apiVersion": "ferrix.com/v1",
        "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": namespace, "generation": 1},
        "spec": {
            "route": {"rules": [{"service": {"name": "api", "port": 80}}]},
            "tls": "certificate",
        },
    }))
}

fn secret(namespace: &str) -> Change {
    let certified = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    change(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "certificate", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": certified.cert.pem(),
            "tls.key": certified.signing_key.serialize_pem(),
        },
    }))
}

fn change(value: &serde_json::Value) -> Change {
    match decode(value, Strictness::Api).unwrap() {
        Decoded::Object { object, .. } => Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        },
        Decoded::Ignored(kind) => panic!("{kind}"),
    }
}

fn withhold(reason: Option<&str>) -> Change {
    Change::Withhold {
        kind: Kind::Secret,
        namespace: Some("one".into()),
        reason: reason.map(str::to_owned),
    }
}

fn compiler(changes: impl IntoIterator<Item = Change>) -> Compiler {
    let entry_point = EntryPoint::https("websecure");
    let (publisher, _reader) = publish::channel();
    let mut compiler = Compiler::new(Settings::new(vec![entry_point]), publisher);
    compiler.apply(changes);
    compiler.loaded();
    compiler
}

/// What is said of Secrets, in the order of the routes.
fn about_secrets(compiler: &Compiler) -> Vec<String> {
    let report = compiler.reports().borrow().clone();
    let findings = report.findings().map(|it| it.to_string());
    findings.filter(|it| it.contains("Secret")).collect()
}

#[test]
fn routes_say_why_their_secret_cannot_be_seen() {
    let mut compiler = compiler([withhold(Some("bind a role")), route("one"), route("other")]);
    let messages = |compiler: &Compiler| -> Vec<bool> {
        let messages = about_secrets(compiler);
        messages
            .iter()
            .map(|it| it.contains("bind a role"))
            .collect()
    };
    assert_eq!(messages(&compiler), [true, false]);
    compiler.apply([withhold(None)]);
    assert_eq!(messages(&compiler), [false, false]);
    compiler.apply([withhold(Some("bind a role"))]);
    assert_eq!(messages(&compiler), [true, false]);
}

#[test]
fn a_secret_that_was_seen_is_presented_on_and_the_route_says_so() {
    let mut compiler = compiler([secret("one"), route("one")]);
    assert!(about_secrets(&compiler).is_empty());
    compiler.apply([withhold(Some("bind a role"))]);
    let messages = about_secrets(&compiler);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("can no longer be seen") && messages[0].contains("bind a role"));
    compiler.apply([withhold(None)]);
    assert!(about_secrets(&compiler).is_empty());
}
