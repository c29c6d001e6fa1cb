//! Thirty ways to say which host is meant. What two servers could read as two names is refused,
//! what is one name in two spellings reaches one route.

use std::collections::BTreeSet;

use ferrix_e2e::{
    Backend, Gateway, Routes,
    certificates::Authority,
    frames::{END_HEADERS, END_STREAM, Frames, block, frame, kind},
};
use ferrix_table::services::Protocol;

/// What has to come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The route of this host answers.
    Route(&'static str),
    /// No route has this name.
    NoRoute,
    /// 400, and the end of the connection.
    Refused,
}

use Outcome::{NoRoute, Refused, Route};

const NAMED: Outcome = Route("named");

fn routes(named: &Backend, underscore: &Backend, address: &Backend) -> Routes {
    Routes::new()
        .service("named", Protocol::Http1, &[named.address()])
        .service("underscore", Protocol::Http1, &[underscore.address()])
        .service("address", Protocol::Http1, &[address.address()])
        .rule("example.com", "", &[("named", 1)])
        .rule("under_score.example.com", "", &[("underscore", 1)])
        .rule("[2001:db8::1]", "", &[("address", 1)])
}

async fn backends() -> [Backend; 3] {
    [
        Backend::hello("named").await,
        Backend::hello("underscore").await,
        Backend::hello("address").await,
    ]
}

fn host(value: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n")
}

fn target(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// The numbers are those of the thirty cases; some have several rows.
fn http1_cases() -> Vec<(u8, String, Outcome)> {
    let label = "a".repeat(60);
    let long = format!("{label}.{label}.{label}.{label}.{label}.com");
    vec![
        (1, "GET / HTTP/1.1\r\n\r\n".into(), Refused),
        (
            2,
            "GET / HTTP/1.1\r\nHost: example.com\r\nHost: example.com\r\n\r\n".into(),
            Refused,
        ),
        (
            3,
            "GET / HTTP/1.1\r\nHost: example.com\r\nHost: evil.com\r\n\r\n".into(),
            Refused,
        ),
        (4, host(""), Refused),
        (5, host("example.com, evil.com"), Refused),
        (5, host("example.com,example.com"), Refused),
        (6, host("user@example.com"), Refused),
        (6, host("user:password@example.com"), Refused),
        (7, host("example.com/"), Refused),
        (7, host("example.com?x"), Refused),
        (7, host("example.com#x"), Refused),
        (7, host("example.com\\x"), Refused),
        (8, host("example.com."), NAMED),
        (8, host(".example.com"), Refused),
        (8, host("example.com.."), Refused),
        (8, host("example..com"), Refused),
        (8, host("."), Refused),
        (9, host("EXAMPLE.Com"), NAMED),
        (
            9,
            "GET / HTTP/1.1\r\nHOST:example.com\r\n\r\n".into(),
            NAMED,
        ),
        (10, host("example.com:80"), NAMED),
        (10, host("example.com:4711"), NAMED),
        (10, host("EXAMPLE.com.:4711"), NAMED),
        (11, host("example.com:65536"), Refused),
        (11, host("example.com:0"), Refused),
        (11, host("example.com:99999999999999999999"), Refused),
        (12, host("example.com:http"), Refused),
        (12, host("example.com:"), NAMED),
        (12, host("EXAMPLE.com.:"), NAMED),
        (12, host("example.com::"), Refused),
        (12, host(":"), Refused),
        (12, host("example.com:-80"), Refused),
        (12, host("example.com:80x"), Refused),
        (12, host("example.com:80:80"), Refused),
        (13, host("[2001:db8::1]"), Route("address")),
        (13, host("[2001:db8::1]:80"), Route("address")),
        (13, host("[2001:db8::1]:"), Route("address")),
        (13, host("[2001:db8::2]"), NoRoute),
        (13, host("[2001:db8::1"), Refused),
        (13, host("[example.com]"), Refused),
        (13, host("[2001:db8::1]80"), Refused),
        (13, host("[fe80::1%25eth0]"), Refused),
        (14, host("2001:db8::1"), Refused),
        (14, host("::1"), Refused),
        (
            15,
            "GET / HTTP/1.1\r\nHost : example.com\r\n\r\n".into(),
            Refused,
        ),
        (
            15,
            "GET / HTTP/1.1\r\n Host: example.com\r\n\r\n".into(),
            Refused,
        ),
        (
            16,
            "GET / HTTP/1.1\r\nHost: example.com\r\n .evil.com\r\n\r\n".into(),
            Refused,
        ),
        (
            16,
            "GET / HTTP/1.1\r\nHost:\r\n example.com\r\n\r\n".into(),
            Refused,
        ),
        (17, target("http://example.com/", "example.com"), NAMED),
        (17, target("http://example.com", "example.com"), NAMED),
        (17, target("HTTP://example.com/", "example.com"), NAMED),
        (17, target("http://EXAMPLE.com/", "example.com"), NAMED),
        (17, target("http://example.com/", "Example.Com."), NAMED),
        (17, target("http://example.com:80/", "example.com"), NAMED),
        (17, target("http://example.com/", "example.com:80"), NAMED),
        (17, target("http://example.com:/", "example.com:"), NAMED),
        (
            17,
            target("http://example.com:81/", "EXAMPLE.com:81"),
            NAMED,
        ),
        (
            17,
            target("http://example.com:443/", "example.com"),
            Refused,
        ),
        (17, target("http:///", "example.com"), Refused),
        (17, target("http://evil.com/", "example.com"), Refused),
        (17, target("http://example.com/", "evil.com"), Refused),
        (17, target("http://example.com:81/", "example.com"), Refused),
        (
            17,
            "GET http://example.com/ HTTP/1.1\r\n\r\n".into(),
            Refused,
        ),
        (18, target("https://example.com/", "example.com"), Refused),
        (18, target("ftp://example.com/", "example.com"), Refused),
        (
            19,
            target("http://user@example.com/", "example.com"),
            Refused,
        ),
        (
            19,
            target("http://example.com@evil.com/", "evil.com"),
            Refused,
        ),
        (20, target("example.com:80", "example.com:80"), Refused),
        (20, target("example.com", "example.com"), Refused),
        (21, target("*", "example.com"), Refused),
        (26, host("under_score.example.com"), Route("underscore")),
        (27, host("example.com\0"), Refused),
        (27, host("exam\x01ple.com"), Refused),
        (27, host("exam\x7fple.com"), Refused),
        (27, host("example.com\x0b"), Refused),
        (27, host("exämple.com"), Refused),
        (28, host(&long), Refused),
        (29, host("*.example.com"), Refused),
        (29, host("*"), Refused),
        (29, host("exam ple.com"), Refused),
        (29, host("example.com;x"), Refused),
        (29, host("\"example.com\""), Refused),
        (29, host("exam%70le.com"), Refused),
    ]
}

/// The same over HTTP/2: number, `:authority`, `Host`, outcome.
fn http2_cases() -> Vec<(u8, Option<&'static str>, Option<&'static str>, Outcome)> {
    vec![
        (22, None, Some("example.com"), NAMED),
        (22, None, None, Refused),
        (23, Some("example.com"), Some("evil.com"), Refused),
        (23, Some("evil.com"), Some("example.com"), Refused),
        (24, Some("example.com"), Some("example.com"), NAMED),
        (24, Some("example.com"), Some("EXAMPLE.com"), NAMED),
        (24, Some("example.com"), Some("example.com:80"), NAMED),
        (24, Some("example.com:81"), Some("Example.com.:81"), NAMED),
        (23, Some("example.com"), Some("example.com:443"), Refused),
        (23, Some("example.com"), Some("user@example.com"), Refused),
        (25, Some(""), None, Refused),
        (25, Some(""), Some("example.com"), Refused),
        (5, Some("example.com,evil.com"), None, Refused),
        (6, Some("user@example.com"), None, Refused),
        (7, Some("example.com/x"), None, Refused),
        (7, None, Some("example.com/x"), Refused),
        (8, Some("example.com."), None, NAMED),
        (8, Some(".example.com"), None, Refused),
        (9, Some("EXAMPLE.com"), None, NAMED),
        (10, Some("example.com:4711"), None, NAMED),
        (11, Some("example.com:65536"), None, Refused),
        (12, Some("example.com:http"), None, Refused),
        (12, None, Some("example.com:"), NAMED),
        (13, Some("[2001:db8::1]"), None, Route("address")),
        (13, Some("[2001:db8::1"), None, Refused),
        (14, Some("2001:db8::1"), None, Refused),
        (
            26,
            Some("under_score.example.com"),
            None,
            Route("underscore"),
        ),
        (27, Some("exam\0ple.com"), None, Refused),
        (29, Some("*.example.com"), None, Refused),
    ]
}

#[tokio::test]
async fn thirty_cases() {
    let [named, underscore, address] = backends().await;
    let gateway = Gateway::start(routes(&named, &underscore, &address));
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (number, request, expected) in http1_cases() {
        seen.insert(number);
        let mut client = gateway.client().await;
        client.send(&request).await;
        let outcome = match client.try_response("GET").await {
            Ok(response) if response.status == 400 => {
                client.closed().await;
                "Refused".to_owned()
            }
            Ok(response) if response.status == 404 => "NoRoute".to_owned(),
            Ok(response) => format!("Route({:?})", response.text()),
            Err(error) => format!("{error:?}"),
        };
        if outcome != format!("{expected:?}") {
            wrong.push(format!(
                "{number}: {request:?}: {outcome} instead of {expected:?}"
            ));
        }
    }
    for (number, authority, host, expected) in http2_cases() {
        seen.insert(number);
        let before = [&named, &underscore, &address].map(|it| it.requests().len());
        let status = http2_status(&gateway, authority, host).await;
        let after = [&named, &underscore, &address].map(|it| it.requests().len());
        let served = (0..3).find(|index| after[*index] > before[*index]);
        let outcome = match (status, served) {
            (Some(200), Some(index)) => Route(["named", "underscore", "address"][index]),
            (Some(404), None) => NoRoute,
            // A malformed request may also cost the stream.
            (Some(400) | None, None) => Refused,
            other => panic!("{number} {authority:?} {host:?}: {other:?}"),
        };
        if outcome != expected {
            let got = format!("{outcome:?} instead of {expected:?}");
            wrong.push(format!("{number} (HTTP/2): {authority:?} {host:?}: {got}"));
        }
    }
    tls_cases(&mut seen, &mut wrong).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen, (1..=30).collect(), "all thirty were tried");
    for request in named.requests() {
        let host = request.head.one("host").expect("a host");
        assert!(!host.ends_with(':'), "{host}");
    }
}

/// `None`: the gateway reset the stream or closed the connection.
async fn http2_status(
    gateway: &Gateway,
    authority: Option<&str>,
    host: Option<&str>,
) -> Option<u16> {
    let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/")];
    fields.extend(authority.map(|authority| (":authority", authority)));
    fields.extend(host.map(|host| ("host", host)));
    let mut frames = Frames::connect(gateway.web, &[]).await;
    frames
        .send(&frame(
            kind::HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&fields),
        ))
        .await;
    loop {
        let frame = frames.next().await?;
        match frame.kind {
            kind::RST_STREAM | kind::GOAWAY => return None,
            // Entries 8 to 14 of the static table (RFC 7541, appendix A).
            kind::HEADERS => {
                return Some(match frame.payload[0] {
                    0x88 => 200,
                    0x8c => 400,
                    0x8d => 404,
                    other => panic!("a status that is not in the static table: {other:#x}"),
                });
            }
            _ => {}
        }
    }
}

/// Case 30: the name of the handshake and that of the request.
async fn tls_cases(seen: &mut BTreeSet<u8>, wrong: &mut Vec<String>) {
    let authority = Authority::new();
    let one = authority.certify("default/one", &["example.com", "www.example.com"]);
    let other = authority.certify("default/other", &["other.com", "*.wild.com"]);
    // That of one in a Secret of another namespace.
    let mut copy = one.clone();
    copy.id = "team/one".into();
    let backend = Backend::hello("named").await;
    let routes = Routes::all_to(&[backend.address()])
        .certificate(&["example.com", "www.example.com"], &one)
        .certificate(&["copy.com"], &copy)
        .certificate(&["other.com", "*.wild.com"], &other);
    let gateway = Gateway::start(routes);
    let cases = [
        ("example.com", "example.com", 200),
        ("example.com", "EXAMPLE.com.:443", 200),
        // One certificate, whoever names it.
        ("example.com", "www.example.com", 200),
        ("example.com", "copy.com", 200),
        ("one.wild.com", "two.wild.com", 200),
        ("one.wild.com", "other.com", 200),
        ("one.wild.com", "wild.com", 421),
        ("example.com", "other.com", 421),
        ("other.com", "example.com", 421),
        ("example.com", "unknown.com", 421),
    ];
    for (server_name, host_name, status) in cases {
        seen.insert(30);
        let mut client = gateway
            .tls_client(&authority.client(&[]), server_name)
            .await;
        let http1 = client.exchange(host(host_name)).await.status;
        let mut client = gateway
            .tls_http2(&authority.client(&["h2"]), server_name)
            .await;
        let request = client.request_for(host_name, "GET", "/");
        let http2 = client.fetch(request).await.unwrap().status.as_u16();
        if [http1, http2] != [status, status] {
            wrong.push(format!(
                "30: {server_name} and {host_name}: {http1} and {http2} instead of {status}"
            ));
        }
    }
    for (target, status) in [
        ("https://example.com/", 200),
        ("https://EXAMPLE.com:443/", 200),
        ("https://example.com:80/", 400),
        ("http://example.com/", 400),
    ] {
        let mut client = gateway
            .tls_client(&authority.client(&[]), "example.com")
            .await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(client.exchange(request).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn http_1_0_may_do_without_a_host() {
    let backend = Backend::hello("any").await;
    let gateway = Gateway::start(
        Routes::new()
            .service("any", Protocol::Http1, &[backend.address()])
            .rule("*", "", &[("any", 1)])
            .unresolved("example.com", ""),
    );
    let cases = [
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", 500),
        // In absolute form it names one all the same.
        ("GET http://other.com/x HTTP/1.0\r\n\r\n", 200),
        ("GET http://other.com:81/x HTTP/1.0\r\nHost:\r\n\r\n", 200),
        ("GET http://example.com/ HTTP/1.0\r\n\r\n", 500),
        ("GET http://u@example.com/ HTTP/1.0\r\n\r\n", 400),
        ("GET http:///x HTTP/1.0\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: exam ple.com\r\n\r\n", 400),
        (
            "GET / HTTP/1.0\r\nHost: example.com\r\nHost: example.com\r\n\r\n",
            400,
        ),
    ];
    for (request, status) in cases {
        assert_eq!(
            gateway.client().await.exchange(request).await.status,
            status,
            "{request:?}"
        );
    }
    let hosts: Vec<_> = (backend.requests().iter())
        .filter(|request| request.target() == "/x")
        .map(|request| request.head.one("host").map(str::to_owned))
        .collect();
    assert_eq!(
        hosts,
        [Some("other.com".into()), Some("other.com:81".into())]
    );
}
