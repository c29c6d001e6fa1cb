//! Replicas that count a limit together: three data planes on loopback, each asked as fast as it answers.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_e2e::{Backend, Gateway, Routes, within};
use ferrix_proxy::replicas::Peers;
use ferrix_table::{
    filters::{
        Filter,
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        rate_limit::{RateLimit, Scope, gcra::Rate},
    },
    object::{Key, Kind},
    policy::Policy,
};

const REPLICAS: usize = 3;

const SECOND: Duration = Duration::from_secs(1);

fn limited(requests: u32, backend: SocketAddr) -> Routes {
    let limit = RateLimit {
        requests,
        per: SECOND,
        burst: requests,
        rate: Rate::new(requests, SECOND, requests),
        by: LimitKey::Route,
        scope: Scope::Cluster,
        dry_run: false,
        state: Lasting::new(FilterId {
            object: Key::new(Kind::IngressRoute, "default", "limited"),
            place: "rateLimit".into(),
        }),
    };
    Routes::all_to(&[backend]).policy(Policy::of([Filter::RateLimit(Box::new(limit))]))
}

/// Addresses that are free, as each replica has to know all of them before it starts.
fn addresses(count: usize) -> Vec<SocketAddr> {
    let sockets: Vec<_> = (0..count)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    sockets.iter().map(|it| it.local_addr().unwrap()).collect()
}

/// Replicas at some of these addresses, which all take one another for replicas.
fn start(at: &[SocketAddr], all: &[SocketAddr], routes: impl Fn() -> Routes) -> Vec<Gateway> {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let peers: Vec<_> = all.iter().map(SocketAddr::to_string).collect();
    let start = |address: &SocketAddr| {
        let settings = format!(
            "replicas: {{address: '{address}', peers: {peers:?}, key_file: {}}}",
            key.display()
        );
        Gateway::start_with(&settings, routes())
    };
    at.iter().map(start).collect()
}

async fn known(gateways: &[Gateway], all: usize, silent: u32) {
    let waiting = async {
        let agrees = |peers: &Arc<Peers>| (peers.count() as usize, peers.silent()) == (all, silent);
        while !gateways.iter().all(|it| agrees(&it.peers().unwrap())) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("replicas to hear each other", waiting).await;
}

/// Asks each of them without a pause. Returns how many requests passed, and how long that took.
async fn ask(gateways: &[Gateway], time: Duration) -> (u32, Duration) {
    let begin = Instant::now();
    let mut clients = Vec::new();
    for gateway in gateways {
        let mut client = gateway.client().await;
        clients.push(tokio::spawn(async move {
            let mut passed = 0;
            while begin.elapsed() < time {
                match client.get("/").await.status {
                    200 => passed += 1,
                    status => assert_eq!(status, 429),
                }
            }
            passed
        }));
    }
    let mut passed = 0;
    for client in clients {
        passed += client.await.unwrap();
    }
    (passed, begin.elapsed())
}

/// How many may pass in this time.
fn allowed(requests: u32, time: Duration) -> f64 {
    f64::from(requests) * (1.0 + time.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_together_get_what_the_limit_gives() {
    const REQUESTS: u32 = 100;
    let backend = Backend::hello("hi").await;
    let all = addresses(REPLICAS);
    let gateways = start(&all, &all, || limited(REQUESTS, backend.address()));
    known(&gateways, REPLICAS, 0).await;
    let (passed, time) = ask(&gateways, SECOND).await;
    let allowed = allowed(REQUESTS, time);
    println!("{passed} of {allowed} in {time:?}");
    assert!(f64::from(passed) <= allowed * 1.1, "{passed} of {allowed}");
    // Where each counted for itself it would be three times as many; a slow machine asks for less.
    assert!(passed > REQUESTS / 2, "{passed} of {allowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_misses_another_has_its_share() {
    const REQUESTS: u32 = 90;
    let backend = Backend::hello("hi").await;
    let all = addresses(REPLICAS);
    let gateways = start(&all[..2], &all, || limited(REQUESTS, backend.address()));
    known(&gateways, REPLICAS, 1).await;
    let (passed, time) = ask(&gateways, SECOND).await;
    let share = allowed(REQUESTS, time) * 2.0 / 3.0;
    println!("{passed} of {share} in {time:?}");
    assert!(f64::from(passed) <= share * 1.05, "{passed} of {share}");
    assert!(passed >= REQUESTS / 4, "{passed} of {share}");
}

#[tokio::test]
async fn without_a_key_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    fs::write(&short, "secret\n").unwrap();
    for (path, error) in [
        (short, "has 6 bytes; expected 16 at least"),
        (folder.path().join("none"), "No such file"),
    ] {
        let settings = format!(
            "replicas: {{address: '127.0.0.1:0', peers: [], key_file: {}}}",
            path.display()
        );
        let settings = serde_yaml_ng::from_str(&settings).unwrap();
        let (_publisher, table) = ferrix_table::publish::channel();
        let refused = ferrix_proxy::Bound::new(&[], settings, table, None).err();
        let refused = refused.unwrap().to_string();
        assert!(refused.starts_with("replicas.key_file: "), "{refused}");
        assert!(refused.contains(error), "{refused}");
    }
}
