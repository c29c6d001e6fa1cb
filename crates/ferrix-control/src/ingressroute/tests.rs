//! What the API server refuses by the schema of the CRD, beside what Ferrix takes.

use ferrix_api::{crd, pattern, schema::KindSchema};
use regex::Regex;
use serde_json::{Value, json};

use super::*;
use crate::decode::{self, Decoded};

mod combinations;

/// Where a pattern stands in the schema, and in a route.
const FIELDS: [(&str, &str); 9] = [
    ("/spec/entrypoint", "/spec/entrypoint"),
    ("/spec/entrypoints/[]", "/spec/entrypoints/0"),
    ("/spec/tls", "/spec/tls"),
    ("/spec/route/host", "/spec/route/host"),
    (
        "/spec/route/rules/[]/service/name",
        "/spec/route/rules/0/service/name",
    ),
    (
        "/spec/route/rules/[]/service/namespace",
        "/spec/route/rules/0/service/namespace",
    ),
    (
        "/spec/route/rules/[]/service/port",
        "/spec/route/rules/0/service/port",
    ),
    (
        "/spec/route/rules/[]/service/serverName",
        "/spec/route/rules/0/service/serverName",
    ),
    (
        "/spec/route/rules/[]/services/[]/port",
        "/spec/route/rules/1/services/0/port",
    ),
];

const HOST: usize = 3;
const PORT: usize = 6;
const SERVER_NAME: usize = 7;

/// A route with a value in a field.
fn route(field: usize, value: &Value) -> Value {
    let (_, place) = FIELDS[field];
    let mut route = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {
            "route": {"host": "a.example", "rules": [
                {"service": {
                    "name": "api", "namespace": "default", "port": 80, "serverName": "a",
                }},
                {"services": [{"name": "api", "port": 80}]},
            ]},
            "tls": "tls",
        },
    });
    match place {
        "/spec/entrypoint" => route["spec"]["entrypoint"] = value.clone(),
        "/spec/entrypoints/0" => route["spec"]["entrypoints"] = json!([value]),
        place => *route.pointer_mut(place).expect("a field of the route") = value.clone(),
    }
    route
}

/// What the CRD says of a field.
fn definition(field: usize) -> KindSchema {
    let (path, _) = FIELDS[field];
    let steps = path.split('/').skip(1);
    KindSchema::new(
        steps.fold(crd::schema::<IngressRoute>(), |schema, step| match step {
            "[]" => schema["items"].clone(),
            name => schema["properties"][name].clone(),
        }),
    )
}

/// Whether Ferrix takes a route that the API server has: nothing in it is wrong by itself.
fn takes(route: &Value) -> bool {
    let read = decode(route, Strictness::Api);
    read.is_ok_and(|read| draft(&read.object, Origin::Api).faults.is_empty())
}

/// Every text of these letters that is not longer, but for the empty one.
fn texts(letters: &str, longest: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..longest {
        let longer = |text: &String| -> Vec<String> {
            letters.chars().map(|it| format!("{text}{it}")).collect()
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[test]
fn the_definition_refuses_nothing_that_ferrix_takes() {
    let mut taken = 0;
    let cases = [
        (HOST, texts("aZ0-_.*:/[]", 4)),
        (SERVER_NAME, texts("aZ0-_.*:/g", 4)),
        (PORT, texts("09az-+", 5)),
    ];
    for (field, mut candidates) in cases {
        for more in [
            "[::1]",
            "[2001:db8::1]",
            "[::ffff:10.0.0.1]",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "*.example.com",
            "www.Example.COM.",
            "10.0.0.1",
            "xn--bcher-kva.example",
            "8080",
            "65535",
            "065535",
            "http",
            "https-2",
        ] {
            candidates.push(more.to_owned());
        }
        let definition = definition(field);
        for candidate in candidates {
            // Of a port Ferrix reads any text as a name; there are ports of these names only.
            let nameable = field != PORT || is_number(&candidate) || is_label(&candidate);
            let value = Value::String(candidate);
            if nameable && takes(&route(field, &value)) {
                assert!(definition.admits(&value), "{value} in {}", FIELDS[field].0);
                taken += 1;
            }
        }
    }
    let definition = definition(PORT);
    // About both ends of what is a port.
    for number in (0..=1_000).chain(65_000..=66_000) {
        let value = json!(number);
        let route = route(PORT, &value);
        assert_eq!(definition.admits(&value), takes(&route), "{number}");
        taken += usize::from(takes(&route));
    }
    assert!(taken > 3_000, "only {taken} values were taken");
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_digit())
}

fn is_label(text: &str) -> bool {
    let namespace = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "a", "namespace": text}, "addressType": "IPv4", "endpoints": [],
    });
    is_object(&namespace)
}

fn is_object(object: &Value) -> bool {
    let decoded = decode::decode(object, Strictness::Api);
    matches!(decoded, Ok(Decoded::Object { .. }))
}

/// A name that the definition refuses is that of no object.
#[test]
fn the_definition_refuses_names_that_nothing_can_have() {
    let form = |pattern| Regex::new(pattern).expect("a regular expression");
    let [subdomain, label] = [pattern::SUBDOMAIN, pattern::LABEL].map(form);
    let (mut names, mut none) = (0, 0);
    for candidate in texts("aZ0-_.", 5) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": candidate},
        });
        assert_eq!(
            is_object(&secret),
            subdomain.is_match(&candidate),
            "{candidate}"
        );
        assert_eq!(
            is_label(&candidate),
            label.is_match(&candidate),
            "{candidate}"
        );
        match is_label(&candidate) {
            true => names += 1,
            false => none += 1,
        }
    }
    assert!(names > 100 && none > 1_000, "{names} names, {none} others");
}

#[test]
fn the_definition_refuses_what_cannot_work() {
    let refused: [(&str, &[Value]); 5] = [
        (
            "host",
            &[
                json!("http://a.example"),
                json!("https://a.example/"),
                json!("a.example:80"),
                json!("a.example/path"),
                json!("*"),
                json!("a.*.example"),
                json!("*.*.example"),
                json!("*example"),
                json!("a..example"),
                json!(".example"),
                json!("a b"),
                json!("a.example,b.example"),
                json!("é.example"),
                json!("::1"),
                json!("*.[::1]"),
                json!("user@a.example"),
                json!(""),
                json!("a".repeat(254)),
                json!(80),
            ],
        ),
        (
            "port",
            &[
                json!(0),
                json!(-1),
                json!(65_536),
                json!(99_999),
                json!("0"),
                json!("65536"),
                json!("99999"),
                json!("-80"),
                json!("+80"),
                json!("http:"),
                json!("My_Port"),
                json!("-http"),
                json!("http-"),
                json!(""),
                json!(true),
            ],
        ),
        (
            "name",
            &[
                json!("My_Api"),
                json!("api/v1"),
                json!(""),
                json!("a".repeat(64)),
            ],
        ),
        ("namespace", &[json!("a.b"), json!("A"), json!("")]),
        (
            "serverName",
            &[
                json!("https://a"),
                json!("api:8443"),
                json!("a b"),
                json!("*.a"),
            ],
        ),
    ];
    let mut cases = 0;
    for (name, values) in refused {
        let fields = (0..FIELDS.len()).filter(|it| FIELDS[*it].0.ends_with(&format!("/{name}")));
        for field in fields {
            for value in values {
                assert!(
                    !definition(field).admits(value),
                    "{value} in {}",
                    FIELDS[field].0
                );
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 19 + 2 * 15 + 4 + 3 + 4);
}

/// A folder of files is held to the same, whoever says it.
#[test]
fn files_are_refused_what_the_api_server_refuses() {
    let mut refused = 0;
    for (field, (path, _)) in FIELDS.iter().enumerate() {
        let definition = definition(field);
        for candidate in texts("aZ0-_.*:/", 3) {
            let value = Value::String(candidate);
            if !definition.admits(&value) {
                let route = route(field, &value);
                let taken = decode(&route, Strictness::File)
                    .is_ok_and(|read| draft(&read.object, Origin::Api).faults.is_empty());
                assert!(!taken, "{value} in {path}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000, "only {refused} values were refused");
}
