//! Endpoints that are bad, where a BackendPolicy says how they are found out.

use ferrix_e2e::{
    cluster::{self, Ferrix, Namespace, REPORT, rolled_out, until},
    load::{Load, Target},
};
use serde_yaml_ng::Value;

use crate::route;

const POLICY: &str = "
---
apiVersion: ferrix.com/v1
kind: BackendPolicy
metadata: {name: api}
spec:
  targetRefs: [{group: '', kind: Service, name: api, sectionName: http}]
  health:
    ejection: {failures: 3, time: 1s}
    check: {http: {path: /}, interval: 500ms, timeout: 500ms}
  timeouts: {connect: 1s, response: 1s}
";

/// What befalls an endpoint, and which packets to it meet with what.
const FAULTS: [(&str, &str); 3] = [
    ("dies", "drop"),
    // Connections are made, and nothing comes of them.
    ("hangs", "tcp flags & psh == psh drop"),
    ("resets", "tcp flags & psh == psh reject with tcp reset"),
];

/// Of three endpoints one dies, hangs or resets, whatever Kubernetes thinks of it: no request is lost from when the
/// status says that every replica has found out, nor when the endpoint comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_bad_endpoint_costs_nothing_once_it_is_found_out() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("endpoints");
    // It stays ready, as nobody asks.
    let backend = cluster::backend("api", 3);
    let unasked = backend.lines().filter(|it| !it.contains("readinessProbe"));
    space.apply(&(unasked.collect::<Vec<_>>().join("\n") + POLICY));
    rolled_out("endpoints", "deployment/api");
    space.apply(&route("api", "endpoints.test", "{name: api, port: 80}", ""));
    space.programmed("api").await;
    let replicas = ferrix.pods().len();
    let told = async |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        until(what, REPORT, async || {
            let policy = space.object("backendpolicy", "api");
            is_so(&policy["status"]["services"][0]).then_some(())
        })
        .await;
    };
    let all_well = |it: &Value| it["endpoints"] == 3 && it["healthy"] == 3;
    told("three endpoints in the status", &all_well).await;
    let columns = "jsonpath={.items[0].metadata.name} {.items[0].status.podIP}";
    let pod = space.kubectl(&["get", "pods", "-l", "app=api", "-o", columns]);
    let (name, address) = pod.split_once(' ').expect("a name and an address");
    let victim = format!("endpoints/{name}");
    let nft = |rule: &str| drop(cluster::cluster(&["in-pod", &victim, "nft", rule]));
    let target = Target::get(ferrix.web, "endpoints.test", "/");
    for (what, verdict) in FAULTS {
        let before = Load::start(&target, 10, 10);
        before.reach(500, cluster::ROLLOUT).await;
        nft("add table inet test");
        nft("add chain inet test in { type filter hook input priority 0; }");
        nft(&format!("add rule inet test in tcp dport 8080 {verdict}"));
        told(&format!("an endpoint that {what} in the status"), &|it| {
            let worst = &it["worst"][0];
            it["unhealthy"] == 1
                && it["healthy"] == 2
                && worst["endpoint"] == format!("{address}:8080")
                && worst["replicas"] == replicas
        })
        .await;
        let found_out = before.stop().await;
        let load = Load::start(&target, 10, 10);
        load.reach(3_000, cluster::ROLLOUT).await;
        nft("delete table inet test");
        told("the endpoint to be back in the status", &all_well).await;
        let so_far = load.served();
        load.reach(so_far + 500, cluster::ROLLOUT).await;
        let tally = load.stop().await;
        println!("an endpoint that {what}: until it is found out {found_out}; then {tally}");
        assert_eq!(tally.failed(), 0, "an endpoint that {what}: {tally}");
    }
}
