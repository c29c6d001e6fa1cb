//! `ferrix diff`, as a person or a script uses it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees tests only in functions marked as such"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Exit code, standard output and standard error.
fn diff(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrix"));
    command.arg("diff").args(args).env_remove("FERRIX_LOG");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Two folders of manifests, and a place beside them.
struct States {
    folder: tempfile::TempDir,
}

impl States {
    fn new(before: &str, after: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, routes) in [("old", before), ("new", after)] {
            fs::create_dir(folder.path().join(name)).unwrap();
            let text = format!("{routes}{SERVICES}");
            fs::write(folder.path().join(name).join("all.yaml"), text).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Of the comparison by rules, with these options before the folders.
    fn compared(&self, options: &[&str]) -> (i32, String, String) {
        let (old, new) = (self.path("old"), self.path("new"));
        let folders = [old.to_str().unwrap(), new.to_str().unwrap()];
        diff(&[options, &folders].concat())
    }

    fn json(&self, options: &[&str]) -> Value {
        let (_, out, error) = self.compared(&[options, &["--output", "json"]].concat());
        assert_eq!(error, "");
        serde_json::from_str(&out).unwrap()
    }
}

const SERVICES: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: default}
spec: {ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: default}
spec: {ports: [{name: http, port: 8080}]}
";

/// A route for a host with these rules: what each asks for, and its services.
fn route(name: &str, host: &str, rules: &[(&str, &str)]) -> String {
    let mut text = format!(
        "---
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: {name}, namespace: default}}
spec:
  entrypoint: web
  route:
    host: '{host}'
    rules:
"
    );
    for (matches, service) in rules {
        text += &format!("      - matches: {matches}\n        {service}\n");
    }
    text
}

const ONE: &str = "service: {name: one, port: 8080}";
const TWO: &str = "service: {name: two, port: 8080}";

#[test]
fn the_same_objects_do_not_differ() {
    let shop = route(
        "shop",
        "a.test",
        &[("Path(`/a`)", ONE), ("PathPrefix(`/`)", TWO)],
    );
    let states = States::new(&shop, &shop);
    let (code, out, error) = states.compared(&[]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.ends_with("no difference in 2 requests\n"), "{out}");
}

#[test]
fn another_service_a_rule_that_goes_and_one_that_comes_first() {
    let before = [
        route(
            "shop",
            "a.test",
            &[("Path(`/a`)", ONE), ("PathPrefix(`/b`)", ONE)],
        ),
        route("gone", "b.test", &[("Method(`POST`)", ONE)]),
    ];
    let after = [route(
        "shop",
        "a.test",
        &[
            ("Path(`/b/special`)", TWO),
            ("Path(`/a`)", TWO),
            ("PathPrefix(`/b`)", ONE),
        ],
    )];
    let states = States::new(&before.concat(), &after.concat());
    let (code, out, error) = states.compared(&[]);
    assert_eq!((code, error.as_str()), (1, ""));
    for expected in [
        "GET a.test/a\n  at entry point web\n  \
         before: rule 0 of IngressRoute default/shop, to http://default/one:8080\n  \
         after: rule 1 of IngressRoute default/shop, to http://default/two:8080\n",
        "POST b.test/\n  at entry point web\n  \
         before: rule 0 of IngressRoute default/gone, to http://default/one:8080\n  \
         after: 404, no rule takes it\n",
        "GET a.test/b/special\n  at entry point web\n  \
         before: rule 1 of IngressRoute default/shop, to http://default/one:8080\n  \
         after: rule 0 of IngressRoute default/shop, to http://default/two:8080\n",
        "3 of 4 requests served differently\n",
    ] {
        assert!(out.contains(expected), "{expected}\nis not in\n{out}");
    }
}

#[test]
fn what_serves_alike_is_no_difference() {
    let shares = |one: u32, two: u32| {
        format!(
            "services: [{{name: one, port: 8080, weight: {one}}}, \
             {{name: two, port: 8080, weight: {two}}}]"
        )
    };
    let of = |shares: &str| route("shop", "*.a.test", &[("Path(`/a`)", shares)]);
    let states = States::new(&of(&shares(1, 3)), &of(&shares(2, 6)));
    assert_eq!(states.compared(&[]).0, 0);
    let states = States::new(&of(&shares(1, 3)), &of(&shares(3, 1)));
    let found = states.json(&[]);
    let services = &found["differences"][0]["after"]["answer"]["services"];
    assert_eq!(services[0]["service"], "http://default/one:8080");
    assert_eq!(
        (&services[0]["weight"], &services[1]["weight"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn filters_are_told_as_explain_has_them() {
    let with = |filters: &str| {
        let rule = format!("{ONE}\n        filters: [{filters}]");
        route("shop", "a.test", &[("Path(`/a`)", &rule)])
    };
    let limit = |requests: u32| format!("{{rateLimit: {{requests: {requests}}}}}");
    let states = States::new(&with(&limit(7)), &with(&limit(8)));
    let (code, out, _) = states.compared(&[]);
    assert_eq!(code, 1);
    let expected = "  - rate limit: 7 in 1s by client, 7 at once\n  \
                    + rate limit: 8 in 1s by client, 8 at once\n";
    assert!(out.contains(expected), "{out}");
    let found = states.json(&[]);
    let policy = &found["differences"][0]["before"]["policy"];
    assert_eq!(policy[0], "rate limit: 7 in 1s by client, 7 at once");
    // What is told alike is told as a whole.
    let answer = |body: &str| format!("{{respond: {{body: {body}}}}}");
    let states = States::new(&with(&answer("one")), &with(&answer("two")));
    let (code, out, _) = states.compared(&[]);
    assert_eq!(code, 1);
    assert!(out.contains("\n  - Respond(Respond {"), "{out}");
}

#[test]
fn another_policy_of_a_service_is_a_difference() {
    let shop = route(
        "shop",
        "a.test",
        &[("Path(`/a`)", ONE), ("Path(`/b`)", TWO)],
    );
    let policy = |algorithm: &str| {
        format!(
            "{shop}---\napiVersion: ferrix.com/v1\nkind: BackendPolicy\n\
             metadata: {{name: p, namespace: default}}\n\
             spec: {{targetRefs: [{{group: '', kind: Service, name: one}}], \
             balancing: {{algorithm: {algorithm}}}}}\n"
        )
    };
    let states = States::new(&policy("LeastRequests"), &policy("Latency"));
    let (code, out, _) = states.compared(&[]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("+ balancing: of two, the one that is likely"),
        "{out}"
    );
    assert!(
        out.contains("1 of 2 requests served differently\n"),
        "{out}"
    );
    let states = States::new(&policy("Latency"), &policy("Latency"));
    assert_eq!(states.compared(&[]).0, 0);
}

#[test]
fn the_request_is_one_that_the_rule_serves() {
    // The rule of the prefix comes second at `/`, as it is shorter, and asks for more than a path.
    let rules = |service| {
        let conditions = "PathPrefix(`/`) && Header(`X-Beta`, `yes`) && Query(`a b`, `c`)";
        let longer = format!("Path(`/{}`)", "long/".repeat(20));
        let first = &*format!("Path(`/`) || {longer}");
        route("shop", "a.test", &[(first, ONE), (conditions, service)])
    };
    let states = States::new(&rules(ONE), &rules(TWO));
    let found = states.json(&[]);
    assert_eq!(
        (&found["requests"], &found["differing"]),
        (&2.into(), &1.into()),
        "{found:#}"
    );
    let request = &found["differences"][0]["request"];
    assert_eq!(request["target"], "/other?a%20b=c");
    assert_eq!(request["headers"][0], "x-beta: yes");
}

#[test]
fn a_rule_without_a_request_is_named() {
    let shop = route(
        "shop",
        "a.test",
        &[("PathRegexp(`\\bz\\b`) && Path(`/z`)", ONE)],
    );
    let never = route("never", "a.test", &[("Path(`/a`) && Path(`/b`)", ONE)]);
    let states = States::new(&(shop.clone() + &never), &(shop + &never));
    let found = states.json(&[]);
    assert_eq!(found["requests"], 1);
    assert_eq!(
        found["untried_rules"][0],
        "rule 0 of IngressRoute default/never"
    );
}

#[test]
fn requests_of_an_access_log() {
    let before = route("shop", "a.test", &[("PathPrefix(`/`)", ONE)]);
    let after = [
        ("PathPrefix(`/`)", ONE),
        ("PathPrefix(`/new`) && Query(`v`, `2`)", TWO),
        ("HeaderRegexp(`User-Agent`, `^bot`)", TWO),
    ];
    let states = States::new(&before, &route("shop", "a.test", &after));
    let line = |path: &str, agent: &str| {
        let line = serde_json::json!({
            "entry_point": "web", "client": "192.0.2.7", "client_port": 1, "method": "GET",
            "host": "a.test", "path": path, "status": 200, "user_agent": agent,
        });
        line.to_string()
    };
    let lines = [
        line("/", "curl"),
        line("/new?v=1", "curl"),
        line("/new?v=2", "curl"),
        line("/new/x?v=2&w=1", "curl"),
        line("/", "bot 1"),
        "Ferrix has started".to_owned(),
    ];
    let log = states.path("access.json");
    fs::write(&log, lines.join("\n")).unwrap();
    let log = log.to_str().unwrap();
    let (code, out, error) = states.compared(&["--log", log]);
    assert_eq!((code, error.as_str()), (1, ""));
    for expected in [
        "GET a.test/new?v=2, and 1 like it\n  at entry point web from 192.0.2.7\n",
        "GET a.test/\n  at entry point web from 192.0.2.7\n  with user-agent: bot 1\n",
        "1 line of the log\n",
        "3 of 5 requests served differently\n",
    ] {
        assert!(out.contains(expected), "{expected}\nis not in\n{out}");
    }
    let found = states.json(&["--log", log]);
    assert_eq!(found["differences"][0]["count"], 2);
    assert_eq!(found["unread_lines"], 1);
}

#[test]
fn an_entry_point_that_is_not_there() {
    let shop = route("shop", "a.test", &[("Path(`/a`)", ONE)]);
    let states = States::new(
        &shop,
        &shop.replace("entrypoint: web", "entrypoint: websecure"),
    );
    let (code, out, _) = states.compared(&[]);
    assert_eq!(code, 1);
    assert!(out.contains("after: 404, no rule takes it\n"), "{out}");
    assert!(out.contains("1 of 1 request served differently\n"), "{out}");
}

#[test]
fn what_keeps_it_from_comparing_is_exit_code_2() {
    let shop = route("shop", "a.test", &[("Path(`/a`)", ONE)]);
    let states = States::new(&shop, &shop);
    let gone = states.path("gone");
    let gone = gone.to_str().unwrap();
    let log = states.path("text.log");
    fs::write(&log, "192.0.2.7 - - \"GET /\"\n").unwrap();
    let log = log.to_str().unwrap();
    let old = states.path("old");
    let old = old.to_str().unwrap();
    for (args, expected) in [
        (&[gone, old][..], "gone"),
        (&["--log", gone, old, old], "cannot be read"),
        (&["--log", log, old, old], "access_log.format: json"),
        (&["--kubeconfig", gone, old, old], "leave OLD out"),
        (&[old], "--kubeconfig FILE"),
    ] {
        let (code, out, error) = diff(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}

#[test]
fn examples_of_the_repository_have_a_request_for_each_rule() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut compared = 0;
    for folder in ["canary", "ingress", "quickstart", "tls", "websockets-grpc"] {
        let folder = examples.join(folder);
        let folder = folder.to_str().unwrap();
        let (code, out, error) = diff(&[folder, folder]);
        assert_eq!((code, error.as_str()), (0, ""), "{folder}: {out}");
        assert!(!out.contains("not compared"), "{out}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}
