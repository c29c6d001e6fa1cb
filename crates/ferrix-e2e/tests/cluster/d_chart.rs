//! The Helm chart, beside the plain manifests.

use std::process::Command;

use ferrix_e2e::{
    cluster::{Ferrix, Namespace, repository, rolled_out},
    deploy,
};
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

use crate::route;

pub(super) fn helm(arguments: &[&str]) -> String {
    let output = Command::new("helm")
        .current_dir(repository())
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "helm {arguments:?}: {error}");
    text
}

/// A second installation, by the chart and with a class of its own, serves its routes alone.
#[tokio::test]
#[ignore = "needs a cluster: cluster/test"]
async fn the_chart_installs_beside_the_plain_manifests() {
    let plain = Ferrix::install();
    let space = Namespace::new("chart");
    space.backend("api", 1);
    helm(&[
        "install",
        "second",
        "charts/ferrix",
        "--namespace=chart",
        "--skip-crds",
        "--set=ingressClass=second",
        "--set=service.type=ClusterIP",
        // The node is small.
        "--set=resources.requests.cpu=50m",
    ]);
    let name = "second-ferrix";
    rolled_out("chart", &format!("deployment/{name}"));
    let chart = Ferrix::behind("chart", name);
    let class = "  ingressClassName: second\n";
    space.apply(&route(
        "theirs",
        "chart.test",
        "{name: api, port: 80}",
        class,
    ));
    space.apply(&route("ours", "plain.test", "{name: api, port: 80}", ""));
    for route in ["theirs", "ours"] {
        space.programmed(route).await;
        assert_eq!(
            space.object("ingressroute", route)["status"]["replicas"],
            "2/2"
        );
    }
    assert_eq!(chart.get("chart.test", "/").await.status, 200);
    assert_eq!(plain.get("plain.test", "/").await.status, 200);
    assert_eq!(chart.get("plain.test", "/").await.status, 404);
    assert_eq!(plain.get("chart.test", "/").await.status, 404);
    helm(&["uninstall", "second", "--namespace=chart"]);
    // What it has written goes with it, and nothing else does.
    let status = |name| space.object("ingressroute", name)["status"].clone();
    assert!(status("theirs")["conditions"].is_null());
    assert_eq!(status("ours")["installation"], "ferrix/ferrix");
}

/// What the chart renders keeps to the rules that the plain manifests keep to.
#[test]
#[ignore = "needs a cluster: cluster/test"]
fn the_chart_renders_nothing_that_the_rules_forbid() {
    let rendered = helm(&["template", "ferrix", "charts/ferrix", "--namespace=ferrix"]);
    let documents: Vec<Value> = Deserializer::from_str(&rendered)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect();
    assert!(documents.len() >= 10, "{} objects", documents.len());
    assert_eq!(deploy::lint(&documents), [""; 0]);
}
