//! What else a BackendPolicy asks for, each member once: which endpoint has a request, how many requests there are at
//! once, how long they take, and what connections are like.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use ferrix_e2e::{
    Backend,
    backend::{Connection, ok},
    certificates::Authority,
    client::{Response, once},
    cluster::{self, Ferrix, Namespace, REPORT, rolled_out, until},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
};

use crate::{SOON, allow_secrets};

const HOST: &str = "policies.test";

/// Of the node's network. A pod may connect to it.
const OUTSIDE: &str = "10.250.1.72:0";

/// Services, what the policy of each says, and how many endpoints it has: of the first two they are pods.
const POLICIES: [(&str, &str, usize); 8] = [
    (
        "hashed",
        "balancing: {algorithm: ConsistentHash, hash: {header: X-User}}",
        3,
    ),
    ("kept", "session: {cookie: {name: kept}}", 3),
    ("limited", "limits: {requests: 1}", 1),
    ("late", "timeouts: {request: 300ms}", 1),
    ("hedged", "hedging: {delay: 100ms}", 2),
    ("told", "connection: {proxyProtocol: V1}", 1),
    (
        "known",
        "connection: {tls: {serverName: known.test, caCertificateRefs: [{kind: ConfigMap, name: authority}]}}",
        1,
    ),
    (
        "unknown",
        "connection: {tls: {serverName: other.test, caCertificateRefs: [{kind: ConfigMap, name: authority}]}}",
        1,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn policies_do_what_they_say() {
    let ferrix = Ferrix::install();
    let replicas = ferrix.pods().len();
    let space = Namespace::new("policies");
    allow_secrets("policies");
    let listener = async || TcpListener::bind(OUTSIDE).await.unwrap();
    let silent = || {
        async |mut connection: Connection| {
            connection.request().await;
            connection.left().await;
        }
    };
    let gate = Arc::new(Semaphore::new(0));
    let limited = gated(listener().await, &gate);
    let late = Backend::start_on(listener().await, None, silent());
    let slow = Backend::start_on(listener().await, None, silent());
    let quick = Backend::hello_on(listener().await, "quick");
    let authority = Authority::new();
    let certified = authority.certify("known", &["known.test"]);
    let known = Backend::start_on(
        listener().await,
        Some(certified.server(&["http/1.1"])),
        async |mut connection: Connection| {
            while connection.request().await.is_some() {
                connection.send(ok("known")).await;
            }
        },
    );
    let teller = listener().await;
    let told = teller.local_addr().unwrap();
    tokio::spawn(tell(teller));

    space.apply(&cluster::backend("api", 3));
    space.apply(&authorities(&authority));
    space.apply(&POLICIES.map(manifests).concat());
    let outside = [
        ("limited", limited.address()),
        ("late", late.address()),
        ("hedged", slow.address()),
        ("hedged", quick.address()),
        ("told", told),
        ("known", known.address()),
        ("unknown", known.address()),
    ];
    space.apply(&outside.map(slice).concat());
    space.apply(&route());
    rolled_out("policies", "deployment/api");
    space.programmed("policies").await;
    for (service, _, endpoints) in POLICIES {
        in_force(&space, service, endpoints, replicas).await;
    }

    let web = ferrix.web;
    keys_stay_with_their_pod(web).await;
    a_session_stays_with_its_pod(web).await;
    so_many_at_once(web, replicas, &limited, &gate).await;
    assert_eq!(ask(web, "late", "").await.status, 504);
    for _ in 0..6 {
        let answer = ask(web, "hedged", "").await;
        assert_eq!((answer.status, &*answer.text()), (200, "quick"));
    }
    assert!(
        !slow.requests().is_empty(),
        "it was asked first, now and then"
    );
    let line = ask(web, "told", "").await.text();
    assert!(line.starts_with("PROXY TCP4 "), "{line}");
    for (service, status) in [("known", 200), ("unknown", 502)] {
        let answer = ask(web, service, "").await;
        assert_eq!(answer.status, status, "{service}: {}", answer.text());
    }
}

/// Answers a request for each permit.
fn gated(listener: TcpListener, gate: &Arc<Semaphore>) -> Backend {
    let gate = Arc::clone(gate);
    Backend::start_on(listener, None, move |mut connection: Connection| {
        let gate = Arc::clone(&gate);
        async move {
            while connection.request().await.is_some() {
                gate.acquire().await.unwrap().forget();
                connection.send(ok("hi")).await;
            }
        }
    })
}

/// Answers the request of each connection with the line that comes before it.
async fn tell(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let line = String::from_utf8_lossy(&read);
            let line = line.lines().next().unwrap_or_default();
            let _ = stream.write_all(ok(line).as_bytes()).await;
        });
    }
}

/// A Service and its policy.
fn manifests((service, asks, _): (&str, &str, usize)) -> String {
    let selector = match service {
        "hashed" | "kept" => "selector: {app: api}, ",
        _ => "",
    };
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {service}}}
spec: {{{selector}ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: ferrix.com/v1
kind: BackendPolicy
metadata: {{name: {service}}}
spec:
  targetRefs: [{{group: '', kind: Service, name: {service}}}]
  {asks}
"
    )
}

/// An endpoint outside of the cluster.
fn slice((service, address): (&str, SocketAddr)) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-{port}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: [{{addresses: [{ip}]}}]
ports: [{{name: http, port: {port}}}]
"
    )
}

fn authorities(authority: &Authority) -> String {
    let pem = authority.certificate_pem();
    let pem = pem.trim_end().replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: authority}}\ndata:\n  ca.crt: |\n    {pem}\n"
    )
}

/// One with a rule for each Service.
fn route() -> String {
    let rules = POLICIES.map(|(service, ..)| {
        format!(
            "\n      - matches: PathPrefix(`/{service}`)\n        service: {{name: {service}, port: 80}}"
        )
    });
    format!(
        "apiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: policies}}\nspec:\n  \
         route:\n    host: {HOST}\n    rules:{}\n",
        rules.concat()
    )
}

/// Every replica has the policy, and all endpoints of its Service.
async fn in_force(space: &Namespace, service: &str, endpoints: usize, replicas: usize) {
    until(format!("the policy of {service}"), REPORT, async || {
        let status = space.object("backendpolicy", service)["status"].clone();
        let conditions = status["conditions"].as_sequence()?.clone();
        let is_true =
            |name: &str| (conditions.iter()).any(|it| it["type"] == name && it["status"] == "True");
        let good = ["Accepted", "ResolvedRefs", "Programmed"].map(is_true) == [true; 3];
        let told = status["services"][0]["endpoints"] == endpoints;
        let by_all = status["replicas"] == format!("{replicas}/{replicas}");
        (good && told && by_all).then_some(())
    })
    .await;
}

/// Whichever replica is asked.
async fn ask(web: SocketAddr, path: &str, fields: &str) -> Response {
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
    once(web, request).await
}

/// The pod that has answered.
fn pod(answer: &Response) -> String {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    said["name"].as_str().unwrap().to_owned()
}

async fn keys_stay_with_their_pod(web: SocketAddr) {
    const USERS: usize = 20;
    let mut pods = BTreeMap::new();
    for request in 0..4 * USERS {
        let user = request % USERS;
        let pod = pod(&ask(web, "hashed", &format!("X-User: {user}\r\n")).await);
        let first = pods.entry(user).or_insert_with(|| pod.clone());
        assert_eq!(*first, pod, "user {user}");
    }
    let different: BTreeSet<_> = pods.values().collect();
    assert!(different.len() > 1, "{pods:?}");
}

async fn a_session_stays_with_its_pod(web: SocketAddr) {
    let first = ask(web, "kept", "").await;
    let cookie = first.head.one("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().unwrap_or_default();
    assert!(cookie.starts_with("kept="), "{cookie}");
    for _ in 0..10 {
        let again = ask(web, "kept", &format!("Cookie: {cookie}\r\n")).await;
        assert_eq!(pod(&again), pod(&first));
    }
}

/// Each replica has one request under way, and refuses all others.
async fn so_many_at_once(web: SocketAddr, replicas: usize, limited: &Backend, gate: &Semaphore) {
    const REQUESTS: usize = 12;
    let mut answers = JoinSet::new();
    for _ in 0..REQUESTS {
        answers.spawn(ask(web, "limited", ""));
    }
    let mut refused = 0;
    until("each to be refused or under way", SOON, async || {
        while let Some(answer) = answers.try_join_next() {
            assert_eq!(answer.unwrap().status, 503);
            refused += 1;
        }
        (refused + limited.requests().len() == REQUESTS).then_some(())
    })
    .await;
    let under_way = REQUESTS - refused;
    assert!((1..=replicas).contains(&under_way), "{under_way}");
    gate.add_permits(under_way);
    while let Some(answer) = answers.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
}
