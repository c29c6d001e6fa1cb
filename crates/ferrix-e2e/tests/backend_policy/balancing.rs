use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ferrix_e2e::{
    Backend, Gateway, Routes,
    client::{get, once},
    manifests::{route, service},
};
use ferrix_table::{
    backend_policy::BackendPolicy,
    balancing::{Algorithm, Balancing, HashKey},
    policy::{Session, SessionCarrier},
};

use super::{counts, policy};

fn by(algorithm: Algorithm) -> BackendPolicy {
    BackendPolicy {
        balancing: Balancing {
            algorithm,
            slow_start: None,
            zones: None,
        },
        ..policy()
    }
}

fn hash(by_key: HashKey) -> BackendPolicy {
    by(Algorithm::ConsistentHash {
        by: by_key,
        max_load: None,
    })
}

async fn named(count: usize) -> Vec<Backend> {
    let mut backends = Vec::new();
    for name in 0..count {
        backends.push(Backend::hello(&name.to_string()).await);
    }
    backends
}

fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(Backend::address).collect()
}

/// Whoever asks, and however: on a new connection, on one that was used before, and over HTTP/2.
#[tokio::test]
async fn requests_with_one_key_go_to_one_endpoint() {
    let backends = named(4).await;
    let by_name = |name: &str| Box::from(name);
    let mut ran = 0;
    for key in [
        HashKey::Header(by_name("x-user")),
        HashKey::Cookie(by_name("user")),
        HashKey::Query(by_name("user")),
    ] {
        let routes = |backends: &[Backend]| {
            Routes::all_to(&addresses(backends)).backend_policy(&hash(key.clone()))
        };
        let gateway = Gateway::start(routes(&backends));
        let mut client = gateway.client().await;
        let mut http2 = gateway.http2().await;
        let request = |user: u32| {
            let (target, field) = match &key {
                HashKey::Header(_) => ("/".to_owned(), format!("X-User: {user}\r\n")),
                HashKey::Cookie(_) => ("/".to_owned(), format!("Cookie: a=b; user={user}\r\n")),
                _ => (format!("/?a=b&user={user}"), String::new()),
            };
            format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{field}\r\n")
        };
        let mut homes = BTreeMap::new();
        for user in 0..40 {
            let home = client.exchange(request(user)).await.text();
            for _ in 0..3 {
                assert_eq!(client.exchange(request(user)).await.text(), home);
            }
            assert_eq!(once(gateway.web, request(user)).await.text(), home);
            let target = match &key {
                HashKey::Query(_) => format!("/?user={user}"),
                _ => "/".to_owned(),
            };
            let mut over_http2 = http2.request("GET", &target);
            let fields = over_http2.headers_mut();
            fields.insert("x-user", user.into());
            fields.insert("cookie", format!("user={user}").parse().unwrap());
            let response = http2.fetch(over_http2).await.unwrap();
            assert_eq!(response.text(), home, "{user} over HTTP/2");
            homes.insert(user, home);
            ran += 1;
        }
        let used: BTreeSet<_> = homes.values().collect();
        assert_eq!(used.len(), 4, "{homes:?}");
        // One goes: the users of the others stay.
        gateway.publish(routes(&backends[..3]));
        for (user, home) in &homes {
            let now = client.exchange(request(*user)).await.text();
            match home.as_str() {
                "3" => assert_ne!(now, "3"),
                _ => assert_eq!(now, *home, "{user}"),
            }
        }
        // It is back, and so are its users.
        gateway.publish(routes(&backends));
        for (user, home) in &homes {
            assert_eq!(client.exchange(request(*user)).await.text(), *home);
        }
    }
    assert_eq!(ran, 3 * 40);
}

/// The whole program: an edit is followed without a new route, a bad one is not, and without the policy each
/// endpoint has its turn again.
#[tokio::test]
async fn a_policy_as_it_is_written() {
    let backends = named(3).await;
    let policy = |rest: &str| {
        format!(
            "apiVersion: ferrix.com/v1\nkind: BackendPolicy\n\
             metadata: {{name: p, namespace: default}}\n\
             spec: {{targetRefs: [{{group: '', kind: Service, name: s}}], balancing: {{{rest}}}}}\n"
        )
    };
    let by_header = policy("algorithm: ConsistentHash, hash: {header: X-User}");
    let manifests = service("s", &addresses(&backends));
    let mut ferrix = Gateway::from_manifests(&manifests, "").await;
    ferrix
        .apply("route.yaml", &route("r", "example.com", "Path(`/`)", "s"))
        .await;
    ferrix.apply("policy.yaml", &by_header).await;
    let mut client = ferrix.client().await;
    let request = "GET / HTTP/1.1\r\nHost: example.com\r\nX-User: a\r\n\r\n";
    let mut used = async || {
        let mut used = BTreeSet::new();
        for _ in 0..9 {
            used.insert(client.exchange(request).await.text());
        }
        used.len()
    };
    assert_eq!(used().await, 1);
    ferrix.write("policy.yaml", &policy("algorithm: ConsistentHash"));
    ferrix.reported("spec.balancing.hash").await;
    assert_eq!(used().await, 1, "the last good version stays in force");
    ferrix
        .apply("policy.yaml", &policy("algorithm: RoundRobin"))
        .await;
    assert_eq!(used().await, 3);
    ferrix.apply("policy.yaml", &by_header).await;
    assert_eq!(used().await, 1);
    ferrix.remove("policy.yaml").await;
    assert_eq!(used().await, 3);
}

#[tokio::test]
async fn requests_of_one_client_go_to_one_endpoint() {
    let backends = named(3).await;
    let routes = Routes::all_to(&addresses(&backends));
    let key = HashKey::Client { ipv6_prefix: 64 };
    let gateway = Gateway::start(routes.backend_policy(&hash(key)));
    for _ in 0..12 {
        once(gateway.web, get("/")).await;
    }
    let mut counts = counts(&backends);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 12]);
}

/// An endpoint that is slow gets no more while it works on what it has.
#[tokio::test]
async fn who_works_on_fewer_requests_is_chosen() {
    let (slow, gate) = Backend::gated("slow").await;
    let fast = named(2).await;
    let all = [&[slow.address()], &*addresses(&fast)].concat();
    let routes = Routes::all_to(&all);
    let gateway = Gateway::start(routes.backend_policy(&by(Algorithm::LeastRequests)));
    // Sent until one waits there.
    let mut waiting = loop {
        let mut client = gateway.client().await;
        client.send(get("/")).await;
        tokio::select! {
            response = client.response() => assert_eq!(response.status, 200),
            () = slow.wait("a request at the slow one", |log| log.requests.len() == 1) => {
                break client;
            }
        }
    };
    let mut client = gateway.client().await;
    for _ in 0..60 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(slow.requests().len(), 1);
    let counts = counts(&fast);
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    gate.add_permits(1000);
    assert_eq!(waiting.response().await.text(), "slow");
    for _ in 0..60 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(slow.requests().len() > 5, "it has its share again");
}

#[tokio::test]
async fn a_session_stays_with_its_endpoint() {
    let backends = named(3).await;
    let with_session = BackendPolicy {
        session: Some(Session {
            carrier: SessionCarrier::Cookie {
                name: "s".into(),
                path: "/".into(),
                permanent: false,
            },
            absolute_timeout: None,
        }),
        ..policy()
    };
    let routes =
        |backends: &[Backend]| Routes::all_to(&addresses(backends)).backend_policy(&with_session);
    let gateway = Gateway::start(routes(&backends));
    let mut client = gateway.client().await;
    let first = client.get("/").await;
    let home = first.text();
    let cookie = first.head.one("set-cookie").expect("a cookie").to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\nCookie: {cookie}\r\n\r\n");
    for _ in 0..6 {
        let response = client.exchange(&request).await;
        assert_eq!(response.text(), home);
        assert_eq!(response.head.one("set-cookie"), None, "it has it");
        // Others have their turn.
        client.get("/").await;
    }
    let mut http2 = gateway.http2().await;
    let mut over_http2 = http2.request("GET", "/");
    (over_http2.headers_mut()).insert("cookie", cookie.parse().unwrap());
    assert_eq!(http2.fetch(over_http2).await.unwrap().text(), home);
    // The endpoint goes, and another takes its place.
    let left: Vec<_> = (0..3).filter(|it| it.to_string() != home).collect();
    let left: Vec<Backend> = backends
        .into_iter()
        .enumerate()
        .filter_map(|(place, backend)| left.contains(&place).then_some(backend))
        .collect();
    gateway.publish(routes(&left));
    let moved = client.exchange(&request).await;
    assert_ne!(moved.text(), home);
    assert!(moved.head.one("set-cookie").is_some());
}
