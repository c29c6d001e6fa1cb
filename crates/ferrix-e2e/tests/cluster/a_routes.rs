//! A user's first steps, grants, and broken objects beside good ones.

use std::fs;

use ferrix_e2e::{
    certificates::Authority,
    cluster::{
        Ferrix, Namespace, ROLLOUT, apply, kubectl, repository, rolled_out, try_kubectl, until,
    },
    gateway,
    load::{Load, Target},
};

use crate::{SOON, allow_secrets, route};

/// Proof 1: what the README says, over HTTP and then over TLS.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn a_route_is_served_as_the_readme_says() {
    let ferrix = Ferrix::install();
    let example = repository().join("deploy/example.yaml");
    kubectl(&["apply", "-f", &example.display().to_string()]);
    rolled_out("default", "deployment/api");
    let space = Namespace::existing("default");
    let answer = ferrix.answers("example.com", "/api", 200, SOON).await;
    let text = answer.text();
    assert!(text.contains("\"name\": \"api-"), "{text}");
    assert_eq!(ferrix.get("example.com", "/other").await.status, 404);
    let message = space.programmed("example-route").await;
    assert_eq!(message, "Served on `web`.");
    assert_eq!(
        space.object("ingressroute", "example-route")["status"]["replicas"],
        "2/2"
    );
    let table = space.kubectl(&["get", "fir"]);
    assert!(table.contains("example.com"), "{table}");

    let authority = Authority::new();
    space.certificate(
        "default-tls",
        &authority.certify("default-tls", &["example.com"]),
    );
    let patch = r#"{"spec":{"tls":"default-tls"}}"#;
    space.kubectl(&[
        "patch",
        "ingressroute",
        "example-route",
        "--type=merge",
        "-p",
        patch,
    ]);
    space.wait("example-route", "Ready", "True", "Ready").await;
    let target = Target {
        tls: Some(authority.client(&[])),
        ..Target::get(ferrix.websecure, "example.com", "/api")
    };
    let secure = until("an answer over TLS", SOON, async || {
        let stream = gateway::tls(ferrix.websecure, &authority.client(&[]), "example.com").await;
        stream.ok().map(|_| ())
    });
    secure.await;
    let load = Load::start(&target, 2, 2);
    load.reach(40, SOON).await;
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{tally}");
}

/// Proof 7: a reference to another namespace follows its grant.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn a_grant_opens_and_closes_the_way() {
    const GRANT: &str = "\
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: from-granted}
spec:
  from: [{group: ferrix.com, kind: IngressRoute, namespace: granted}]
  to: [{group: '', kind: Service}]
";
    let ferrix = Ferrix::install();
    let owner = Namespace::new("owner");
    let guest = Namespace::new("granted");
    owner.backend("api", 1);
    guest.apply(&route(
        "guest",
        "granted.test",
        "{name: api, namespace: owner, port: 80}",
        "",
    ));
    ferrix.answers("granted.test", "/", 500, SOON).await;
    guest
        .wait("guest", "ResolvedRefs", "False", "NotPermitted")
        .await;
    for _ in 0..2 {
        owner.apply(GRANT);
        ferrix.answers("granted.test", "/", 200, SOON).await;
        guest
            .wait("guest", "ResolvedRefs", "True", "ResolvedRefs")
            .await;
        owner.kubectl(&["delete", "referencegrant", "from-granted"]);
        ferrix.answers("granted.test", "/", 500, SOON).await;
        guest
            .wait("guest", "ResolvedRefs", "False", "NotPermitted")
            .await;
    }
}

/// Proof 8: whatever else is in the cluster, the answers of good routes never change.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a cluster: cluster/test"]
async fn broken_objects_change_nothing_about_good_ones() {
    const GOOD: usize = 100;
    let ferrix = Ferrix::install();
    let space = Namespace::new("good");
    let broken = Namespace::new("broken");
    allow_secrets("broken");
    space.backend("api", 2);
    let host = |number: usize| format!("good-{number}.test");
    let routes: String = (0..GOOD)
        .map(|number| {
            let name = format!("good-{number}");
            route(&name, &host(number), "{name: api, port: 80}", "")
        })
        .collect();
    space.apply(&routes);
    for number in 0..GOOD {
        ferrix.answers(&host(number), "/", 200, SOON).await;
    }

    let folder = repository().join("crates/ferrix-control/tests/broken");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let load = Load::start(&Target::get(ferrix.web, &host(0), "/"), 2, 2);
    let (mut accepted, mut refused) = (0, 0);
    for (number, file) in files.iter().enumerate() {
        // In a namespace of their own, so that they do not replace each other's namesakes there.
        let file = file.display().to_string();
        match try_kubectl(&["-n", broken.name(), "apply", "-f", &file], "") {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        let answer = ferrix.get(&host(number % GOOD), "/").await;
        assert_eq!(answer.status, 200, "beside {file}");
    }
    for number in 0..GOOD {
        assert_eq!(ferrix.get(&host(number), "/").await.status, 200);
    }
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{tally}");
    println!("{accepted} broken objects were taken by the API server, {refused} refused");
    assert!(accepted + refused >= 60 && accepted >= 10);
}

/// A route whose Secret may not be read says what to do, and works once that is done.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn a_secret_that_may_not_be_read_is_asked_for() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("withheld");
    space.backend("api", 1);
    let authority = Authority::new();
    space.certificate("tls", &authority.certify("withheld", &["withheld.test"]));
    let service = "{name: api, port: 80}";
    space.apply(&route("api", "withheld.test", service, "  tls: tls\n"));
    let message = space
        .wait("api", "ResolvedRefs", "False", "SecretNotFound")
        .await;
    assert!(message.contains("create rolebinding"), "{message}");
    allow_secrets("withheld");
    space
        .wait("api", "ResolvedRefs", "True", "ResolvedRefs")
        .await;
    // Each replica asks again by itself, less and less often.
    let client = authority.client(&[]);
    until("a certificate from every replica", ROLLOUT, async || {
        for _ in 0..10 {
            let stream = gateway::tls(ferrix.websecure, &client, "withheld.test").await;
            stream.ok()?;
        }
        Some(())
    })
    .await;
    let target = Target {
        tls: Some(client),
        ..Target::get(ferrix.websecure, "withheld.test", "/")
    };
    let load = Load::start(&target, 1, 1);
    load.reach(10, SOON).await;
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{tally}");
}

/// An Ingress of a class that another controller had, over HTTP and TLS, and its status.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn an_ingress_is_served_and_has_the_addresses_of_ferrix() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("ingress");
    allow_secrets(space.name());
    space.backend("shop", 1);
    let authority = Authority::new();
    space.certificate(
        "shop-tls",
        &authority.certify("shop-tls", &["shop.example"]),
    );
    apply(
        r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: former}
spec: {controller: ferrix.com/ingress-controller}
"#,
    );
    space.apply(
        r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: former
  tls: [{hosts: [shop.example], secretName: shop-tls}]
  rules:
    - host: shop.example
      http:
        paths:
          - path: /shop
            pathType: Prefix
            backend: {service: {name: shop, port: {number: 80}}}
"#,
    );
    ferrix.answers("shop.example", "/shop/1", 200, SOON).await;
    assert_eq!(ferrix.get("shop.example", "/shopping").await.status, 404);
    let secure = until("a TLS handshake", SOON, async || {
        let stream = gateway::tls(ferrix.websecure, &authority.client(&[]), "shop.example").await;
        stream.ok().map(|_| ())
    });
    secure.await;

    // As a cloud's controller does.
    let patch = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.10"}]}}}"#;
    let service = [
        "-n",
        "ferrix",
        "patch",
        "service",
        "ferrix",
        "--subresource=status",
    ];
    kubectl(&[&service[..], &["--type=merge", "-p", patch]].concat());
    let addresses = || space.object("ingress", "shop")["status"]["loadBalancer"]["ingress"].clone();
    until("the address of Ferrix", SOON, async || {
        (addresses()[0]["ip"] == "192.0.2.10").then_some(())
    })
    .await;

    // With its class it goes.
    kubectl(&["delete", "ingressclass", "former"]);
    ferrix.answers("shop.example", "/shop/1", 404, SOON).await;
    until("the address to be taken back", SOON, async || {
        addresses().is_null().then_some(())
    })
    .await;
}
