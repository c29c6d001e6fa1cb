//! Secrets that may not be read: what the routes that need them say, and that they follow.
#![allow(clippy::unwrap_used, reason = "tests")]

use ferrix_control::{
    Compiler, Settings,
    decode::{Decoded, Strictness, decode},
    objects::Origin,
    world::Change,
};
use ferrix_table::{publish, table::EntryPoint};

fn route(namespace: &str) -> Change {
    let value = serde_json::json!({
        "apiVersion": "ferrix.com/v1",
        "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": namespace, "generation": 1},
        "spec": {
            "route": {"rules": [{"service": {"name": "api", "port": 80}}]},
            "tls": "certificate",
        },
    });
    match decode(&value, Strictness::Api).unwrap() {
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
        namespace: "one".into(),
        reason: reason.map(str::to_owned),
    }
}

#[test]
fn routes_say_why_their_secret_cannot_be_seen() {
    let entry_point = EntryPoint {
        name: "websecure".to_owned(),
        secure: true,
    };
    let (publisher, _reader) = publish::channel();
    let mut compiler = Compiler::new(Settings::new(vec![entry_point]), publisher);
    compiler.apply([withhold(Some("bind a role")), route("one"), route("other")]);
    compiler.loaded();
    let messages = |compiler: &Compiler| -> Vec<bool> {
        let report = compiler.reports().borrow().clone();
        let findings = report.findings().map(|it| it.to_string());
        let about_secrets = findings.filter(|it| it.contains("Secret"));
        about_secrets.map(|it| it.contains("bind a role")).collect()
    };
    assert_eq!(messages(&compiler), [true, false]);
    compiler.apply([withhold(None)]);
    assert_eq!(messages(&compiler), [false, false]);
    compiler.apply([withhold(Some("bind a role"))]);
    assert_eq!(messages(&compiler), [true, false]);
}
