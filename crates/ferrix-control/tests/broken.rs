//! A corpus of broken manifests, each beside 100 good objects: it says what is wrong, and changes
//! nothing about the others.
//!
//! The first lines of each file say what is expected: `# Expect: TEXT`, a part of a line of the
//! report.

use std::{fmt::Write, fs, path::Path};

use ferrix_control::{Report, files, report::Located, settings::Settings};
use ferrix_table::{Table, table::EntryPoint};
use serde_json::Value;

#[test]
fn broken_manifests_lose_only_themselves() {
    let good = good_objects();
    let (alone, report) = load(&[("good.yaml", &good)]);
    assert_eq!(
        report
            .findings()
            .map(|it| it.to_string())
            .collect::<Vec<_>>(),
        [""; 0]
    );
    let (rules, services) = good_parts(&alone);
    assert_eq!((rules.len(), services.len()), (40, 30));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let bytes = fs::read(&path).expect("a manifest");
        let text = String::from_utf8_lossy(&bytes);
        let expected: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# Expect: "))
            .collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        // Before and after the good ones in the order of files.
        for place in [format!("a-{name}"), format!("z-{name}")] {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("good.yaml"), &good).expect("a file");
            fs::write(folder.path().join(&place), &bytes).expect("a file");
            let (table, report) = files::load(folder.path(), &settings()).expect("a folder");
            assert_eq!(
                good_parts(&table),
                (rules.clone(), services.clone()),
                "beside {name}"
            );
            let of_good = |it: &Located<'_>| it.key.is_some_and(|key| &*key.namespace == "good");
            assert_eq!(
                report.findings().filter(of_good).count(),
                0,
                "beside {name}"
            );
            let found: String = report.findings().fold(String::new(), |mut all, it| {
                let _ = writeln!(all, "{it}");
                all
            });
            for expected in expected.iter().chain([&&*place]) {
                if !found.contains(expected) {
                    wrong.push(format!("{place}: no {expected:?} in\n{found}"));
                }
            }
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 60, "only {cases} cases were found");
}

fn load(files: &[(&str, &str)]) -> (Table, Report) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    files::load(folder.path(), &settings()).expect("a folder")
}

fn settings() -> Settings {
    Settings::for_files(vec![
        EntryPoint::http("web"),
        EntryPoint::https("websecure"),
    ])
}

/// 40 routes, 30 Services and 30 EndpointSlices of namespace `good`.
fn good_objects() -> String {
    let mut text = String::new();
    for number in 0..30 {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: good}}\n\
             spec:\n  ports: [{{name: http, port: 80}}]\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: s{number}-a, namespace: good, \
             labels: {{kubernetes.io/service-name: s{number}}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: 8080}}]\n\
             endpoints: [{{addresses: [10.0.0.{number}]}}]\n",
        );
    }
    for number in 0..40 {
        let _ = write!(
            text,
            "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
             metadata: {{name: r{number}, namespace: good}}\n\
             spec:\n  route:\n    host: h{number}.good.example\n    rules:\n    \
             - matches: PathPrefix(`/`)\n      service: {{name: s{}, port: http}}\n",
            number % 30,
        );
    }
    text
}

/// What the dump of a table says about namespace `good`.
fn good_parts(table: &Table) -> (Vec<Value>, Vec<Value>) {
    let mut dump = serde_json::to_value(table.dump()).expect("a dump");
    let mut part = |list: &str, field: &str, good: &str| -> Vec<Value> {
        let Value::Array(list) = dump[list].take() else {
            panic!("no list")
        };
        list.into_iter()
            .filter(|it| it[field].as_str().is_some_and(|it| it.contains(good)))
            .collect()
    };
    (
        part("rules", "route", " good/"),
        part("services", "service", "good/"),
    )
}
