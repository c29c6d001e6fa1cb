use super::*;
use crate::testing::certificate;

#[test]
fn find() {
    let names = ServerNames {
        exact: [("a.test".into(), certificate("exact"))].into(),
        wildcard: [("a.test".into(), certificate("wildcard"))].into(),
        ..ServerNames::default()
    };
    let any = ServerNames {
        any: Some(certificate("any")),
        ..names.clone()
    };
    let below = ServerNames {
        below: [
            ("a.test".into(), certificate("below")),
            ("test".into(), certificate("far-below")),
        ]
        .into(),
        ..any.clone()
    };
    let mut certificates = Certificates {
        entry_points: vec![ServerNames::default(), names, any, below],
        default: Some(certificate("default")),
    };
    for (entry_point, name, expected) in [
        (1, Some("a.test"), "exact"),
        (1, Some("www.a.test"), "wildcard"),
        (1, Some("x.www.a.test"), "default"),
        (1, Some(".a.test"), "default"),
        (1, Some("b.test"), "default"),
        (1, None, "default"),
        (0, Some("a.test"), "default"),
        (2, Some("a.test"), "exact"),
        (2, Some("www.a.test"), "wildcard"),
        (2, Some("x.www.a.test"), "any"),
        (2, Some("b.test"), "any"),
        (2, None, "any"),
        (3, Some("a.test"), "exact"),
        (3, Some("www.a.test"), "wildcard"),
        (3, Some("x.www.a.test"), "below"),
        (3, Some("b.test"), "far-below"),
        (3, Some("www.b.test"), "far-below"),
        (3, Some("test"), "any"),
        (3, None, "any"),
        (4, Some("a.test"), "default"),
    ] {
        let found = certificates.find(entry_point, name).map(|it| &*it.id);
        assert_eq!(found, Some(expected), "{name:?} on {entry_point}");
    }
    certificates.default = None;
    assert!(certificates.find(1, Some("b.test")).is_none());
    assert!(certificates.find(1, None).is_none());
    assert!(certificates.find(2, None).is_some());
}

/// A certificate of a Secret that has this in DER.
fn copied(id: &str, der: &'static [u8]) -> Arc<Certificate> {
    let certificate = certificate(id);
    let key = CertifiedKey::new(vec![der.into()], Arc::clone(&certificate.key.key));
    Arc::new(Certificate {
        id: id.into(),
        key: Arc::new(key),
        not_after: certificate.not_after,
    })
}

/// The certificate decides, neither the route that names it nor the Secret that it is in.
#[test]
fn share_connection() {
    let one = certificate("one");
    let names = ServerNames {
        exact: [
            ("a.test".into(), Arc::clone(&one)),
            ("b.test".into(), Arc::clone(&one)),
            ("www.a.test".into(), Arc::clone(&one)),
            // The same Secret in another version.
            ("renewed.test".into(), certificate("one")),
            ("other.test".into(), certificate("other")),
            ("named.test".into(), certificate("default")),
            ("copy.test".into(), copied("team-a/wildcard", b"wildcard")),
            ("second.test".into(), copied("team-b/wildcard", b"wildcard")),
            ("third.test".into(), copied("team-c/own", b"own")),
        ]
        .into(),
        wildcard: [
            ("a.test".into(), one),
            ("other.test".into(), certificate("other")),
        ]
        .into(),
        ..ServerNames::default()
    };
    let mut certificates = Certificates {
        entry_points: vec![names],
        default: Some(certificate("default")),
    };
    let cases = [
        (0, "a.test", "a.test", true),
        (0, "a.test", "b.test", true),
        (0, "a.test", "renewed.test", true),
        (0, "x.a.test", "y.a.test", true),
        (0, "x.a.test", "www.a.test", true),
        (0, "x.a.test", "a.test", true),
        (0, "a.test", "other.test", false),
        (0, "x.a.test", "x.other.test", false),
        (0, "other.test", "x.other.test", true),
        (0, "c.test", "d.test", true),
        (0, "c.test", "named.test", true),
        (0, "c.test", "a.test", false),
        (0, "copy.test", "second.test", true),
        (0, "copy.test", "third.test", false),
        (0, "copy.test", "a.test", false),
        (1, "a.test", "other.test", true),
    ];
    for (entry_point, one, other, expected) in cases {
        let found = certificates.share_connection(entry_point, one, other);
        assert_eq!(found, expected, "{one} and {other} on {entry_point}");
        let found = certificates.share_connection(entry_point, other, one);
        assert_eq!(found, expected, "{other} and {one} on {entry_point}");
    }
    assert_eq!(cases.len(), 16);
    certificates.default = None;
    assert!(certificates.share_connection(0, "c.test", "d.test"));
    assert!(!certificates.share_connection(0, "c.test", "a.test"));
}
