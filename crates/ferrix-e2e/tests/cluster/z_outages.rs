//! The API server goes and comes back.

use std::time::{Duration, Instant};

use ferrix_e2e::{
    cluster::{Ferrix, Namespace, cluster, try_kubectl, until},
    load::{Load, Target},
};

use crate::route;

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// From its return to the first new route that is served.
const RESYNC: Duration = Duration::from_secs(35);

/// Proof 4: nothing is lost while the API server is away, and it is followed again when it is back,
/// also when it has forgotten what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn nothing_is_lost_without_an_api_server() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("outage");
    space.backend("api", 2);
    let service = "{name: api, port: 80}";
    space.apply(&route("api", "outage.test", service, ""));
    space.programmed("api").await;
    let load = Load::start(&Target::get(ferrix.web, "outage.test", "/"), 4, 4);
    // A stop of a minute, a restart, and a restart after which every watch has to list again.
    let returns: [(Duration, &[&str]); 3] = [
        (OUTAGE, &["start-api"]),
        (Duration::ZERO, &["start-api"]),
        (Duration::ZERO, &["start-api", "--forget-history"]),
    ];
    for (number, (away, start)) in returns.into_iter().enumerate() {
        cluster(&["stop-api"]);
        tokio::time::sleep(away).await;
        assert_eq!(ferrix.get("outage.test", "/").await.status, 200);
        cluster(start);
        let back = Instant::now();
        let host = format!("after-{number}.test");
        let new = route(&format!("after-{number}"), &host, service, "");
        let arguments = ["-n", space.name(), "apply", "-f", "-"];
        until("the API server to take a route", RESYNC, async || {
            try_kubectl(&arguments, &new).ok()
        })
        .await;
        ferrix.answers(&host, "/", 200, RESYNC).await;
        println!("followed again {:?} after its return", back.elapsed());
        space.programmed(&format!("after-{number}")).await;
        for earlier in 0..=number {
            let host = format!("after-{earlier}.test");
            assert_eq!(ferrix.get(&host, "/").await.status, 200, "wiped: {host}");
        }
    }
    let tally = load.stop().await;
    println!("three outages: {tally}");
    assert_eq!(tally.failed(), 0, "{tally}");
}
