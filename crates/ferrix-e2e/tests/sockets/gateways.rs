//! Listeners of Gateways, on addresses of a pool.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr, TcpListener},
};

use ferrix_e2e::{
    Backend, Client, Gateway, Manifests,
    backend::{Connection, ok},
    certificates::{Authority, Certified},
    manifests::{secret, service},
    within,
};

use crate::{free_port, get};

const CLASS: &str = "\
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ferrix}
spec: {controllerName: ferrix.com/gateway-controller}
";

/// A Gateway with these listeners, each in YAML, and a route that attaches to all of them.
fn gateway(listeners: impl Iterator<Item = String>) -> String {
    let mut text = "\
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all, namespace: default}
spec: {parentRefs: [{name: public}], rules: [{backendRefs: [{name: api, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: default}
spec:
  gatewayClassName: ferrix
  listeners:
"
    .to_owned();
    for (number, listener) in listeners.enumerate() {
        let _ = writeln!(text, "  - {{name: l{number}, {listener}}}");
    }
    text
}

/// The program with one address for Gateways.
async fn start(backend: &Backend, address: IpAddr, gateway: &str) -> Manifests {
    let manifests = format!("{CLASS}{}", service("api", &[backend.address()]));
    let settings = format!("gateway: {{addresses: ['{address}/32']}}");
    Gateway::from_manifests(&format!("{manifests}{gateway}"), &settings).await
}

/// One that is broken costs those beside it nothing, whatever is wrong with it, and no connection.
#[tokio::test]
async fn of_64_listeners_one_is_broken_and_63_serve() {
    let backend = Backend::hello("hi").await;
    let (address, port) = ("127.76.0.1".parse().unwrap(), free_port());
    let listeners = |of_32: &str| {
        gateway((0..64).map(|number| match number {
            32 => format!("port: {port}, {of_32}"),
            number => format!("port: {port}, protocol: HTTP, hostname: h{number}.test"),
        }))
    };
    let good = listeners("protocol: HTTP, hostname: h32.test");
    let ferrix = start(&backend, address, &good).await;
    let mut client = Client::connect(SocketAddr::new(address, port)).await;
    let mut answers = 0;
    let broken = [
        "protocol: HTTP, hostname: h31.test",
        "protocol: HTTP, hostname: 'h32 test'",
        "protocol: HTTPS, hostname: h32.test, tls: {certificateRefs: [{name: missing}]}",
        "protocol: odd, hostname: h32.test",
    ];
    for broken in broken {
        let text = format!(
            "{CLASS}{}{}",
            service("api", &[backend.address()]),
            listeners(broken)
        );
        ferrix.write("all.yaml", &text);
        ferrix.reported("listeners[32]").await;
        for number in 0..64 {
            let expected = if number == 32 { 404 } else { 200 };
            let response = client.exchange(get(&format!("h{number}.test"), "/")).await;
            assert_eq!(response.status, expected, "h{number}.test beside {broken}");
            answers += 1;
        }
    }
    assert_eq!(answers, 4 * 64);
}

/// What the system does not let Ferrix listen on is told, and no longer once it does.
#[tokio::test]
async fn a_port_that_another_has_is_told_until_it_is_free() {
    let backend = Backend::hello("hi").await;
    let address: IpAddr = "127.76.0.2".parse().unwrap();
    let taken = TcpListener::bind((address, 0)).unwrap();
    let (taken_port, port) = (taken.local_addr().unwrap().port(), free_port());
    let listeners = [taken_port, port].map(|port| format!("port: {port}, protocol: HTTP"));
    let gateway = gateway(listeners.into_iter());
    let ferrix = start(&backend, address, &gateway).await;
    let refused = format!("cannot listen on {address}:{taken_port}: Address already in use");
    ferrix.reported(&refused).await;
    let mut other = Client::connect(SocketAddr::new(address, port)).await;
    assert_eq!(other.exchange(get("a.test", "/")).await.text(), "hi");
    drop(taken);
    let mut reports = ferrix.program.reports();
    let withdrawn = reports.wait_for(|report| !report.to_string().contains("cannot listen"));
    within("the report to be taken back", withdrawn)
        .await
        .unwrap();
    let mut client = Client::connect(SocketAddr::new(address, taken_port)).await;
    assert_eq!(client.exchange(get("a.test", "/")).await.text(), "hi");
    assert_eq!(other.exchange(get("a.test", "/")).await.text(), "hi");
}

/// What a Gateway presents to backends is for its own requests: whatever idles was made by somebody.
#[tokio::test]
async fn backends_see_the_certificate_of_the_gateway_and_no_other() {
    let [known, unknown, backends] = [Authority::new(), Authority::new(), Authority::new()];
    let certified = backends.certify("backend", &["backend.test"]);
    let config = certified.server_for(&["http/1.1"], Some(&known));
    let backend = Backend::start_tls(config, async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let [good, foreign] = [&known, &unknown].map(|it| it.certify("client", &["client.test"]));
    let port = free_port();
    let gateways = [
        (
            "good",
            "127.76.0.4",
            "{backend: {clientCertificateRef: {name: good}}}",
        ),
        (
            "foreign",
            "127.76.0.5",
            "{backend: {clientCertificateRef: {name: foreign}}}",
        ),
        ("none", "127.76.0.6", "{}"),
    ];
    let manifests = |good: &Certified| {
        let mut text = format!(
            "{CLASS}{}{}{}{}",
            service("api", &[backend.address()]),
            secret("good", &good.certificate_pem, &good.key_pem),
            secret("foreign", &foreign.certificate_pem, &foreign.key_pem),
            policy(&backends),
        );
        for (name, address, tls) in gateways {
            let _ = write!(
                text,
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
                 metadata: {{name: {name}, namespace: default}}\nspec:\n  \
                 gatewayClassName: ferrix\n  addresses: [{{value: {address}}}]\n  tls: {tls}\n  \
                 listeners: [{{name: http, port: {port}, protocol: HTTP}}]\n",
            );
        }
        text
    };
    let settings = "gateway: {addresses: ['127.76.0.4/30']}";
    let mut ferrix = Gateway::from_manifests(&manifests(&good), settings).await;
    let mut asked = 0;
    // Of the very Service and endpoint.
    for round in [[200, 502, 502], [200, 502, 502], [502, 502, 502]] {
        if round[0] == 502 {
            // What was presented before is presented no more.
            ferrix.apply("all.yaml", &manifests(&foreign)).await;
        }
        for ((name, address, _), status) in gateways.into_iter().zip(round) {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            let mut client = Client::connect(address).await;
            for _ in 0..2 {
                let response = client.exchange(get("a.test", "/")).await;
                assert_eq!(response.status, status, "{name}");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 18);
}

/// How the Service is known over TLS, and a route to it at every Gateway of the test.
fn policy(authority: &Authority) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca, namespace: default}}\ndata:\n  \
         ca.crt: |\n    {}\n{ROUTE}",
        authority
            .certificate_pem()
            .trim_end()
            .replace('\n', "\n    ")
    )
}

const ROUTE: &str = "\
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: api, namespace: default}
spec:
  targetRefs: [{group: '', kind: Service, name: api}]
  validation: {hostname: backend.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all, namespace: default}
spec:
  parentRefs: [{name: good}, {name: foreign}, {name: none}]
  rules: [{backendRefs: [{name: api, port: 80}]}]
";
