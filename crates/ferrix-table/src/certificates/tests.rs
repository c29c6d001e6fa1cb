use super::*;
use crate::testing::certificate;

#[test]
fn find() {
    let names = ServerNames {
        exact: [("a.test".into(), certificate("exact"))].into(),
        wildcard: [("a.test".into(), certificate("wildcard"))].into(),
    };
    let mut certificates = Certificates {
        entry_points: vec![ServerNames::default(), names],
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
        (2, Some("a.test"), "default"),
    ] {
        let found = certificates.find(entry_point, name).map(|it| &*it.id);
        assert_eq!(found, Some(expected), "{name:?} on {entry_point}");
    }
    certificates.default = None;
    assert!(certificates.find(1, Some("b.test")).is_none());
    assert!(certificates.find(1, None).is_none());
}
