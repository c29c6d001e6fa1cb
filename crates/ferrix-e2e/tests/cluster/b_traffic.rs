//! Rollouts, certificates, and endpoints that die, under load.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ferrix_e2e::{
    Client,
    certificates::Authority,
    cluster::{self, Ferrix, Namespace, rolled_out, until},
    gateway,
    load::{Load, Target},
};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::sync::watch;

use crate::{SOON, allow_secrets, route};

/// Proof 2: a rolling update of a backend loses nothing; scaled to nothing it gives 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_rolling_update_of_a_backend_loses_nothing() {
    const REQUESTS: u64 = 20_000;
    let ferrix = Ferrix::install();
    let space = Namespace::new("rolling");
    space.backend("api", 3);
    space.apply(&route("api", "rolling.test", "{name: api, port: 80}", ""));
    space.programmed("api").await;

    let load = Load::start(&Target::get(ferrix.web, "rolling.test", "/"), 25, 25);
    load.reach(1_000, cluster::ROLLOUT).await;
    space.kubectl(&["rollout", "restart", "deployment/api"]);
    let rollout = tokio::task::spawn_blocking(|| rolled_out("rolling", "deployment/api"));
    rollout.await.unwrap();
    // The last of the old ones end after the rollout.
    let pods = ["get", "pods", "-l", "app=api", "-o", "name"];
    until("the old pods to end", cluster::ROLLOUT, async || {
        (space.kubectl(&pods).lines().count() == 3).then_some(())
    })
    .await;
    load.reach(REQUESTS, cluster::ROLLOUT).await;
    let tally = load.stop().await;
    println!("rolling update of a backend: {tally}");
    assert_eq!(tally.failed(), 0, "{tally}");

    space.kubectl(&["scale", "deployment/api", "--replicas=0"]);
    ferrix
        .answers("rolling.test", "/", 503, cluster::ROLLOUT)
        .await;
    space.kubectl(&["scale", "deployment/api", "--replicas=1"]);
    ferrix
        .answers("rolling.test", "/", 200, cluster::ROLLOUT)
        .await;
}

/// Proof 3: a rolling restart of Ferrix itself loses nothing, and every pod ends cleanly in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn a_rolling_restart_of_ferrix_loses_nothing() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("restart");
    space.backend("api", 2);
    space.apply(&route("api", "restart.test", "{name: api, port: 80}", ""));
    space.programmed("api").await;
    let before = ferrix.pods();

    let target = Target::get(ferrix.web, "restart.test", "/");
    let bodies = Target {
        body: 100_000,
        ..target.clone()
    };
    let small = Load::start(&target, 10, 10);
    let large = Load::start(&bodies, 3, 3);
    let (stop, stopped) = watch::channel(false);
    let talks = tokio::spawn(talks(ferrix.web, Duration::from_secs(5), stopped));
    small.reach(500, cluster::ROLLOUT).await;
    let ends = Ends::watch();
    ferrix.restart().await;
    let (small, large) = (small.stop().await, large.stop().await);
    stop.send_replace(true);
    let (talks, cut) = talks.await.unwrap();
    println!("rolling restart of Ferrix: {small}; with bodies: {large}; {talks} talks");
    assert_eq!(small.failed() + large.failed(), 0, "{small}\n{large}");
    assert!(talks >= 3 && cut.is_empty(), "{talks} talks, cut: {cut:?}");
    let ends = ends.stop();
    for pod in &before {
        let ended = ends.iter().any(|line| line.as_str() == format!("{pod} 0"));
        assert!(ended, "{pod} did not end with 0: {ends:?}");
    }
}

/// WebSocket conversations, one after the other, each of this length: how many, and which of them
/// were cut.
async fn talks(
    address: SocketAddr,
    length: Duration,
    stopped: watch::Receiver<bool>,
) -> (usize, Vec<String>) {
    let (mut count, mut cut) = (0, Vec::new());
    while !*stopped.borrow() {
        cut.extend(talk(address, length).await.err());
        count += 1;
    }
    (count, cut)
}

async fn talk(address: SocketAddr, length: Duration) -> Result<(), String> {
    let mut client = Client::connect(address).await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: restart.test\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let head = client
        .reader
        .head()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let status = head.map(|head| head.word(1).to_owned());
    if status.as_deref() != Some("101") {
        return Err(format!("no upgrade: {status:?}"));
    }
    let started = Instant::now();
    while started.elapsed() < length {
        // A masked text of five bytes, with a mask of zeros, comes back unmasked.
        client.send(b"\x81\x85\0\0\0\0hello").await;
        let echoed = client.reader.exactly(7).await;
        if echoed.as_deref() != Ok(b"\x81\x05hello") {
            return Err(format!("{echoed:?} after {:?}", started.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Listens to how the containers of Ferrix end.
struct Ends {
    watch: Child,
}

impl Ends {
    fn watch() -> Self {
        let code = "{.status.containerStatuses[0].state.terminated.exitCode}";
        let output = format!("jsonpath={{.metadata.name}} {code}{{\"\\n\"}}");
        let selector = "app.kubernetes.io/name=ferrix";
        let watch = Command::new("kubectl")
            .args([
                "-n", "ferrix", "get", "pods", "-l", selector, "-w", "-o", &output,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { watch }
    }

    /// `POD CODE` for each.
    fn stop(mut self) -> Vec<String> {
        self.watch.kill().unwrap();
        let output = self.watch.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| line.contains(' ')).collect()
    }
}

/// Proof 5: certificates change under handshakes, and a broken Secret keeps the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn certificates_are_rotated_under_handshakes() {
    const ROTATIONS: usize = 20;
    let ferrix = Ferrix::install();
    let space = Namespace::new("rotation");
    allow_secrets("rotation");
    space.backend("api", 1);
    let authority = Authority::new();
    let certify =
        |number: usize| authority.certify(&format!("number {number}"), &["rotation.test"]);
    space.certificate("tls", &certify(0));
    space.apply(&route(
        "api",
        "rotation.test",
        "{name: api, port: 80}",
        "  tls: tls\n",
    ));
    space.programmed("api").await;

    let client = authority.client(&[]);
    let target = Target {
        tls: Some(client.clone()),
        close: true,
        ..Target::get(ferrix.websecure, "rotation.test", "/")
    };
    let load = Load::start(&target, 8, 0);
    load.reach(20, SOON).await;
    let mut slowest = Duration::ZERO;
    let mut last = certify(0);
    for number in 1..=ROTATIONS {
        last = certify(number);
        space.certificate("tls", &last);
        let applied = Instant::now();
        until("the new certificate", Duration::from_secs(1), async || {
            (presented(&ferrix, &client).await == last.der).then_some(())
        })
        .await;
        slowest = slowest.max(applied.elapsed());
    }
    space.kubectl(&[
        "patch",
        "secret",
        "tls",
        "-p",
        r#"{"data":{"tls.crt":"bm9uZQ=="}}"#,
    ]);
    let message = space.wait("api", "Accepted", "True", "Accepted").await;
    until("a word on the broken Secret", SOON, async || {
        let found =
            ["Accepted", "ResolvedRefs", "Programmed"].map(|it| space.condition("api", it).2);
        found
            .iter()
            .any(|it| it.contains("Secret rotation/tls"))
            .then_some(())
    })
    .await;
    assert_eq!(presented(&ferrix, &client).await, last.der, "{message}");
    let tally = load.stop().await;
    println!("{ROTATIONS} rotations: {tally}; the slowest took {slowest:?}");
    assert_eq!(tally.failed(), 0, "{tally}");
    assert!(tally.served >= 200, "{tally}");
}

/// The certificate that a new connection is shown.
async fn presented(ferrix: &Ferrix, client: &ClientConfig) -> CertificateDer<'static> {
    let stream = gateway::tls(ferrix.websecure, client, "rotation.test")
        .await
        .unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

/// Proof 6: an endpoint that dies without a word costs no idempotent request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn an_endpoint_that_dies_costs_nothing() {
    let ferrix = Ferrix::install();
    let space = Namespace::new("dying");
    space.backend("api", 3);
    space.apply(&route("api", "dying.test", "{name: api, port: 80}", ""));
    space.programmed("api").await;
    for verdict in ["reject with tcp reset", "drop"] {
        let names = "jsonpath={.items[*].metadata.name}";
        let pods = space.kubectl(&["get", "pods", "-l", "app=api", "-o", names]);
        let victim = format!("dying/{}", pods.split_whitespace().next().unwrap());
        let load = Load::start(&Target::get(ferrix.web, "dying.test", "/"), 10, 10);
        load.reach(500, cluster::ROLLOUT).await;
        let nft = |rule: &[&str]| {
            let mut all = vec!["in-pod", &victim, "nft"];
            all.extend(rule);
            cluster::cluster(&all);
        };
        nft(&["add", "table", "inet", "test"]);
        nft(&["add chain inet test in { type filter hook input priority 0; }"]);
        nft(&[&format!("add rule inet test in tcp dport 8080 {verdict}")]);
        let so_far = load.served();
        load.reach(so_far + 2_000, cluster::ROLLOUT).await;
        // Until the kubelet has found out, and the endpoint is gone.
        until("two endpoints", cluster::ROLLOUT, async || {
            let ready = "jsonpath={.status.readyReplicas}";
            let ready = space.kubectl(&["get", "deployment", "api", "-o", ready]);
            (ready == "2").then_some(())
        })
        .await;
        let so_far = load.served();
        load.reach(so_far + 500, cluster::ROLLOUT).await;
        let tally = load.stop().await;
        println!("an endpoint that dies ({verdict}): {tally}");
        assert_eq!(tally.failed(), 0, "{verdict}: {tally}");
        nft(&["delete", "table", "inet", "test"]);
        rolled_out("dying", "deployment/api");
    }
}
