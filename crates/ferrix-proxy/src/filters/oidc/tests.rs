use std::time::Duration;

use ferrix_table::{
    filters::{
        from_object::FromObject,
        jwt::{ClaimHeader, RequiredClaim},
    },
    object::{Kind, ObjectName},
    verification::Prepared,
};
use http::Version;
use serde_json::{Value, json};

use super::*;

/// A filter for users in the group `staff`.
pub(super) fn oidc() -> Oidc {
    Oidc {
        issuer: "https://id.example".into(),
        client_id: "shop".into(),
        secrets: FromObject {
            named: ObjectName::new("default", "login").key(Kind::Secret),
            field: Box::default(),
            held: Ok(Arc::new(secrets(1))),
        },
        authentication: None,
        scopes: ["email".into()].into(),
        callback_path: "/oauth2/callback".into(),
        logout_path: "/oauth2/logout".into(),
        after_logout: None,
        lifetime: Duration::from_secs(3600),
        leeway: Duration::from_secs(10),
        required: [RequiredClaim {
            name: "groups".into(),
            values: ["staff".into()].into(),
        }]
        .into(),
        headers: [ClaimHeader {
            claim: "email".into(),
            header: "X-Email".into(),
        }]
        .into(),
        prepared: Prepared::default(),
    }
}

pub(super) fn secrets(byte: u8) -> OidcSecrets {
    OidcSecrets {
        session_key: [byte; 32].into(),
        client_secret: None,
        prepared: Prepared::default(),
    }
}

/// A session since 1000, and vouched for until 1600.
pub(super) fn session(claims: Value) -> Session {
    Session {
        subject: "alice".to_owned(),
        claims: claims.as_object().unwrap().clone(),
        since: 1000,
        until: 1600,
        nonce: "n".to_owned(),
        refresh_token: Some("r".to_owned()),
        id_token: None,
    }
}

pub(super) fn head(method: Method, fields: &[(&'static str, &str)]) -> RequestHead {
    let mut head = RequestHead::new(method, b"/a?b", Version::HTTP_11);
    for (name, value) in fields {
        head.fields.append(name, value.as_bytes());
    }
    head
}

#[test]
fn only_browsers_that_navigate_are_sent_elsewhere() {
    const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let mode = |mode| ("Sec-Fetch-Mode", mode);
    let cases = [
        (Method::GET, vec![HTML], true),
        (Method::GET, vec![HTML, mode("navigate")], true),
        (Method::GET, vec![mode("navigate")], true),
        (Method::POST, vec![HTML, mode("navigate")], false),
        (Method::HEAD, vec![HTML], false),
        (Method::GET, vec![HTML, mode("cors")], false),
        (Method::GET, vec![HTML, mode("no-cors")], false),
        (Method::GET, vec![mode("websocket")], false),
        (Method::GET, vec![("Accept", "application/json")], false),
        (Method::GET, vec![("Accept", "*/*")], false),
        (Method::GET, vec![], false),
        (
            Method::GET,
            vec![HTML, ("X-Requested-With", "XMLHttpRequest")],
            false,
        ),
    ];
    for (method, fields, expected) in &cases {
        let head = head(method.clone(), fields);
        assert_eq!(is_navigation(&head), *expected, "{method} {fields:?}");
    }
    assert_eq!(cases.len(), 12);
}

#[test]
fn sessions_go_on_until_they_end() {
    let oidc = oidc();
    let with = session(json!({}));
    let without = Session {
        refresh_token: None,
        ..with.clone()
    };
    let cases = [
        (&with, 1000, Standing::Current),
        // The clock of the provider may be behind.
        (&with, 1609, Standing::Current),
        (&without, 1609, Standing::Current),
        (&with, 1610, Standing::Continuable("r")),
        (&without, 1610, Standing::Ended),
        (&with, 4599, Standing::Continuable("r")),
        (&with, 4600, Standing::Ended),
    ];
    for (session, now, expected) in cases {
        assert_eq!(session.standing(&oidc, now), expected, "{now}");
    }
    assert_eq!(cases.len(), 7);
}

#[test]
fn services_are_told_of_those_who_may_pass() {
    let cases = [
        (
            json!({"groups": ["staff", "dev"], "email": "a@b"}),
            Some(Some("a@b")),
        ),
        (json!({"groups": "staff"}), Some(None)),
        (json!({"groups": ["dev"], "email": "a@b"}), None),
        (json!({"groups": ["staffers"]}), None),
        (json!({"groups": []}), None),
        (json!({"email": "a@b"}), None),
        (
            json!({"groups": ["staff"], "email": "a@b\nX-Admin: 1"}),
            None,
        ),
        (json!({"groups": ["staff"], "email": {"a": "b"}}), None),
    ];
    let ran = cases.len();
    for (claims, expected) in cases {
        let mut head = head(Method::GET, &[]);
        let told = tell(&oidc(), &session(claims.clone()), &mut head);
        match expected {
            None => assert_eq!(told, Err(Failure::Forbidden(CHALLENGE.into())), "{claims}"),
            Some(email) => {
                assert_eq!(told, Ok(()), "{claims}");
                assert_eq!(head.fields.get("x-email"), email.map(str::as_bytes));
            }
        }
    }
    assert_eq!(ran, 8);
}
