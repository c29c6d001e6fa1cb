//! Filters, each once on three replicas that count limits together: by the chart, in a namespace and with a
//! class of their own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    time::{Duration, Instant},
};

use ferrix_e2e::{
    Backend, Browser, Client,
    certificates::Authority,
    client::{Response, once},
    cluster::{Ferrix, Namespace, REPORT, backend, rolled_out, until},
    gateway,
    oidc_server::OidcServer,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
};

use crate::{SOON, d_chart::helm, z_outages};

const HOST: &str = "filters.test";

/// Of the node's network. A pod may connect to it.
const BACKENDS: &str = "10.250.1.70:0";

/// Of the same network.
const PROVIDER: Ipv4Addr = Ipv4Addr::new(10, 250, 1, 71);

const NAME_SERVER: &str = "10.250.1.53";

const REPLICAS: usize = 3;

const SECOND: Duration = Duration::from_secs(1);

/// What the limits that are counted together let pass in a second.
const REQUESTS: u32 = 200;

/// One rule of a route, for the path of its name, and a request for it.
struct Trial {
    name: &'static str,
    filters: &'static str,
    /// What the request says besides, and its body.
    fields: &'static str,
    body: &'static str,
    status: u16,
    /// What the answer has somewhere, blanks left out.
    shows: &'static str,
}

const PLAIN: Trial = Trial {
    name: "plain",
    filters: "",
    fields: "",
    body: "",
    status: 200,
    shows: "\"path\":\"/plain\"",
};

/// How many requests the first rule would have served.
const DRY_RUNS: &str = "ferrix_route_dry_run_requests_total{kind=\"IngressRoute\",namespace=\"filters\",\
                        name=\"trials\",rule=\"rules[0]\"}";

/// Those of a path that begins with `kept` have another service, as those of `failing`, which has no endpoint.
const TRIALS: &[Trial] = &[
    PLAIN,
    Trial {
        name: "request-headers",
        filters: "{requestHeaderModifier: {set: [{name: X-Tenant, value: shop}], remove: [X-Debug]}}",
        fields: "X-Tenant: other\r\nX-Debug: 1\r\n",
        shows: "\"x-tenant\":[\"shop\"]",
        ..PLAIN
    },
    Trial {
        name: "response-headers",
        filters: "{responseHeaderModifier: {set: [{name: X-Frame-Options, value: DENY}]}}",
        shows: "X-Frame-Options:DENY",
        ..PLAIN
    },
    Trial {
        name: "redirect",
        filters: "{requestRedirect: {scheme: https, hostname: other.test, statusCode: 308}}",
        status: 308,
        shows: "https://other.test/redirect",
        ..PLAIN
    },
    Trial {
        name: "rewrite",
        filters: "{urlRewrite: {hostname: other.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /v2}}}",
        shows: "\"path\":\"/v2\",\"host\":\"other.test\"",
        ..PLAIN
    },
    Trial {
        name: "mirror",
        filters: "{requestMirror: {backendRef: {name: mirrored, port: 80}}}",
        shows: "\"path\":\"/mirror\"",
        ..PLAIN
    },
    Trial {
        name: "cors",
        filters: "{cors: {allowOrigins: ['https://www.test'], allowMethods: [GET]}}",
        fields: "Origin: https://www.test\r\n",
        shows: "Access-Control-Allow-Origin:https://www.test",
        ..PLAIN
    },
    // Ferrix is also the authority.
    Trial {
        name: "yes",
        filters: "{respond: {headers: [{name: X-User, value: jane}]}}",
        shows: "X-User:jane",
        ..PLAIN
    },
    Trial {
        name: "no",
        filters: "{respond: {status: 403, body: not you}}",
        status: 403,
        shows: "notyou",
        ..PLAIN
    },
    Trial {
        name: "authorised",
        filters: "{externalAuth: {protocol: HTTP, backendRef: {name: shared-ferrix, port: 80}, http: {path: /yes}}}",
        fields: "X-User: root\r\n",
        shows: "\"x-user\":[\"jane\"]",
        ..PLAIN
    },
    Trial {
        name: "refused",
        filters: "{externalAuth: {protocol: HTTP, backendRef: {name: shared-ferrix, port: 80}, http: {path: /no}}}",
        status: 403,
        shows: "notyou",
        ..PLAIN
    },
    Trial {
        name: "who",
        filters: "{respond: {status: 401}}",
        status: 401,
        shows: "",
        ..PLAIN
    },
    Trial {
        name: "sign-in",
        filters: "{externalAuth: {protocol: HTTP, backendRef: {name: shared-ferrix, port: 80}, http: {path: /who}, \
                  signIn: 'https://sign-in.test/', cache: {ttl: 30s}}}",
        status: 302,
        shows: "https://sign-in.test/?rd=http%3A%2F%2Ffilters.test%2Fsign-in",
        ..PLAIN
    },
    Trial {
        name: "basic-auth",
        filters: "{basicAuth: {secret: people, userHeader: X-User, hideCredentials: true}}",
        // jane:secret
        fields: "X-User: root\r\nAuthorization: Basic amFuZTpzZWNyZXQ=\r\n",
        shows: "\"x-user\":[\"jane\"]",
        ..PLAIN
    },
    Trial {
        name: "basic-auth-of-nobody",
        filters: "{basicAuth: {secret: people}}",
        status: 401,
        shows: "WWW-Authenticate:Basic",
        ..PLAIN
    },
    Trial {
        name: "api-key",
        filters: "{apiKey: {secret: partners, from: {header: X-Api-Key}, clientHeader: X-Client, hideCredentials: true}}",
        fields: "X-Client: root\r\nX-Api-Key: key-of-acme\r\n",
        shows: "\"x-client\":[\"acme\"]",
        ..PLAIN
    },
    Trial {
        name: "jwt",
        filters: "{jwt: {jwks: {configMap: {name: issuer}}, claimsToHeaders: [{claim: sub, header: X-User}]}}, \
                  {rateLimit: {requests: 1000, by: {claim: sub}}}",
        fields: TOKEN,
        shows: "\"x-user\":[\"alice\"]",
        ..PLAIN
    },
    // Ferrix is also the issuer.
    Trial {
        name: "keys",
        filters: KEYS,
        shows: "Ed25519",
        ..PLAIN
    },
    Trial {
        name: "fetched",
        filters: "{jwt: {jwks: {url: 'http://filters.test:6190/keys'}, claimsToHeaders: [{claim: sub, header: X-User}]}}",
        fields: TOKEN,
        shows: "\"x-user\":[\"alice\"]",
        ..PLAIN
    },
    // It came without TLS.
    Trial {
        name: "client-certificate",
        filters: "{clientCertificate: {authorities: {configMap: authorities}}}",
        status: 403,
        shows: "",
        ..PLAIN
    },
    Trial {
        name: "zstd",
        filters: "{compression: {minBytes: 0}}",
        fields: "Accept-Encoding: gzip, br, zstd\r\n",
        shows: "Content-Encoding:zstd",
        ..PLAIN
    },
    Trial {
        name: "brotli",
        filters: "{compression: {minBytes: 0}}",
        fields: "Accept-Encoding: gzip, br\r\n",
        shows: "Content-Encoding:br",
        ..PLAIN
    },
    Trial {
        name: "gzip",
        filters: "{compression: {minBytes: 0}}",
        fields: "Accept-Encoding: gzip\r\n",
        shows: "Content-Encoding:gzip",
        ..PLAIN
    },
    Trial {
        name: "allowed",
        filters: "{ipFilter: {allow: [10.0.0.0/8], deny: [10.66.0.0/16]}}",
        shows: "\"path\":\"/allowed\"",
        ..PLAIN
    },
    Trial {
        name: "denied",
        filters: "{ipFilter: {deny: [10.0.0.0/8]}}",
        status: 403,
        shows: "",
        ..PLAIN
    },
    Trial {
        name: "rate-limit",
        filters: "{rateLimit: {requests: 1, per: 1h, by: {route: {}}}}",
        shows: "\"path\":\"/rate-limit\"",
        ..PLAIN
    },
    Trial {
        name: "concurrency",
        filters: "{concurrency: {requests: 1, by: {route: {}}}}",
        shows: "\"path\":\"/concurrency\"",
        ..PLAIN
    },
    Trial {
        name: "body-size",
        filters: "{bodySize: {max: 10B}}",
        fields: "Content-Length: 11\r\n",
        status: 413,
        shows: "",
        ..PLAIN
    },
    Trial {
        name: "kept",
        filters: "{cache: {maxBytes: 8MiB, defaultTtl: 10m}}",
        shows: "Cache-Status:ferrix;fwd=miss;stored",
        ..PLAIN
    },
    Trial {
        name: "bandwidth",
        filters: "{bandwidth: {response: {bytesPerSecond: 8KB}}}",
        shows: "xxx",
        ..PLAIN
    },
    Trial {
        name: "respond",
        filters: "{respond: {status: 203, body: hello}}",
        status: 203,
        shows: "hello",
        ..PLAIN
    },
    Trial {
        name: "failing",
        filters: "{errorPages: {statuses: [500-599], body: a page}}",
        status: 503,
        shows: "apage",
        ..PLAIN
    },
    Trial {
        name: "faults",
        filters: "{faults: {abort: {status: 501}}}",
        status: 501,
        shows: "",
        ..PLAIN
    },
    Trial {
        name: "request-buffering",
        filters: "{requestBuffering: {}}",
        fields: "Transfer-Encoding: chunked\r\n",
        body: "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        shows: "\"content-length\":[\"5\"]",
        ..PLAIN
    },
    Trial {
        name: "unlogged",
        filters: "{accessLog: {enabled: false}}",
        shows: "\"path\":\"/unlogged\"",
        ..PLAIN
    },
    Trial {
        name: "logged",
        filters: "{accessLog: {requestHeaders: [X-Tenant]}}",
        fields: "X-Tenant: shop\r\n",
        shows: "\"path\":\"/logged\"",
        ..PLAIN
    },
    Trial {
        name: "named",
        filters: "{filter: common}",
        shows: "X-Common:yes",
        ..PLAIN
    },
    Trial {
        name: "attached",
        shows: "X-Attached:yes",
        ..PLAIN
    },
    Trial {
        name: "together",
        filters: "{rateLimit: {requests: 200, by: {route: {}}, scope: Cluster}}, {respond: {}}",
        shows: "",
        ..PLAIN
    },
    Trial {
        name: "alone",
        filters: "{rateLimit: {requests: 200, by: {route: {}}, scope: Cluster}}, {respond: {}}",
        shows: "",
        ..PLAIN
    },
];

/// A key of Ed25519, and a token by it: of alice, until 2100.
const KEYS: &str = r#"{respond: {contentType: application/json, body: '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "6pryxIemEKl3U83goZQk8sUmXq5DMoKhLdjYN1_VIHs"}]}'}}"#;
const TOKEN: &str = "X-User: root\r\nAuthorization: Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzIHJlYWQiLCJleHAiOjQxMDI0NDQ4MDB9.riyXjeIBZwhPyqp08wzw4elcAzXMySCyECz0yPC4VfNnmLLk9zM6hrZ8rhkbNiNyU5IgIB7TqS_9x9JL-KEUCQ\r\n";

/// What filters name that say who may pass.
const SECRETS: &str = r#"
---
apiVersion: v1
kind: Secret
type: kubernetes.io/basic-auth
metadata: {name: people}
stringData: {username: jane, password: secret}
---
apiVersion: v1
kind: Secret
metadata: {name: partners}
stringData: {acme: key-of-acme}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: issuer}
data: {jwks.json: '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "6pryxIemEKl3U83goZQk8sUmXq5DMoKhLdjYN1_VIHs"}]}'}
"#;

const FILTERS: &str = "
---
apiVersion: ferrix.com/v1
kind: Filter
metadata: {name: common}
spec:
  ingressClassName: shared
  filters: [{responseHeaderModifier: {set: [{name: X-Common, value: 'yes'}]}}]
---
apiVersion: ferrix.com/v1
kind: Filter
metadata: {name: attached}
spec:
  ingressClassName: shared
  targetRefs: [{group: ferrix.com, kind: IngressRoute, name: trials}]
  filters: [{responseHeaderModifier: {set: [{name: X-Attached, value: 'yes'}]}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cluster/test"]
async fn filters_do_on_every_replica_what_they_say() {
    // Of it nothing but the definitions is used.
    let _ferrix = Ferrix::install();
    let space = Namespace::new("filters");
    let listener = async || TcpListener::bind(BACKENDS).await.unwrap();
    let kept = Backend::hello_on(listener().await, &"x".repeat(4096));
    let mirrored = Backend::hello_on(listener().await, "");
    let (addresses, known) = watch::channel(Vec::new());
    let socket = UdpSocket::bind((NAME_SERVER, 53)).await.unwrap();
    let _names = tokio::spawn(answer_questions(socket, known));
    space.apply(&[backend("api", 1), replicas(), FILTERS.to_owned()].join("\n---\n"));
    space.apply(&[outside("kept", &kept), outside("mirrored", &mirrored)].concat());
    let authority = Authority::new();
    space.apply(&[SECRETS, &authorities(&authority)].concat());
    space.certificate(
        "certified",
        &authority.certify("certified", &["certified.test"]),
    );
    space.apply("{apiVersion: v1, kind: Service, metadata: {name: none}, spec: {ports: [{name: http, port: 80}]}}");
    space.apply(&route());
    space.apply(CERTIFIED);
    rolled_out("filters", "deployment/api");
    rolled_out("filters", "deployment/shared-ferrix");
    let pods = pods(&space);
    addresses.send_replace(pods.clone());

    let started = Instant::now();
    statuses(&space).await;
    for pod in &pods {
        keys_are_fetched(*pod).await;
        for trial in TRIALS {
            answers(*pod, trial).await;
        }
        client_certificates(*pod, &authority).await;
    }
    users_log_in(&space, &pods).await;
    mirrored
        .wait("a copy from each", |log| log.requests.len() == REPLICAS)
        .await;
    limits_of_one(pods[0]).await;
    for pod in &pods {
        let counted = metric(*pod, DRY_RUNS).await;
        assert_eq!(counted, 1.0, "it is the trial `plain` that it would serve");
    }
    access_log(&space).await;
    println!("{} trials on each: {:?}", TRIALS.len(), started.elapsed());
    limits_of_all(&pods).await;
    cache(&space, &pods, &kept).await;
    println!("all of it: {:?}", started.elapsed());
}

/// The chart's objects, in which pods have a server for names: the cluster has none.
fn replicas() -> String {
    const BEFORE: &str = "      enableServiceLinks: false\n";
    let manifests = helm(&[
        "template",
        "shared",
        "charts/ferrix",
        "--namespace=filters",
        // Nothing of it belongs to the whole cluster.
        "--set=namespaces={filters}",
        "--set=ingressClass=shared",
        "--set=service.type=ClusterIP",
        "--set=withdrawOnUninstall=false",
        "--set=replicas=3",
        "--set=sharedLimits.enabled=true",
        "--set=settings.access_log.format=json",
        // The node is small.
        "--set=resources.requests.cpu=50m",
    ]);
    let servers =
        format!("      dnsPolicy: None\n      dnsConfig: {{nameservers: [{NAME_SERVER}]}}\n");
    assert_eq!(manifests.matches(BEFORE).count(), 1);
    manifests.replace(BEFORE, &[BEFORE, &servers].concat())
}

/// A Service in front of what runs in the node's network.
fn outside(name: &str, backend: &Backend) -> String {
    let address = backend.address();
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: [{}]}}]
ports: [{{name: http, port: {}}}]
",
        address.ip(),
        address.port()
    )
}

/// One with a rule for each trial.
fn route() -> String {
    let rule = |trial: &Trial| {
        let name = trial.name;
        let filters = match trial.filters {
            "" => String::new(),
            filters => format!("\n        filters: [{filters}]"),
        };
        let service = match name {
            "kept" | "bandwidth" => "kept",
            "failing" => "none",
            _ => "api",
        };
        format!(
            "\n      - matches: PathPrefix(`/{name}`)\n        service: {{name: {service}, port: 80}}{filters}"
        )
    };
    let rules: String = TRIALS.iter().map(rule).collect();
    // Before the trial `plain`, as its text is longer.
    let dry_run = "\n      - matches: PathPrefix(`/plain`) && Method(`GET`)\n        \
                   service: {name: none, port: 80}\n        dryRun: true";
    format!(
        "apiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: trials}}\nspec:\n  \
         ingressClassName: shared\n  route:\n    host: {HOST}\n    rules:{dry_run}{rules}\n"
    )
}

/// The addresses of the replicas.
fn pods(space: &Namespace) -> Vec<Ipv4Addr> {
    let path = "jsonpath={.items[*].status.podIP}";
    let ours = "app.kubernetes.io/instance=shared";
    let text = space.kubectl(&["get", "pods", "-l", ours, "-o", path]);
    let pods: Vec<_> = text.split(' ').map(|it| it.parse().unwrap()).collect();
    assert_eq!(pods.len(), REPLICAS, "{text}");
    pods
}

/// Answers every question for addresses with these.
async fn answer_questions(socket: UdpSocket, addresses: watch::Receiver<Vec<Ipv4Addr>>) {
    let mut buffer = [0; 512];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let answer = answer(&buffer[..length], &addresses.borrow());
        let _ = socket.send_to(&answer, client).await;
    }
}

/// RFC 1035, section 4.1: 12 bytes, then the name, which ends with an empty label, its type and class.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let end = 12 + name + 5;
    let asks_for_ipv4 = query[end - 4..end] == [0, 1, 0, 1];
    let addresses = if asks_for_ipv4 { addresses } else { &[] };
    let mut answer = query[..end].to_vec();
    let count = u8::try_from(addresses.len()).unwrap();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    for address in addresses {
        // The name is that of the question; for a second.
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// Route and Filters are accepted, served by all, and know of each other.
async fn statuses(space: &Namespace) {
    space.programmed("trials").await;
    space.wait("trials", "Accepted", "True", "Accepted").await;
    for filter in ["common", "attached"] {
        until(format!("the status of {filter}"), REPORT, async || {
            let status = space.object("filters.ferrix.com", filter)["status"].clone();
            let used = status["usedBy"]["count"] == 1
                && status["usedBy"]["routes"][0] == "IngressRoute filters/trials";
            let conditions = status["conditions"].as_sequence()?.clone();
            let is_true = |name: &str| {
                (conditions.iter()).any(|it| it["type"] == name && it["status"] == "True")
            };
            let good = ["Ready", "Accepted", "ResolvedRefs", "Programmed"].map(is_true);
            (used && good == [true; 4] && status["replicas"] == "3/3").then_some(())
        })
        .await;
    }
}

fn get(path: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

fn web(pod: Ipv4Addr) -> SocketAddr {
    (pod, 6190).into()
}

async fn answers(pod: Ipv4Addr, trial: &Trial) {
    let Trial {
        name, fields, body, ..
    } = trial;
    let request = format!("GET /{name} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n{body}");
    let answer = once(web(pod), request).await;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&answer.head.raw),
        answer.text()
    );
    let text: String = text.split_whitespace().collect();
    assert_eq!(answer.status, trial.status, "{name}: {text}");
    assert!(text.contains(trial.shows), "{name}: {text}");
    assert!(!text.contains("x-debug"), "{name}: {text}");
}

/// A replica has asked for keys before there was anybody to answer, and asks again.
async fn keys_are_fetched(pod: Ipv4Addr) {
    until("the keys", REPORT, async || {
        let request = format!("GET /fetched HTTP/1.1\r\nHost: {HOST}\r\n{TOKEN}\r\n");
        (once(web(pod), request).await.status == 200).then_some(())
    })
    .await;
}

/// A route of its own, with TLS.
const CERTIFIED: &str = "
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {name: certified}
spec:
  ingressClassName: shared
  entrypoint: websecure
  tls: certified
  route:
    host: certified.test
    rules:
      - service: {name: api, port: 80}
        filters:
          - clientCertificate:
              authorities: {configMap: authorities}
              detailsToHeaders: [{detail: Subject, header: X-Client}]
";

fn authorities(authority: &Authority) -> String {
    let pem = authority.certificate_pem();
    let pem = pem.trim_end().replace('\n', "\n    ");
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: authorities}}\ndata:\n  ca.crt: |\n    {pem}\n"
    )
}

/// Who shows a certificate of the authority passes, and nobody else.
async fn client_certificates(pod: Ipv4Addr, authority: &Authority) {
    let good = authority.certify("good", &["client.test"]);
    let foreign = Authority::new().certify("foreign", &["client.test"]);
    let cases = [(Some(&good), 200), (Some(&foreign), 403), (None, 403)];
    for (shown, status) in cases {
        let config = match shown {
            Some(certified) => authority.client_with(certified),
            None => authority.client(&[]),
        };
        let stream = gateway::tls((pod, 6191).into(), &config, "certified.test").await;
        let request = "GET / HTTP/1.1\r\nHost: certified.test\r\nX-Client: root\r\n\r\n";
        let answer = Client::new(stream.expect("a handshake"))
            .exchange(request)
            .await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.text().contains("CN=good"), status == 200);
    }
}

const ORIGIN: &str = "http://login.test";

/// Each replica sends a browser to a real provider, the next one takes its code, and all of them know it then, until it
/// is out.
async fn users_log_in(space: &Namespace, pods: &[Ipv4Addr]) {
    let provider = OidcServer::start(PROVIDER, &[&format!("{ORIGIN}/oauth2/callback")]).await;
    let host = ORIGIN.trim_start_matches("http://");
    space.apply(&logins(&provider, host));
    space.programmed("logins").await;
    let mut ran = 0;
    for first in 0..REPLICAS {
        let turn = |after: usize| web(pods[(first + after) % REPLICAS]);
        let mut browser = Browser::default();
        let sent = browser.navigate(turn(0), host, "/page").await;
        let back = provider.log_in(&mut browser, &sent, ORIGIN).await;
        let response = browser.navigate(turn(1), host, &back).await;
        assert_eq!(response.head.one("location"), Some("/page"), "{response:?}");
        for pod in pods {
            let page = browser.navigate(web(*pod), host, "/page").await;
            let text: String = page.text().split_whitespace().collect();
            let user = format!("\"x-user\":[\"{}\"]", OidcServer::SUBJECT);
            assert!(page.status == 200 && text.contains(&user), "{page:?}");
        }
        let out = browser.navigate(turn(2), host, "/oauth2/logout").await;
        assert_eq!(out.status, 302, "{out:?}");
        for pod in pods {
            let page = browser.navigate(web(*pod), host, "/page").await;
            assert_eq!(page.status, 302, "{page:?}");
            ran += 1;
        }
    }
    assert_eq!(ran, REPLICAS * REPLICAS);
}

fn logins(provider: &OidcServer, host: &str) -> String {
    let [client, secret] = OidcServer::CLIENT;
    let issuer = provider.issuer();
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: login}}
stringData: {{session-key: 0123456789abcdef0123456789abcdef, client-secret: {secret}}}
---
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: logins}}
spec:
  ingressClassName: shared
  route:
    host: {host}
    rules:
      - service: {{name: api, port: 80}}
        filters:
          - oidc:
              issuer: {issuer}
              clientId: {client}
              secret: login
              claimsToHeaders: [{{claim: sub, header: X-User}}]
"
    )
}

/// What each replica counts for itself.
async fn limits_of_one(pod: Ipv4Addr) {
    let begin = Instant::now();
    let answer = once(web(pod), get("bandwidth")).await;
    // A tenth of what passes in a second comes at once.
    let least = (answer.body.len() - 800) as f64 / 8000.0;
    let time = begin.elapsed().as_secs_f64();
    assert!(answer.body.len() == 4096 && time > least * 0.9, "{time} s");

    let refused = once(web(pod), get("rate-limit")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.head.has("retry-after"));

    let mut first = Client::connect(web(pod)).await;
    first
        .send(format!(
            "POST /concurrency HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nh"
        ))
        .await;
    for (status, rest) in [(503, "i"), (200, "")] {
        until(format!("{status} beside another"), SOON, async || {
            let second = once(web(pod), get("concurrency")).await;
            (second.status == status).then_some(())
        })
        .await;
        if !rest.is_empty() {
            assert_eq!(first.exchange(rest).await.status, 200);
        }
    }
}

async fn access_log(space: &Namespace) {
    let ours = "--selector=app.kubernetes.io/instance=shared";
    let log = until("the access log", SOON, async || {
        let log = space.kubectl(&["logs", ours, "--tail=-1"]);
        let logged = log.lines().filter(|line| line.contains("\"/logged\""));
        let with_field = logged.filter(|line| line.contains("\"x-tenant\":\"shop\""));
        (with_field.count() == REPLICAS).then_some(log)
    })
    .await;
    assert!(
        log.contains("\"/plain\"") && !log.contains("/unlogged"),
        "{log}"
    );
}

/// Asks each of these without a pause. Returns how many requests passed, and how many may.
async fn ask(pods: &[Ipv4Addr], path: &'static str) -> (u32, f64) {
    let begin = Instant::now();
    let mut clients = Vec::new();
    for pod in pods {
        let mut client = Client::connect(web(*pod)).await;
        clients.push(tokio::spawn(async move {
            let mut passed = 0;
            while begin.elapsed() < SECOND {
                match client.exchange(get(path)).await.status {
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
    let time = begin.elapsed().as_secs_f64();
    let allowed = f64::from(REQUESTS) * (1.0 + time);
    let accuracy = (f64::from(passed) / allowed - 1.0) * 100.0;
    println!("{path}: {passed} of {allowed:.0} in {time:.2} s, {accuracy:+.1} %");
    (passed, allowed)
}

/// What they count together.
async fn limits_of_all(pods: &[Ipv4Addr]) {
    for pod in pods {
        until("replicas to hear each other", SOON, async || {
            let all = metric(*pod, "ferrix_limit_replicas").await;
            let silent = metric(*pod, "ferrix_limit_silent_replicas").await;
            ((all, silent) == (REPLICAS as f64, 0.0)).then_some(())
        })
        .await;
    }
    let (passed, allowed) = ask(pods, "together").await;
    assert!(f64::from(passed) <= allowed * 1.1, "{passed} of {allowed}");
    // Where each counted for itself it would be three times as many; a slow machine asks for less.
    assert!(passed > REQUESTS / 2, "{passed} of {allowed}");
    // A third of it is what each has where nobody is heard.
    let (passed, allowed) = ask(&pods[..1], "alone").await;
    assert!(f64::from(passed) <= allowed * 1.1, "{passed} of {allowed}");
    assert!(f64::from(passed) > allowed * 0.5, "{passed} of {allowed}");
}

/// Ten times as much as it may hold, and a purge that every replica hears of.
async fn cache(space: &Namespace, pods: &[Ipv4Addr], kept: &Backend) {
    const KEYS: usize = 10_000;
    const SOME: usize = 500;
    const MIB: f64 = 1_048_576.0;
    let figures = async || {
        let hits = metric(pods[0], "ferrix_cache_requests_total{result=\"hit\"}").await;
        let memory = metric(pods[0], "process_resident_memory_bytes").await;
        (hits, kept.requests().len(), memory / MIB)
    };
    let before = figures().await;
    let mut hits = Vec::new();
    for keys in [0..KEYS, 0..SOME, 0..SOME] {
        hits.push(fetch(pods[0], keys).await);
    }
    let after = figures().await;
    let all: usize = hits.iter().sum();
    let grown = after.2 - before.2;
    println!(
        "a cache of 8 MiB, {KEYS} keys of 4 KiB: {hits:?} hits; {grown:.1} MiB of memory more"
    );
    assert_eq!(hits[0], 0);
    assert!(hits[2] >= SOME * 9 / 10, "{hits:?}");
    assert_eq!(after.0 - before.0, all as f64);
    assert_eq!(after.1 - before.1, KEYS + 2 * SOME - all);
    // All of them would be 40 MiB and more.
    assert!(grown < 24.0, "{grown} MiB");

    for pod in pods {
        fetch(*pod, 0..1).await;
        assert_eq!(fetch(*pod, 0..1).await, 1);
    }
    space.kubectl(&["annotate", "ingressroute", "trials", "ferrix.com/purge=now"]);
    for pod in pods {
        until(format!("{pod} to be emptied"), SOON, async || {
            (fetch(*pod, 0..1).await == 0).then_some(())
        })
        .await;
    }
}

/// Asks for responses of these numbers. Returns how many the cache had.
async fn fetch(pod: Ipv4Addr, keys: Range<usize>) -> usize {
    const CLIENTS: usize = 8;
    let mut clients = Vec::new();
    for number in 0..CLIENTS.min(keys.len()) {
        let keys = keys.clone().skip(number).step_by(CLIENTS);
        clients.push(tokio::spawn(async move {
            let mut client = Client::connect(web(pod)).await;
            let mut hits = 0;
            for key in keys {
                let answer = client.exchange(get(&format!("kept/{key}"))).await;
                assert_eq!((answer.status, answer.body.len()), (200, 4096));
                hits += usize::from(is_hit(&answer));
            }
            hits
        }));
    }
    let mut hits = 0;
    for client in clients {
        hits += client.await.unwrap();
    }
    hits
}

fn is_hit(answer: &Response) -> bool {
    match answer.head.one("cache-status") {
        Some(status) if status.starts_with("ferrix; hit") => true,
        Some("ferrix; fwd=miss; stored") => false,
        other => panic!("{other:?}"),
    }
}

async fn metric(pod: Ipv4Addr, name: &str) -> f64 {
    let admin = SocketAddr::new(IpAddr::V4(pod), 6192);
    let (_, metrics) = z_outages::get(admin, "/metrics").await.unwrap();
    let mut values = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let value = values.find_map(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}"))
}
