//! Which crate may depend on what: the table in `ARCHITECTURE.md`, held against `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// The crates of the workspace, with what they depend on outside of tests.
fn dependencies() -> BTreeMap<String, BTreeMap<String, Value>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        let used = dependencies.iter().filter(|it| it["kind"].is_null());
        used.map(|it| (text(&it["name"]), it.clone())).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| (text(&package["name"]), of(package)))
        .collect()
}

#[test]
fn crates_import_what_they_may() {
    let dependencies = dependencies();
    let ours: BTreeSet<_> = dependencies.keys().cloned().collect();
    // By crate: which of ours it may use, and what of others it may not.
    let rules: &[(&str, &[&str], &[&str])] = &[
        ("ferrix-api", &[], &["tokio", "pingora-core"]),
        ("ferrix-rule", &[], &["tokio", "kube", "pingora-core"]),
        ("ferrix-http1", &[], &["tokio", "kube", "pingora-core"]),
        ("ferrix-model", &[], &["tokio", "kube", "pingora-core"]),
        (
            "ferrix-table",
            &["ferrix-rule"],
            &["tokio", "kube", "pingora-core"],
        ),
        (
            "ferrix-control",
            &["ferrix-api", "ferrix-rule", "ferrix-table"],
            &["pingora-core"],
        ),
        ("ferrix-proxy", &["ferrix-http1", "ferrix-table"], &["kube"]),
    ];
    for (name, may, may_not) in rules {
        let used: BTreeSet<_> = dependencies[*name].keys().cloned().collect();
        let allowed: BTreeSet<_> = may.iter().map(|it| (*it).to_owned()).collect();
        let other: Vec<_> = used
            .intersection(&ours)
            .filter(|it| !allowed.contains(*it))
            .collect();
        assert!(other.is_empty(), "{name} imports {other:?}");
        for refused in *may_not {
            assert!(!used.contains(*refused), "{name} imports {refused}");
        }
    }
    // Those that may import anything: the program, the tests, and what makes input for them.
    assert_eq!(
        rules.len() + 3,
        ours.len(),
        "a crate without a rule: {ours:?}"
    );
}

/// Traffic travels on Pingora's streams, and only the data plane knows of them.
#[test]
fn the_data_plane_stands_on_pingora() {
    let mut users = Vec::new();
    for (name, dependencies) in dependencies() {
        if let Some(pingora) = dependencies.get("pingora-core") {
            assert_eq!(pingora["uses_default_features"], false);
            assert_eq!(pingora["features"], serde_json::json!(["rustls"]));
            users.push(name);
        }
    }
    assert_eq!(users, ["ferrix-proxy"]);
}
