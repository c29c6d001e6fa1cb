//! The API server goes and comes back.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use ferrix_e2e::{
    Client,
    cluster::{Ferrix, Namespace, cluster, kubectl, try_kubectl, until},
    load::{Load, Target},
};
use tokio::time::timeout;

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

/// How long a container may be down that is killed: the kubelet notices, starts it, and it waits for the
/// API server before it serves its snapshot.
const RESTART: Duration = Duration::from_secs(20);

/// Proof 4b: a container that restarts in its pod while the API server is away serves what it served
/// before, and follows again when that is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_container_that_restarts_without_an_api_server_serves_its_snapshot() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("snapshot");
    space.backend("api", 2);
    let service = "{name: api, port: 80}";
    space.apply(&route("api", "snapshot.test", service, ""));
    space.programmed("api").await;
    let pod = ferrix.pods().remove(0);
    let address = address(&pod);
    let admin = SocketAddr::new(address, 6192);
    // What came last is written within a second.
    until("the snapshot to be written", RESTART, async || {
        let (_, metrics) = get(admin, "/metrics").await?;
        let bytes = metrics
            .lines()
            .find_map(|line| line.strip_prefix("ferrix_snapshot_bytes "));
        (bytes? != "0.0").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    cluster(&["stop-api"]);
    // To the pod itself, and by the Service to both.
    let of_pod = Target::get(SocketAddr::new(address, 6190), "snapshot.test", "/");
    let during = Load::start(&of_pod, 2, 2);
    let by_service = Load::start(&Target::get(ferrix.web, "snapshot.test", "/"), 4, 4);
    during.reach(100, RESTART).await;
    let killed = Instant::now();
    kill(&pod);
    let ready = until("the container to be ready again", RESTART, async || {
        let (status, ready) = get(admin, "/readyz").await?;
        (status == 200 && ready.starts_with("ready, from a snapshot: ")).then_some(ready)
    })
    .await;
    let down = killed.elapsed();
    println!("{}", ready.trim());
    let (during, by_service) = (during.stop().await, by_service.stop().await);
    println!("restart of a container without an API server: ready after {down:?}");
    println!("requests to its pod meanwhile: {during}");
    println!("requests by the Service meanwhile: {by_service}");

    let after = Load::start(&of_pod, 2, 2);
    after.reach(1_000, RESTART).await;
    let after = after.stop().await;
    assert_eq!(after.failed(), 0, "it serves from its snapshot: {after}");

    cluster(&["start-api"]);
    until("the snapshot to be replaced", RESYNC, async || {
        let (_, ready) = get(admin, "/readyz").await?;
        (ready == "ready\n").then_some(())
    })
    .await;
    let new = route("after", "after-snapshot.test", service, "");
    let arguments = ["-n", space.name(), "apply", "-f", "-"];
    until("the API server to take a route", RESYNC, async || {
        try_kubectl(&arguments, &new).ok()
    })
    .await;
    space.programmed("after").await;
    let of_pod = Load::start(
        &Target::get(SocketAddr::new(address, 6190), "after-snapshot.test", "/"),
        1,
        1,
    );
    of_pod.reach(100, RESYNC).await;
    let tally = of_pod.stop().await;
    assert_eq!(tally.failed(), 0, "{tally}");
}

fn address(pod: &str) -> IpAddr {
    let path = "jsonpath={.status.podIP}";
    let address = kubectl(&["-n", "ferrix", "get", "pod", pod, "-o", path]);
    address.parse().unwrap()
}

/// Status and body of a page of the admin port; `None` while nobody answers.
pub(super) async fn get(admin: SocketAddr, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = async {
        let stream = tokio::net::TcpStream::connect(admin).await.ok()?;
        let mut client = Client::new(stream);
        client.send(&request).await;
        client.try_response("GET").await.ok()
    };
    let response = timeout(Duration::from_secs(2), answer).await.ok()??;
    Some((response.status, String::from_utf8(response.body).ok()?))
}

/// Kills the process of a pod, as the kernel does for want of memory. Nobody asks the API server.
fn kill(pod: &str) {
    let name = format!("POD_NAME={pod}");
    let mut killed = 0;
    for entry in fs::read_dir("/proc").unwrap() {
        let folder = entry.unwrap().path();
        // Processes come and go.
        let Ok(environment) = fs::read(folder.join("environ")) else {
            continue;
        };
        let mut variables = environment.split(|byte| *byte == 0);
        if !variables.any(|variable| variable == name.as_bytes()) {
            continue;
        }
        let pid = folder.file_name().unwrap();
        let sent = Command::new("kill").arg("-KILL").arg(pid).status();
        assert!(sent.unwrap().success());
        killed += 1;
    }
    assert_eq!(killed, 1, "processes of {pod}");
}
