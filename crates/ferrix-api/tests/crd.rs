//! The CRD that the repository ships is the one that the types give, and the one that the release
//! before has shipped can be upgraded to it.

use std::{collections::BTreeSet, env, fs, path::Path};

use serde_json::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_shipped_crds_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/k8s");
    let definitions = ferrix_api::crd::definitions();
    for (name, definition) in &definitions {
        let path = folder.join(format!("{name}.yaml"));
        let current = ferrix_api::crd::yaml(definition);
        if env::var_os("FERRIX_REFRESH").is_some() {
            fs::write(&path, &current).expect("the CRD can be written");
        }
        let shipped = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shipped == current,
            "{} is not what the types give; FERRIX_REFRESH=1 cargo test -p ferrix-api writes it",
            path.display()
        );
    }
    let shipped = fs::read_dir(&folder).expect("a folder");
    assert_eq!(shipped.count(), definitions.len());
    let all = ferrix_api::crd_yaml();
    assert_eq!(all.matches("\n---\n").count() + 1, definitions.len());
}

/// Whoever upgrades keeps every object, field, column and name.
#[test]
fn nothing_of_the_crd_before_is_lost() {
    let [former, current] = [
        "tests/former/ingressroute.yaml",
        "../../crds/k8s/ingressroute.yaml",
    ]
    .map(|path| serde_yaml_ng::from_str::<Value>(&read(path)).expect("YAML"));
    for place in [
        "/metadata/name",
        "/spec/group",
        "/spec/scope",
        "/spec/names/plural",
    ] {
        assert_eq!(former.pointer(place), current.pointer(place), "{place}");
    }
    let version = |crd: &Value| crd["spec"]["versions"][0]["name"].clone();
    assert_eq!(version(&former), version(&current));

    let told = |crd: &Value| -> BTreeSet<String> {
        let short = crd["spec"]["names"]["shortNames"].as_array().into_iter();
        let columns = &crd["spec"]["versions"][0]["additionalPrinterColumns"];
        let columns = columns.as_array().into_iter().flatten();
        (short.flatten().map(|it| format!("short name {it}")))
            .chain(columns.map(|it| format!("column {}", it["name"])))
            .chain(fields(
                &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
                "",
            ))
            .collect()
    };
    let (former, current) = (told(&former), told(&current));
    assert!(former.len() > 30, "{former:?}");
    let lost: Vec<_> = former.difference(&current).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let policy = [
        "rules[].filters",
        "rules[].retry",
        "rules[].timeouts",
        "rules[].without",
        "filters",
    ]
    .map(|it| format!(".spec.route.{it}"));
    let is_policy = |it: &&String| policy.iter().any(|field| it.starts_with(field));
    let (of_policies, new): (Vec<_>, Vec<_>) = current.difference(&former).partition(is_policy);
    assert!(of_policies.len() > 80, "{of_policies:?}");
    assert_eq!(
        new,
        [
            ".spec.route.rules[].dryRun boolean",
            ".status.installation string",
            "column \"Ready\"",
            "short name \"fir\"",
        ]
    );
}

/// The paths of all fields, with their types.
fn fields(schema: &Value, path: &str) -> Vec<String> {
    let kind = schema["type"].as_str().unwrap_or("number or string");
    let mut all = vec![format!("{path} {kind}")];
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        all.extend(fields(schema, &format!("{path}.{name}")));
    }
    if schema["items"].is_object() {
        all.extend(fields(&schema["items"], &format!("{path}[]")));
    }
    all
}
