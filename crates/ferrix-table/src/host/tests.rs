use proptest::prelude::*;

use super::*;
use crate::rules::HostPattern;

#[test]
fn accepted() {
    for (authority, host, port) in [
        ("example.com", "example.com", None),
        ("EXAMPLE.com", "example.com", None),
        ("example.com.", "example.com", None),
        ("example.com:80", "example.com", Some(80)),
        ("Example.Com.:65535", "example.com", Some(65535)),
        ("example.com:0443", "example.com", Some(443)),
        ("localhost", "localhost", None),
        ("my_service.test", "my_service.test", None),
        ("_", "_", None),
        ("-a-.b", "-a-.b", None),
        ("127.0.0.1:6190", "127.0.0.1", Some(6190)),
        ("[::1]", "::1", None),
        ("[2001:DB8::1]:8080", "2001:db8::1", Some(8080)),
        ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1", None),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
    ] {
        let canonical = canonical(authority).expect(authority);
        assert_eq!(
            (&*canonical.host, canonical.port),
            (host, port),
            "{authority}"
        );
        let lower_case = authority.to_ascii_lowercase() == authority;
        let borrowed = matches!(canonical.host, Cow::Borrowed(_));
        assert_eq!(borrowed, lower_case, "borrowed for {authority}");
    }
}

#[test]
fn refused() {
    for (authority, error) in [
        ("", HostError::Empty),
        (":80", HostError::Empty),
        (&"a".repeat(256), HostError::TooLong),
        ("a.test, b.test", HostError::List),
        ("a.test,b.test", HostError::List),
        ("user@a.test", HostError::UserInfo),
        ("user:secret@a.test", HostError::UserInfo),
        ("a.test/admin", HostError::Path('/')),
        ("a.test\\admin", HostError::Path('\\')),
        ("a.test?x", HostError::Path('?')),
        ("a.test#x", HostError::Path('#')),
        ("http://a.test", HostError::Path('/')),
        ("a.test\0", HostError::Control(0)),
        ("a.test\t", HostError::Control(b'\t')),
        ("a.test\r\nX: y", HostError::Control(b'\r')),
        ("a.\x7Ftest", HostError::Control(0x7F)),
        (" a.test", HostError::Space),
        ("a.test :80", HostError::Space),
        ("bücher.test", HostError::NonAscii(0xC3)),
        ("*", HostError::Wildcard),
        ("*.a.test", HostError::Wildcard),
        ("a%2Etest", HostError::Character('%')),
        ("a.test;x", HostError::Character(';')),
        ("\"a.test\"", HostError::Character('"')),
        (".", HostError::EmptyLabel),
        (".a.test", HostError::EmptyLabel),
        ("a..test", HostError::EmptyLabel),
        ("a.test..", HostError::EmptyLabel),
        ("a.test:", HostError::Port),
        ("a.test:0", HostError::Port),
        ("a.test:65536", HostError::Port),
        ("a.test:99999999999999999999", HostError::Port),
        ("a.test:http", HostError::Port),
        ("a.test:-1", HostError::Port),
        ("[::1]:", HostError::Port),
        ("[::1]:x", HostError::Port),
        ("::1", HostError::BareIpv6),
        ("2001:db8::1", HostError::BareIpv6),
        ("a.test:80:80", HostError::BareIpv6),
        ("[::1", HostError::Brackets),
        ("::1]", HostError::BareIpv6),
        ("a]", HostError::Brackets),
        ("[]", HostError::Brackets),
        ("[a.test]", HostError::Brackets),
        ("[127.0.0.1]", HostError::Brackets),
        ("[::1]a", HostError::Brackets),
        ("[::1].", HostError::Brackets),
        ("[[::1]]", HostError::Brackets),
        ("[fe80::1%25eth0]", HostError::Character('%')),
    ] {
        assert_eq!(canonical(authority), Err(error), "{authority}");
    }
    assert_eq!(canonical(b"\xFFa"), Err(HostError::NonAscii(0xFF)));
    assert!(canonical(&"a".repeat(255)).is_ok());
}

#[test]
fn patterns_of_routes() {
    let exact = |name: &str| Ok(HostPattern::Exact(name.into()));
    let wildcard = |name: &str| Ok(HostPattern::Wildcard(name.into()));
    for (pattern, expected) in [
        ("Example.com", exact("example.com")),
        ("example.com.", exact("example.com")),
        ("[::1]", exact("::1")),
        ("*.Example.com", wildcard("example.com")),
        ("*.localhost", wildcard("localhost")),
        ("*", Err(HostError::Wildcard)),
        ("*.", Err(HostError::Empty)),
        ("*.*.test", Err(HostError::Wildcard)),
        ("a.*.test", Err(HostError::Wildcard)),
        ("*a.test", Err(HostError::Wildcard)),
        ("*.[::1]", Err(HostError::Brackets)),
        ("example.com:80", Err(HostError::UnexpectedPort)),
        ("", Err(HostError::Empty)),
    ] {
        assert_eq!(HostPattern::parse(pattern), expected, "{pattern}");
    }
}

proptest! {
    #[test]
    fn canonical_is_canonical(authority in "[a-zA-Z0-9.:\\[\\]_%@, -]{0,24}") {
        let Ok(once) = canonical(&authority) else { return Ok(()) };
        let again = if once.host.contains(':') {
            format!("[{}]", once.host)
        } else {
            once.host.to_string()
        };
        let twice = canonical(&again).unwrap();
        prop_assert_eq!(twice.host, once.host);
    }
}
