//! The whole program: what the manifests in a folder say is what is served, also after they change.

use std::time::Duration;

use ferrix_e2e::{
    Backend, Client, Gateway,
    backend::Dead,
    certificates::Authority,
    client::get,
    manifests::{Manifests, route, secret, service},
    within,
};
use tokio::sync::watch;

fn host(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test]
async fn the_contract_as_it_is_written() {
    let backend = Backend::hello("api").await;
    let manifests = format!(
        "{}\
---
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: example-route, namespace: default}}
spec:
  entrypoint: web
  route:
    host: example.com
    rules:
      - matches: Path(`/api`)
        service: {{name: api-service, port: 8080}}
  tls: default-tls
",
        service("api-service", &[backend.address()]).replace("port: 80}", "port: 8080}"),
    );
    let ferrix = Gateway::from_manifests(&manifests, "").await;
    let mut client = ferrix.client().await;
    assert_eq!(client.get("/api").await.text(), "api");
    assert_eq!(client.get("/").await.status, 404);
    assert_eq!(client.exchange(host("other.com", "/api")).await.status, 404);
}

/// A rule that is tried on production traffic: what it would have served is what it serves later.
#[tokio::test]
async fn a_dry_run_serves_nothing_and_is_counted() {
    let [old, new] = [Backend::hello("old").await, Backend::hello("new").await];
    let services = service("old", &[old.address()]) + &service("new", &[new.address()]);
    let rules = |dry_run: bool| {
        format!(
            "\
---
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: r, namespace: default}}
spec:
  entrypoint: web
  route:
    host: example.com
    rules:
      - matches: PathPrefix(`/api`)
        dryRun: {dry_run}
        service: {{name: new, port: 80}}
        filters:
          - respond: {{status: 503}}
      - matches: Path(`/`) || PathPrefix(`/a`)
        priority: 0
        service: {{name: old, port: 80}}
"
        )
    };
    let mut ferrix = Gateway::from_manifests(&services, "").await;
    ferrix.apply("route.yaml", &rules(true)).await;
    let mut client = ferrix.client().await;
    let counted = |ferrix: &Manifests| {
        let table = ferrix.program.table();
        let dry_run = table.rules.iter().find_map(|it| it.dry_run.as_ref());
        dry_run.map(|it| it.get().get())
    };
    let asked = ["/api", "/", "/api/users", "/apart", "/a", "/api"];
    for path in asked {
        assert_eq!(client.get(path).await.text(), "old", "{path}");
    }
    assert_eq!(client.get("/other").await.status, 404);
    assert_eq!(counted(&ferrix), Some(3));
    // The count outlives what changes elsewhere.
    (ferrix.apply(
        "more.yaml",
        &route("more", "more.example", "Path(`/`)", "old"),
    ))
    .await;
    assert_eq!(client.get("/api").await.text(), "old");
    assert_eq!(counted(&ferrix), Some(4));

    ferrix.apply("route.yaml", &rules(false)).await;
    assert_eq!(counted(&ferrix), None);
    let mut statuses = Vec::new();
    for path in asked {
        statuses.push(client.get(path).await.status);
    }
    assert_eq!(statuses, [503, 200, 503, 200, 200, 503]);
    assert_eq!(new.requests().len(), 0);
}

#[tokio::test]
async fn edits_are_served_on_open_connections() {
    let [first, second] = [
        Backend::hello("first").await,
        Backend::hello("second").await,
    ];
    let mut ferrix = Gateway::from_manifests(&service("s", &[first.address()]), "").await;
    let mut client = ferrix.client().await;
    assert_eq!(client.get("/").await.status, 404);

    ferrix
        .apply("route.yaml", &route("r", "example.com", "Path(`/`)", "s"))
        .await;
    assert_eq!(client.get("/").await.text(), "first");
    ferrix
        .apply("all.yaml", &service("s", &[second.address()]))
        .await;
    assert_eq!(client.get("/").await.text(), "second");
    ferrix.apply("all.yaml", &service("s", &[])).await;
    assert_eq!(client.get("/").await.status, 503);
    ferrix.remove("all.yaml").await;
    assert_eq!(client.get("/").await.status, 500);
    ferrix
        .apply(
            "all.yaml",
            &service("s", &[first.address(), second.address()]),
        )
        .await;
    let mut both = [client.get("/").await.text(), client.get("/").await.text()];
    both.sort();
    assert_eq!(both, ["first", "second"]);
    ferrix
        .apply(
            "route.yaml",
            &route("r", "example.com", "Path(`/moved`)", "s"),
        )
        .await;
    assert_eq!(client.get("/").await.status, 404);
    assert_eq!(client.get("/moved").await.status, 200);
    ferrix.remove("route.yaml").await;
    assert_eq!(client.get("/moved").await.status, 404);
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_version() {
    let backend = Backend::hello("hi").await;
    let ferrix = Gateway::from_manifests(&service("s", &[backend.address()]), "").await;
    let mut ferrix = ferrix;
    ferrix
        .apply("route.yaml", &route("r", "example.com", "Path(`/`)", "s"))
        .await;
    let mut client = ferrix.client().await;
    let bad_edits = [
        route("r", "example.com", "Path(`/)", "s"),
        route("r", "example.com", "Nothing(`/`)", "s"),
        route("r", "example.com", "Path(`/`)", "s").replace("rules:", "rulez:"),
        "half: [written".to_owned(),
    ];
    for (round, edit) in bad_edits.iter().enumerate() {
        ferrix.write("route.yaml", edit);
        // Another file shows when the edit has been seen.
        let mark = format!("mark-{round}");
        ferrix
            .apply("mark.yaml", &route(&mark, "mark.com", "Path(`/`)", "s"))
            .await;
        ferrix.reported("route.yaml").await;
        assert_eq!(client.get("/").await.text(), "hi", "{edit}");
    }
    ferrix
        .apply(
            "route.yaml",
            &route("r", "example.com", "Path(`/new`)", "s"),
        )
        .await;
    assert_eq!(client.get("/new").await.text(), "hi");
    assert_eq!(client.get("/").await.status, 404);
}

#[tokio::test]
async fn one_bad_object_among_a_hundred() {
    let backend = Backend::hello("hi").await;
    let mut manifests = service("s", &[backend.address()]);
    for index in 0..100 {
        let name = format!("r{index}");
        manifests.push_str(&route(&name, &format!("{name}.com"), "Path(`/`)", "s"));
        if index == 50 {
            manifests.push_str(&route("bad", "bad.com", "PathRegexp(`(`)", "s"));
            manifests.push_str(&route("lost", "lost.com", "Path(`/`)", "missing"));
        }
    }
    let ferrix = Gateway::from_manifests(&manifests, "").await;
    let mut client = ferrix.client().await;
    for index in 0..100 {
        let response = client.exchange(host(&format!("r{index}.com"), "/")).await;
        assert_eq!(response.text(), "hi", "{index}");
    }
    assert_eq!(client.exchange(host("bad.com", "/")).await.status, 404);
    assert_eq!(client.exchange(host("lost.com", "/")).await.status, 500);
}

#[tokio::test]
async fn certificates_come_from_secrets_and_rotate() {
    let authority = Authority::new();
    let backend = Backend::hello("hi").await;
    let secured = |name: &str| {
        route("r", "example.com", "Path(`/`)", "s")
            .replace("entrypoint: web", "entrypoint: websecure")
            + &format!("  tls: {name}\n")
    };
    let first = authority.certify("first", &["example.com"]);
    let manifests = service("s", &[backend.address()]) + &secured("certificate");
    let mut ferrix = Gateway::from_manifests(&manifests, "").await;
    // No Secret yet, and no default.
    assert!(
        ferrix
            .tls(&authority.client(&[]), "example.com")
            .await
            .is_err()
    );

    let text = secret("certificate", &first.certificate_pem, &first.key_pem);
    ferrix.apply("secret.yaml", &text).await;
    let stream = ferrix
        .tls(&authority.client(&[]), "example.com")
        .await
        .unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    assert!(chain[0] == first.der);
    let mut open = Client::new(stream);
    assert_eq!(open.get("/").await.text(), "hi");

    let second = authority.certify("second", &["example.com"]);
    let text = secret("certificate", &second.certificate_pem, &second.key_pem);
    ferrix.apply("secret.yaml", &text).await;
    let stream = ferrix
        .tls(&authority.client(&[]), "example.com")
        .await
        .unwrap();
    assert!(stream.get_ref().1.peer_certificates().unwrap()[0] == second.der);
    assert_eq!(open.get("/").await.text(), "hi");

    // A certificate with the key of another one keeps the old.
    ferrix.write(
        "secret.yaml",
        &secret("certificate", &first.certificate_pem, &second.key_pem),
    );
    ferrix.reported("secret.yaml").await;
    let stream = ferrix
        .tls(&authority.client(&[]), "example.com")
        .await
        .unwrap();
    assert!(stream.get_ref().1.peer_certificates().unwrap()[0] == second.der);
    assert_eq!(open.get("/").await.text(), "hi");
}

#[tokio::test]
async fn connect_failures_of_a_rollout_are_not_seen() {
    let backend = Backend::hello("hi").await;
    let dead = Dead::new();
    let manifests = service("s", &[dead.address(), backend.address()])
        + &route("r", "example.com", "Path(`/`)", "s");
    let ferrix = Gateway::from_manifests(&manifests, "").await;
    let mut client = ferrix.client().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.text(), "hi");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_that_changes_under_load() {
    let [first, second] = [
        Backend::hello("first").await,
        Backend::hello("second").await,
    ];
    let manifests = |round: usize| {
        let mut text = match round % 3 {
            0 => service("s", &[first.address()]),
            1 => service("s", &[second.address()]),
            _ => service("s", &[first.address(), second.address()]),
        };
        for index in 0..round % 7 {
            let name = format!("r{index}");
            text.push_str(&route(&name, &format!("{name}.com"), "Path(`/`)", "s"));
        }
        text + &route("r", "example.com", "Path(`/`)", "s")
    };
    // However many requests the machine makes of the time that twenty changes take.
    let settings = "limits: {requests_per_connection: 0}";
    let mut ferrix = Gateway::from_manifests(&manifests(0), settings).await;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let stopped = stopped.clone();
        let mut client = ferrix.client().await;
        tasks.spawn(async move {
            let mut requests = 0;
            while !*stopped.borrow() {
                assert_eq!(client.exchange(get("/")).await.status, 200);
                requests += 1;
            }
            requests
        });
    }
    for round in 1..=20 {
        ferrix.apply("all.yaml", &manifests(round)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    let mut requests = 0;
    while let Some(task) = within("the clients", tasks.join_next()).await {
        requests += task.unwrap();
    }
    assert!(requests > 100, "{requests}");
    assert!(ferrix.program.table().generation > 20);
}

#[tokio::test]
async fn the_end_of_the_whole_program() {
    let backend = Backend::hello("hi").await;
    let manifests =
        service("s", &[backend.address()]) + &route("r", "example.com", "Path(`/`)", "s");
    let ferrix = Gateway::from_manifests(&manifests, "").await;
    let mut client = ferrix.client().await;
    assert_eq!(client.get("/").await.text(), "hi");
    assert_eq!(within("the drain", ferrix.program.drain()).await, 0);
    client.closed().await;
}

/// Without `ports` in the Service, so that the number in the route is the port.
fn external(name: &str, external_name: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{type: ExternalName, externalName: {external_name}}}
"
    )
}

#[tokio::test]
async fn external_names_are_looked_up_and_are_the_names_of_certificates() {
    let authority = Authority::new();
    let certificate = authority.certify("external", &["localhost"]);
    let plain = Backend::hello("plain").await;
    let secure = Backend::start_tls(
        certificate.server(&["http/1.1"]),
        |mut connection| async move {
            while connection.request().await.is_some() {
                connection.send(ferrix_e2e::backend::ok("secure")).await;
            }
        },
    )
    .await;
    let rule = |path: &str, service: String| {
        format!("      - matches: Path(`{path}`)\n        service: {service}\n")
    };
    let (port, secure_port) = (plain.address().port(), secure.address().port());
    let of_secure = format!("name: local, port: {secure_port}, scheme: https");
    let manifests = format!(
        "{}{}---
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: r, namespace: default}}
spec:
  entrypoint: web
  route:
    host: example.com
    rules:
{}{}{}{}",
        external("local", "LOCALHOST."),
        // RFC 6761 says that there is none.
        external("none", "none.invalid"),
        rule("/plain", format!("{{name: local, port: {port}}}")),
        rule("/secure", format!("{{{of_secure}}}")),
        rule(
            "/other",
            format!("{{{of_secure}, serverName: other.example}}")
        ),
        rule("/none", "{name: none, port: 80}".to_owned()),
    );
    let file = authority.file();
    let settings = format!(
        "upstream: {{tls: {{authorities: '{}'}}}}",
        file.path().display()
    );
    let refusing = Gateway::from_manifests(&manifests, &settings).await;
    let mut client = refusing.client().await;
    assert_eq!(
        client.get("/plain").await.status,
        500,
        "the settings do not allow it"
    );

    let allowed = ", allow_external_name: true";
    let ferrix = Manifests::start_from(allowed, &manifests, &settings).await;
    let mut client = ferrix.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/plain").await.text(), "plain");
        assert_eq!(client.get("/secure").await.text(), "secure");
        assert_eq!(client.get("/other").await.status, 502);
        assert_eq!(client.get("/none").await.status, 503);
    }
    for backend in [&plain, &secure] {
        let requests = backend.requests();
        assert_eq!(requests.len(), 4);
        for request in requests {
            assert_eq!(request.head.one("host"), Some("example.com"));
        }
    }
}

/// What the settings keep from a namespace is not served for it, and its certificate is not presented: the
/// one that has the host gets all of its requests.
#[tokio::test]
async fn a_host_belongs_to_a_namespace() {
    let [shop, hijack] = [Backend::hello("shop").await, Backend::hello("hijack").await];
    let authority = Authority::new();
    let of = |namespace: &str, manifests: String| {
        manifests.replace("namespace: default", &format!("namespace: {namespace}"))
    };
    let certificate = |name: &str| {
        let certified = authority.certify(name, &["example.com"]);
        secret(name, &certified.certificate_pem, &certified.key_pem)
    };
    let secured = |route: String| {
        let on = "entrypoints: [web, websecure]\n  tls: tls";
        route.replace("entrypoint: web", on)
    };
    let older = |route: String| {
        route.replace(
            "{name: hijack,",
            "{name: hijack, creationTimestamp: '2026-01-01T00:00:00Z',",
        )
    };
    let manifests = of("shop", service("s", &[shop.address()]))
        + &of("team-a", service("s", &[hijack.address()]))
        + &of("shop", certificate("tls"))
        + &of("team-a", certificate("tls"))
        + &of(
            "shop",
            secured(route("shop", "example.com", "PathPrefix(`/`)", "s")),
        )
        + &of(
            "team-a",
            older(secured(route(
                "hijack",
                "example.com",
                "PathPrefix(`/payments`)",
                "s",
            ))),
        );
    let free = Gateway::from_manifests(&manifests, "").await;
    assert_eq!(
        free.client().await.get("/payments").await.text(),
        "hijack",
        "without a policy the longer rule is first"
    );
    free.reported("takes requests for example.com that match PathPrefix(`/payments`) from it")
        .await;

    let policy = "hosts: {allowed: [{namespaces: [shop], hosts: [example.com]}]}";
    let ferrix = Gateway::from_manifests(&manifests, policy).await;
    let mut client = ferrix.client().await;
    for path in ["/payments", "/"] {
        assert_eq!(client.get(path).await.text(), "shop");
    }
    let table = serde_json::to_value(ferrix.program.table().dump()).unwrap();
    let certificates = table["certificates"].to_string();
    assert!(certificates.contains("shop/tls"), "{certificates}");
    assert!(!certificates.contains("team-a/tls"), "{certificates}");
    ferrix
        .reported("`hosts.allowed` of the settings gives example.com to namespace shop")
        .await;
}

/// A Filter of the folder, which adds its mark to the field `X-Passed`.
fn filter(name: &str, mark: &str) -> String {
    format!(
        "---\napiVersion: ferrix.com/v1\nkind: Filter\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  filters:\n    - requestHeaderModifier: {{add: [{{name: X-Passed, value: {mark}}}]}}\n"
    )
}

/// What a rule asks for, in the order in which a backend sees it; an edit and a bad edit of a Filter, and
/// what becomes of the rules that name one which goes.
#[tokio::test]
async fn filters_under_a_name() {
    let backend = Backend::hello("hi").await;
    let route = "---
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {name: r, namespace: default}
spec:
  route:
    host: example.com
    filters:
      - requestHeaderModifier: {add: [{name: X-Passed, value: route}]}
      - filter: first
    rules:
      - matches: Path(`/both`)
        service: {name: s, port: 80}
        filters:
          - filter: second
          - requestHeaderModifier: {add: [{name: X-Passed, value: rule}]}
      - service: {name: s, port: 80}
";
    let manifests = [&service("s", &[backend.address()]), route].concat();
    let mut ferrix = Gateway::from_manifests(&manifests, "").await;
    let mut client = ferrix.client().await;
    assert_eq!(client.get("/both").await.status, 500);
    assert_eq!(client.get("/").await.status, 500);
    assert_eq!(backend.requests().len(), 0);

    ferrix.apply("first.yaml", &filter("first", "first")).await;
    assert_eq!(client.get("/both").await.status, 500);
    let passed = || {
        let fields = backend.last().head.fields;
        let passed = fields
            .into_iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("x-passed"));
        passed.map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(client.get("/").await.text(), "hi");
    assert_eq!(passed(), ["route", "first"]);
    ferrix
        .apply("second.yaml", &filter("second", "second"))
        .await;
    assert_eq!(client.get("/both").await.text(), "hi");
    assert_eq!(passed(), ["route", "first", "second", "rule"]);

    ferrix.apply("first.yaml", &filter("first", "edited")).await;
    assert_eq!(client.get("/both").await.text(), "hi");
    assert_eq!(passed(), ["route", "edited", "second", "rule"]);
    ferrix.write("first.yaml", &filter("first", "\"\\n\""));
    ferrix
        .reported("spec.filters[0].requestHeaderModifier.add[0].value")
        .await;
    assert_eq!(client.get("/").await.text(), "hi");
    assert_eq!(passed(), ["route", "edited"]);

    ferrix.remove("second.yaml").await;
    assert_eq!(client.get("/both").await.status, 500);
    assert_eq!(client.get("/").await.text(), "hi");
}
