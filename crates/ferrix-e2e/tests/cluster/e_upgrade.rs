//! From the release before to this one: first the definition of the kind, then the program.
//!
//! The program before is played by this one, which writes what the definition before has a place for.

use std::time::Duration;

use ferrix_e2e::{
    audit::Audit,
    cluster::{self, Ferrix, Namespace, kubectl, repository, try_kubectl, until},
    load::{Load, Target},
};

use crate::{SOON, route};

const ROUTES: usize = 20;

/// How long the API server may take to serve another definition of a kind.
const DEFINED: Duration = Duration::from_secs(30);

fn file(path: &str) -> String {
    repository().join(path).display().to_string()
}

/// Every route that was there is there, and served all the time; what is new appears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn an_upgrade_from_the_release_before_loses_nothing() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("upgrade");
    space.backend("api", 2);
    former_definition(&space).await;

    let audit = Audit::from_now();
    let service = "{name: api, port: 80}";
    let names: Vec<String> = (0..ROUTES).map(|number| format!("r{number}")).collect();
    let host = |name: &str| format!("{name}.upgrade.test");
    let routes = names
        .iter()
        .map(|name| route(name, &host(name), service, ""));
    space.apply(&routes.collect::<String>());
    // This release refuses such a host; the one before did not.
    space.apply(&route("url", "'http://url.upgrade.test'", service, ""));
    for name in &names {
        space.programmed(name).await;
    }
    space.wait("url", "Accepted", "False", "InvalidHost").await;

    // The definition has no place for the name: the statuses go without it, and that is told.
    let before = statuses(&space, &names);
    assert!(
        before.iter().all(|it| it.installation.is_empty()),
        "{before:?}"
    );
    let log = kubectl(&[
        "-n",
        "ferrix",
        "logs",
        "--selector=app.kubernetes.io/name=ferrix",
        "--tail=-1",
    ]);
    assert!(
        log.contains("definition of this kind is of an older release"),
        "{log}"
    );

    let load = Load::start(&Target::get(ferrix.web, &host("r0"), "/"), 8, 8);
    load.reach(2_000, cluster::ROLLOUT).await;
    let writes = audit.status_writes(space.name());
    println!(
        "{} routes with the definition before: {writes} attempts to write",
        ROUTES + 1
    );
    // Two for each that is written before it is known, with a third where replicas were slow.
    assert!(writes <= 3 * (ROUTES + 1), "{writes} attempts");

    upgrade_definition().await;
    ferrix.restart().await;
    let all: Vec<String> = names.iter().cloned().chain(["url".to_owned()]).collect();
    until(
        "every status to name its installation",
        cluster::REPORT,
        async || {
            let named = |it: &Status| it.installation == "ferrix/ferrix";
            statuses(&space, &all).iter().all(named).then_some(())
        },
    )
    .await;
    for (before, after) in before.iter().zip(statuses(&space, &names)) {
        assert_eq!(before.uid, after.uid);
        assert_eq!(before.generation, after.generation);
        assert_eq!(space.condition(&after.name, "Ready").0, "True");
    }
    let table = space.kubectl(&["get", "fir"]);
    for expected in ["HOST", "READY", "ACCEPTED", "r0.upgrade.test"] {
        assert!(table.contains(expected), "no {expected} in {table}");
    }
    old_objects_can_be_changed(&space);
    new_objects_are_checked(&space);
    for name in &names {
        ferrix.answers(&host(name), "/", 200, SOON).await;
    }
    let tally = load.stop().await;
    println!("an upgrade of definition and program: {tally}");
    assert_eq!(tally.failed(), 0, "{tally}");
}

/// As Helm has left it. It is replaced: to delete it would delete all routes.
async fn former_definition(space: &Namespace) {
    let former = file("crates/ferrix-api/tests/former/ingressroute.yaml");
    kubectl(&["replace", "--field-manager=helm", "-f", &former]);
    // A dry run tells which definition the API server checks by.
    let wrong = route(
        "wrong",
        "'http://wrong.upgrade.test'",
        "{name: api, port: 80}",
        "",
    );
    let arguments = ["-n", space.name(), "apply", "--dry-run=server", "-f", "-"];
    until("the definition before", DEFINED, async || {
        try_kubectl(&arguments, &wrong).ok()
    })
    .await;
}

/// In the words of the documents.
async fn upgrade_definition() {
    let current = file("crds/k8s/ingressroute.yaml");
    kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        &current,
    ]);
    until("the new short name", DEFINED, async || {
        try_kubectl(&["get", "fir", "--all-namespaces"], "").ok()
    })
    .await;
}

/// What was stored before is not held to what is new, as long as it stays as it is.
fn old_objects_can_be_changed(space: &Namespace) {
    let patch = |patch: &str| {
        let arguments = [
            "-n",
            space.name(),
            "patch",
            "ingressroutes.ferrix.com",
            "url",
            "--type=merge",
            "-p",
            patch,
        ];
        try_kubectl(&arguments, "")
    };
    patch(r#"{"metadata":{"labels":{"kept":"yes"}}}"#).unwrap();
    patch(r#"{"spec":{"entrypoint":"web"}}"#).unwrap();
    let refused = patch(r#"{"spec":{"route":{"host":"http://other.test"}}}"#).unwrap_err();
    assert!(refused.contains("spec.route.host"), "{refused}");
    patch(r#"{"spec":{"route":{"host":"url.upgrade.test"}}}"#).unwrap();
}

fn new_objects_are_checked(space: &Namespace) {
    let cases = [
        (
            "'http://new.test'",
            "{name: api, port: 80}",
            "spec.route.host",
        ),
        ("new.test:80", "{name: api, port: 80}", "spec.route.host"),
        ("new.test", "{name: api, port: 99999}", "service.port"),
        ("new.test", "{name: api, port: 0}", "service.port"),
        ("new.test", "{name: api, port: '65536'}", "service.port"),
        ("new.test", "{name: My_Api, port: 80}", "service.name"),
        (
            "new.test",
            "{name: api, namespace: a.b, port: 80}",
            "service.namespace",
        ),
    ];
    let arguments = ["-n", space.name(), "apply", "-f", "-"];
    for (host, service, field) in cases {
        let refused = try_kubectl(&arguments, &route("new", host, service, "")).unwrap_err();
        assert!(refused.contains(field), "{service}: {refused}");
    }
    for (host, port) in [
        ("'*.new.test'", "http"),
        ("'[::1]'", "'80'"),
        ("New_Host.test.", "65535"),
    ] {
        let service = format!("{{name: api, port: {port}}}");
        space.apply(&route("new", host, &service, ""));
    }
    space.kubectl(&["delete", "ingressroutes.ferrix.com", "new"]);
}

/// What is looked at of a route.
#[derive(Debug)]
struct Status {
    name: String,
    uid: String,
    generation: String,
    installation: String,
}

fn statuses(space: &Namespace, names: &[String]) -> Vec<Status> {
    let columns = "custom-columns=NAME:.metadata.name,UID:.metadata.uid,\
                   GENERATION:.metadata.generation,INSTALLATION:.status.installation";
    let table = space.kubectl(&[
        "get",
        "ingressroutes.ferrix.com",
        "--no-headers",
        "-o",
        columns,
    ]);
    let all: Vec<Status> = (table.lines())
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (name, uid, generation, installation) = (word(), word(), word(), word());
            Status {
                name,
                uid,
                generation,
                installation: installation.replace("<none>", ""),
            }
        })
        .filter(|it| names.contains(&it.name))
        .collect();
    assert_eq!(all.len(), names.len(), "{table}");
    all
}
