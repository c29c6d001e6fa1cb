use super::*;

const CLIENT: &str = "192.0.2.7";

fn request(fields: &[(&'static str, &str)]) -> RequestHead {
    let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
    for (name, value) in fields {
        head.fields.append(name, value.as_bytes());
    }
    head
}

fn lines(fields: &Fields) -> Vec<String> {
    let line = |(name, value)| {
        let (name, value): (&[u8], &[u8]) = (name, value);
        let name = String::from_utf8_lossy(name).to_lowercase();
        format!("{name}: {}", String::from_utf8_lossy(value))
    };
    let mut lines: Vec<_> = fields.iter().map(line).collect();
    lines.sort();
    lines
}

fn forwarding(trusted: &str) -> Forwarding {
    let client = CLIENT.parse().unwrap();
    Forwarding::new(&[trusted.parse().unwrap()], client, client, 8443, true)
}

/// What a backend gets of `fields`, without `X-Request-Id`.
fn prepared(fields: &[(&'static str, &str)], trusted: &str) -> Result<Vec<String>, Failure> {
    let mut head = request(fields);
    head.fields.append("Host", b"example.com");
    let id = prepare_request(&mut head, &forwarding(trusted), Framing::Empty, false)?;
    assert_eq!(head.fields.get("x-request-id"), Some(&id[..]));
    head.fields.remove("host");
    head.fields.remove("x-request-id");
    Ok(lines(&head.fields))
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
    for lengths in [&["5", "5"][..], &["5, 5"], &["5"]] {
        let mut fields = Fields::default();
        for length in lengths {
            fields.append("content-length", length.as_bytes());
        }
        single_content_length(&mut fields);
        assert_eq!(lines(&fields), ["content-length: 5"]);
    }
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
        assert_eq!(wants_websocket(&request(&fields)), expected, "{fields:?}");
    }
}

#[test]
fn responses_lose_hop_by_hop_fields() {
    let mut head = ResponseHead::new(http::StatusCode::OK);
    for (name, value) in [
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "1"),
        ("ETag", "x"),
    ] {
        head.fields.append(name, value.as_bytes());
    }
    prepare_response(&mut head, false);
    assert_eq!(lines(&head.fields), ["etag: x"]);
}
