use http::Method;

use super::*;

const CLIENT: &str = "192.0.2.7";

fn header(fields: &[(&'static str, &str)]) -> RequestHeader {
    let mut header = RequestHeader::build(Method::GET, b"/", None).unwrap();
    for (name, value) in fields {
        header.append_header(*name, *value).unwrap();
    }
    header
}

fn forwarding(trusted: &str) -> Forwarding {
    let client = CLIENT.parse().unwrap();
    let local = "10.0.0.1:8443".parse().unwrap();
    Forwarding::new(&[trusted.parse().unwrap()], client, client, local, true)
}

/// What a backend gets of `fields`, without `X-Request-Id`.
fn prepared(fields: &[(&'static str, &str)], trusted: &str) -> Result<Vec<String>, Failure> {
    let mut header = header(fields);
    let host = HeaderValue::from_static("example.com");
    prepare_request(
        &mut header,
        &forwarding(trusted),
        &host,
        RequestBody::None,
        false,
    )?;
    let mut lines: Vec<_> = header
        .headers
        .iter()
        .filter(|(name, _)| *name != "x-request-id")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    Ok(lines)
}

const OURS: [&str; 5] = [
    "x-forwarded-for: 192.0.2.7",
    "x-forwarded-host: example.com",
    "x-forwarded-port: 8443",
    "x-forwarded-proto: https",
    "x-real-ip: 192.0.2.7",
];

#[test]
fn hop_by_hop_fields_and_claims_of_strangers_are_removed() {
    let sent = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "gzip"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-Prefix", "/admin"),
        ("X_Forwarded_For", "1.1.1.1"),
        ("X-Real-IP", "1.1.1.1"),
        ("Forwarded", "for=1.1.1.1"),
        ("X-Request-Id", "spoofed"),
    ];
    assert_eq!(prepared(&sent, "10.0.0.0/8").unwrap(), OURS);
}

#[test]
fn claims_of_trusted_peers_are_extended() {
    let sent = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-For", "2.2.2.2"),
        ("X-Forwarded-Proto", "http"),
        ("X_Forwarded_Proto", "https"),
    ];
    let lines = prepared(&sent, "192.0.2.0/24").unwrap();
    assert_eq!(lines[0], "x-forwarded-for: 1.1.1.1, 2.2.2.2, 192.0.2.7");
    assert_eq!(lines[3], "x-forwarded-proto: http");
    assert_eq!(lines.len(), 5);
}

#[test]
fn connection_may_not_name_end_to_end_fields() {
    let refused = [
        "Host",
        "content-length",
        "X-Forwarded-For",
        "x-real-ip",
        "Authorization",
        "a b",
        "a,b,c,d,e,f,g,h,i,j,k",
    ];
    for value in refused {
        let result = prepared(&[("Connection", value)], "10.0.0.0/8");
        assert!(matches!(result, Err(Failure::BadRequest(_))), "{value}");
    }
}

#[test]
fn equal_lengths_become_one() {
    for lengths in [&["5", "5"][..], &["5, 5"]] {
        let mut header = header(&[]);
        for length in lengths {
            header.append_header("Content-Length", *length).unwrap();
        }
        assert_eq!(single_content_length(&header.headers).unwrap(), "5");
    }
    assert_eq!(
        single_content_length(&header(&[("Content-Length", "5")]).headers),
        None
    );
}

#[test]
fn only_websocket_handshakes_are_upgrades() {
    let cases = [
        (
            [
                ("Upgrade", "websocket"),
                ("Connection", "keep-alive, Upgrade"),
            ],
            true,
        ),
        (
            [("Upgrade", "websocket"), ("Connection", "keep-alive")],
            false,
        ),
        ([("Upgrade", "h2c"), ("Connection", "Upgrade")], false),
        (
            [("Upgrade", "websocket, h2c"), ("Connection", "Upgrade")],
            false,
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(wants_websocket(&header(&fields)), expected, "{fields:?}");
    }
}

#[test]
fn responses_lose_hop_by_hop_fields() {
    let mut header = ResponseHeader::build(200, None).unwrap();
    for (name, value) in [
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "1"),
        ("ETag", "x"),
    ] {
        header.append_header(name, value).unwrap();
    }
    prepare_response(&mut header, false);
    assert_eq!(
        header
            .headers
            .keys()
            .map(HeaderName::as_str)
            .collect::<Vec<_>>(),
        ["etag"]
    );
}
