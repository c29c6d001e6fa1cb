//! Listeners of Gateways, on addresses of a pool.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr, TcpListener},
};

use ferrix_e2e::{Backend, Client, Gateway, Manifests, manifests::service, within};

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
