//! A Service, and so an address, for each Gateway.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ferrix_e2e::{
    Client,
    audit::Audit,
    cluster::{Namespace, REPORT, ROLLOUT, kubectl, rolled_out, until},
};

use tokio::{net::TcpStream, time::timeout};

use crate::d_chart::helm;

/// The installation, in a namespace of its own.
const NAMESPACE: &str = "gateways";
const DEPLOYMENT: &str = "deployment/gateways-ferrix";
const OURS: &str = "ferrix.com/installation=ferrix-gateways,ferrix.com/gateway-uid";

fn gateway(name: &str, ports: &[u16]) -> String {
    let listener = |port: &u16| format!("{{name: l{port}, port: {port}, protocol: HTTP}}");
    let listeners: Vec<_> = ports.iter().map(listener).collect();
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
         spec:\n  gatewayClassName: gateways\n  infrastructure: {{labels: {{team: {name}}}}}\n  \
         listeners: [{}]\n",
        listeners.join(", ")
    )
}

fn http_route(gateway: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {gateway}}}\n\
         spec:\n  parentRefs: [{{name: {gateway}}}]\n  hostnames: [{gateway}.test]\n  \
         rules: [{{backendRefs: [{{name: api, port: 80}}]}}]\n"
    )
}

/// The names of the Services that Ferrix has made, with the ports of the pods that they lead to.
fn services() -> BTreeSet<String> {
    let path =
        "jsonpath={range .items[*]}{.metadata.name} {.spec.ports[*].targetPort}{\"\\n\"}{end}";
    let text = kubectl(&["-n", NAMESPACE, "get", "services", "-l", OURS, "-o", path]);
    text.lines().map(str::to_owned).collect()
}

/// The address of a Gateway whose newest version is served.
async fn address(space: &Namespace, gateway: &str) -> IpAddr {
    until(format!("Gateway {gateway}"), REPORT, async || {
        let object = space.object("gateway", gateway);
        let conditions = object["status"]["conditions"].as_sequence()?;
        let programmed = conditions.iter().find(|it| it["type"] == "Programmed")?;
        let is_current = programmed["observedGeneration"] == object["metadata"]["generation"];
        let address = object["status"]["addresses"][0]["value"].as_str()?;
        (is_current && programmed["status"] == "True").then(|| address.parse().unwrap())
    })
    .await
}

/// The status of an answer; `None`: nobody takes connections there yet.
async fn get(address: IpAddr, port: u16, host: &str) -> Option<u16> {
    let address = SocketAddr::new(address, port);
    let connecting = timeout(Duration::from_secs(2), TcpStream::connect(address));
    drop(connecting.await.ok()?.ok()?);
    let mut client = Client::connect(address).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    Some(client.exchange(request).await.status)
}

async fn answers(address: IpAddr, port: u16, host: &str, status: u16) {
    until(format!("{status} from {host}"), REPORT, async || {
        (get(address, port, host).await? == status).then_some(())
    })
    .await;
}

/// Each Gateway has an address of its own on shared pods, over restarts; its Service goes with it, also while
/// nobody looks, and no other Service is touched.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn each_gateway_has_an_address_of_its_own() {
    let installation = Namespace::new(NAMESPACE);
    let space = Namespace::new("shops");
    space.backend("api", 1);
    let audit = Audit::from_now();
    helm(&[
        "install",
        "gateways",
        "charts/ferrix",
        "--namespace=gateways",
        "--skip-crds",
        "--set=ingressClass=gateways",
        "--set=service.type=ClusterIP",
        "--set=gatewayServices.enabled=true",
        "--set=gatewayServices.spec.type=ClusterIP",
        // The node is small.
        "--set=resources.requests.cpu=50m",
    ]);
    rolled_out(NAMESPACE, DEPLOYMENT);
    // It looks like one of those, and is not.
    installation.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: gateway-foreign, labels: \
         {ferrix.com/installation: ferrix-gateways}}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n",
    );
    for name in ["one", "two"] {
        space.apply(&(gateway(name, &[80]) + &http_route(name)));
    }
    let (one, two) = (address(&space, "one").await, address(&space, "two").await);
    assert_ne!(one, two);
    answers(one, 80, "one.test", 200).await;
    answers(two, 80, "two.test", 200).await;
    assert_eq!(get(one, 80, "two.test").await, Some(404));
    assert_eq!(get(two, 80, "one.test").await, Some(404));
    let label = ["get", "services", "-l", "team=one", "-o", "name"];
    assert_eq!(installation.kubectl(&label).lines().count(), 1);

    // A restart changes nothing.
    let before = services();
    assert_eq!(before.len(), 2, "{before:?}");
    installation.kubectl(&["rollout", "restart", DEPLOYMENT]);
    rolled_out(NAMESPACE, DEPLOYMENT);
    answers(one, 80, "one.test", 200).await;
    assert_eq!(services(), before);
    assert_eq!(address(&space, "one").await, one);

    // Another port joins those that there are.
    space.apply(&gateway("one", &[80, 8080]));
    answers(one, 8080, "one.test", 200).await;
    answers(one, 80, "one.test", 200).await;
    assert_eq!(address(&space, "one").await, one);

    // It goes with its Gateway, also while Ferrix is away.
    space.kubectl(&["delete", "gateway", "one"]);
    until("the first Service to go", REPORT, async || {
        (services().len() == 1).then_some(())
    })
    .await;
    answers(two, 80, "two.test", 200).await;
    installation.kubectl(&["scale", DEPLOYMENT, "--replicas=0"]);
    let pods = ["get", "pods", "-o", "name"];
    until("the pods to end", ROLLOUT, async || {
        installation.kubectl(&pods).is_empty().then_some(())
    })
    .await;
    space.kubectl(&["delete", "gateway", "two"]);
    assert_eq!(services().len(), 1);
    installation.kubectl(&["scale", DEPLOYMENT, "--replicas=2"]);
    until("the second Service to go", ROLLOUT, async || {
        services().is_empty().then_some(())
    })
    .await;

    // What it has made goes with the installation.
    space.apply(&gateway("three", &[80]));
    address(&space, "three").await;
    helm(&["uninstall", "gateways", "--namespace=gateways"]);
    assert_eq!(services(), BTreeSet::new());
    let left = installation.kubectl(&["get", "services", "-o", "name"]);
    assert_eq!(left, "service/gateway-foreign");

    let user = "system:serviceaccount:gateways:gateways-ferrix";
    let calls = audit.calls(user);
    let mut written = BTreeSet::new();
    for call in calls.keys().filter(|call| call.resource == "services") {
        assert!(!call.forbidden, "{call:?}");
        if !matches!(call.verb.as_str(), "list" | "watch") {
            assert_eq!(call.namespace, NAMESPACE, "{call:?}");
            written.insert(call.verb.as_str());
        }
    }
    assert_eq!(written, ["delete", "patch"].into());
}
