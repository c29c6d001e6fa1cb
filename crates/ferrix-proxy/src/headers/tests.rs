use http::Method;

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
    Forwarding::new(&[trusted.parse().unwrap()], client, 8443, true)
}

fn prepare_with(
    head: &mut RequestHead,
    trusted: &str,
    underscores: Underscores,
) -> Result<Prepared, Failure> {
    let forwarding = forwarding(trusted);
    prepare_request(head, &forwarding, None, Framing::Empty, underscores)
}

/// What a backend gets of `fields`, without `X-Request-Id`.
fn prepared(fields: &[(&'static str, &str)], trusted: &str) -> Result<Vec<String>, Failure> {
    let mut head = request(fields);
    head.fields.append("Host", b"example.com");
    let prepared = prepare_with(&mut head, trusted, Underscores::default())?;
    if prepared.of_connection {
        settle_connection(&mut head.fields, false);
    }
    let id = prepared.request_id;
    assert_eq!(head.fields.get("x-request-id"), Some(&id[..]));
    head.fields.remove("host");
    head.fields.remove("x-request-id");
    Ok(lines(&head.fields))
}

#[test]
fn addresses_are_written_as_the_standard_library_does() {
    let addresses = [
        "0.0.0.0",
        "192.0.2.7",
        "255.255.255.255",
        "::1",
        "2001:db8::7",
    ];
    for address in addresses {
        assert_eq!(text(address.parse().unwrap()), address);
    }
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
        ("Forwarded", "for=1.1.1.1"),
        ("Forwarded", "for=2.2.2.2"),
    ];
    let lines = prepared(&sent, "192.0.2.0/24").unwrap();
    let forwarded = "forwarded: for=1.1.1.1, for=2.2.2.2, for=192.0.2.7;proto=https";
    assert_eq!(lines[0], forwarded);
    assert_eq!(lines[1], "x-forwarded-for: 1.1.1.1, 2.2.2.2, 192.0.2.7");
    assert_eq!(lines[4], "x-forwarded-proto: http");
    assert_eq!(lines.len(), 6);
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

/// Names that a backend could take for others, and whether they are dropped.
const ALIASES: [(&str, bool); 34] = [
    ("Transfer_Encoding", true),
    ("TRANSFER_ENCODING", true),
    ("Content_Length", true),
    ("Content-Length_", true),
    ("_Content-Length", true),
    ("Host_", true),
    ("_Host", true),
    ("Proxy_", true),
    ("Keep_Alive", true),
    ("Proxy_Connection", true),
    ("Proxy_Authorization", true),
    ("Connection_", true),
    ("Upgrade_", true),
    ("TE_", true),
    ("HTTP2_Settings", true),
    ("X_Forwarded_For", true),
    ("X-Forwarded_For", true),
    ("X_Forwarded_Anything", true),
    ("X_Real_IP", true),
    ("X_Original_URL", true),
    ("X_Rewrite_URL", true),
    ("True_Client-IP", true),
    ("Forwarded_", true),
    // Some servers take all such characters for one.
    ("Transfer.Encoding", true),
    ("X.Forwarded.For", true),
    ("Content~Length", true),
    // Names of their own.
    ("X_Api_Key", false),
    ("my_host", false),
    ("hosts_", false),
    ("content_length_hint", false),
    ("_", false),
    ("_-_", false),
    ("a.b", false),
    ("a_name_of_more_than_thirty_two_characters", false),
];

#[test]
fn names_that_look_like_others_are_dropped() {
    for (name, dropped) in ALIASES {
        for trusted in ["10.0.0.0/8", "192.0.2.0/24"] {
            let sent = prepared(&[(name, "1")], trusted).unwrap();
            let expected = format!("{}: 1", name.to_lowercase());
            assert_eq!(sent.contains(&expected), !dropped, "{name}");
        }
        let mut trailers = HeaderMap::new();
        let key: HeaderName = name.parse().unwrap();
        trailers.append(key, "1".parse().unwrap());
        assert_eq!(prepare_trailers(trailers).is_empty(), dropped, "{name}");
    }
}

#[test]
fn underscores_can_be_allowed_or_refused() {
    for (name, dropped) in ALIASES {
        let with = |underscores| {
            let mut head = request(&[(name, "1")]);
            let prepared = prepare_with(&mut head, "10.0.0.0/8", underscores);
            prepared.map(|_| head.fields.contains(name)).ok()
        };
        let underscore = name.contains('_');
        let allowed = underscore || !dropped;
        assert_eq!(with(Underscores::Allow), Some(allowed), "{name}");
        let refused = (!underscore).then_some(!dropped);
        assert_eq!(with(Underscores::Refuse), refused, "{name}");
    }
}

#[test]
fn targets_and_proxies_of_strangers_are_removed() {
    for (name, believed) in [
        ("X-Rewrite-Url", true),
        ("X-Original-Url", true),
        ("x-original-uri", true),
        ("Proxy", false),
        ("proxy", false),
    ] {
        let line = format!("{}: 1", name.to_lowercase());
        let sent = prepared(&[(name, "1")], "10.0.0.0/8").unwrap();
        assert!(!sent.contains(&line), "{name}");
        let sent = prepared(&[(name, "1")], "192.0.2.0/24").unwrap();
        assert_eq!(sent.contains(&line), believed, "{name}");
    }
}

/// RFC 9113, section 8.2.1; the `h2` crate takes them.
#[test]
fn fields_that_are_malformed_in_http2_are_refused() {
    let cases: [(&str, &[u8], bool); 8] = [
        ("x-role", b"guest", true),
        ("x-role", b"a b", true),
        ("x-role", b"", true),
        ("x-role", b" guest", false),
        ("x-role", b"guest\t", false),
        ("x-role", b" ", false),
        ("te", b" trailers", false),
        ("x\"a", b"1", false),
    ];
    for (name, value, fits) in cases {
        let mut map = HeaderMap::new();
        let key = HeaderName::from_lowercase(name.as_bytes()).unwrap();
        map.append(key, http::HeaderValue::from_bytes(value).unwrap());
        let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_2);
        head.fields.extend(&map);
        let prepared = prepare_with(&mut head, "10.0.0.0/8", Underscores::default());
        assert_eq!(prepared.is_ok(), fits, "{name}: {value:?}");
        assert_eq!(prepare_trailers(map).is_empty(), !fits || name == "te");
    }
}

#[test]
fn rules_see_connection_and_upgrade_as_they_came() {
    let sent = [("Connection", "Upgrade"), ("UPGRADE", "websocket")];
    for upgrade in [true, false] {
        let mut head = request(&sent);
        let prepared = prepare_with(&mut head, "10.0.0.0/8", Underscores::default()).unwrap();
        assert!(prepared.of_connection);
        assert_eq!(head.fields.get("connection"), Some(&b"Upgrade"[..]));
        assert_eq!(head.fields.get("upgrade"), Some(&b"websocket"[..]));
        settle_connection(&mut head.fields, upgrade);
        let expected = upgrade.then_some(&b"upgrade"[..]);
        assert_eq!(head.fields.get("connection"), expected);
        assert_eq!(head.fields.contains("upgrade"), upgrade);
    }
}

#[test]
fn lengths_are_said_once_and_plainly() {
    let cases: [(&[&str], &str); 9] = [
        (&["5"], "5"),
        (&["5", "5"], "5"),
        (&["5, 5"], "5"),
        (&["010"], "10"),
        (&["0000000000000000000000005"], "5"),
        (&["05", "5"], "5"),
        (&["0"], "0"),
        (&["00"], "0"),
        (&["0", "0"], "0"),
    ];
    for (lengths, expected) in cases {
        let mut fields = Fields::default();
        for length in lengths {
            fields.append("content-length", length.as_bytes());
        }
        single_content_length(&mut fields);
        assert_eq!(lines(&fields), [format!("content-length: {expected}")]);
    }
}

#[test]
fn responses_without_a_body_have_no_length() {
    for (status, expected) in [
        (100, None),
        (101, None),
        (103, None),
        (200, Some("10")),
        (204, None),
        (205, Some("10")),
        (304, Some("10")),
    ] {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        head.fields.append("Content-Length", b"010");
        prepare_response(&mut head, false);
        let length = head.fields.get("content-length");
        assert_eq!(length, expected.map(str::as_bytes), "{status}");
    }
}

/// The token decides, not the method; HTTP in any version is no upgrade, nor beside others.
#[test]
fn upgrades_are_to_anything_but_http() {
    let cases: [(&[&str], &str, bool); 22] = [
        (&["websocket"], "keep-alive, Upgrade", true),
        (&["WebSocket"], "upgrade", true),
        (&["tailscale-control-protocol"], "upgrade", true),
        (&["DERP"], "Upgrade", true),
        (&["tcp"], "Upgrade", true),
        (&["SPDY/3.1"], "Upgrade", true),
        (&["TLS/1.0"], "Upgrade", true),
        (&["a, b"], "Upgrade", true),
        (&["a", "b"], "Upgrade", true),
        (&["h2cat"], "Upgrade", true),
        (&["websocket"], "keep-alive", false),
        (&["websocket"], "Upgraded", false),
        (&["h2c"], "Upgrade", false),
        (&["H2C"], "Upgrade", false),
        (&["h2"], "Upgrade", false),
        (&["HTTP/2.0"], "Upgrade", false),
        (&["websocket, h2c"], "Upgrade", false),
        (&["h2c,websocket"], "Upgrade", false),
        (&["websocket", "h2c"], "Upgrade", false),
        (&["websocket,"], "Upgrade", false),
        (&[""], "Upgrade", false),
        (&[], "Upgrade", false),
    ];
    for (protocols, connection, expected) in cases {
        for method in [Method::GET, Method::POST] {
            let mut head = request(&[("Connection", connection)]);
            head.method = method;
            for protocol in protocols {
                head.fields.append("Upgrade", protocol.as_bytes());
            }
            assert_eq!(wants_upgrade(&head), expected, "{protocols:?} {connection}");
            head.version = Version::HTTP_10;
            assert!(!wants_upgrade(&head), "{protocols:?} in HTTP/1.0");
        }
    }
}

#[test]
fn upgrades_keep_the_name_of_the_protocol() {
    let mut head = request(&[
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "SPDY/3.1"),
    ]);
    settle_connection(&mut head.fields, true);
    let expected = ["connection: upgrade", "upgrade: SPDY/3.1"];
    assert_eq!(lines(&head.fields), expected);
    for (upgraded, expected) in [(true, &expected[..]), (false, &[])] {
        let mut head = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS);
        head.fields.append("Connection", b"Upgrade");
        head.fields.append("Upgrade", b"SPDY/3.1");
        prepare_response(&mut head, upgraded);
        assert_eq!(lines(&head.fields), expected);
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
