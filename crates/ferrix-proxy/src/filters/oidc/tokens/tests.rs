use serde_json::json;

use super::{
    super::{
        session::Standing,
        tests::{oidc, session},
    },
    *,
};

const NOW: u64 = 1_000_000;

fn claims(change: Value) -> Claims {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "shop", "sub": "alice", "nonce": "n",
        "iat": NOW - 1, "exp": NOW + 300,
    });
    let change = change.as_object().unwrap().clone();
    claims.as_object_mut().unwrap().extend(change);
    claims.as_object().unwrap().clone()
}

#[test]
fn what_id_tokens_have_to_claim() {
    let good = [
        json!({}),
        json!({"aud": ["shop"]}),
        json!({"aud": ["shop", "other"], "azp": "shop"}),
        json!({"azp": "shop"}),
        // Clocks differ.
        json!({"exp": NOW - 9}),
        json!({"iat": NOW + 10, "nbf": NOW + 10}),
    ];
    let bad = [
        (
            json!({"iss": "https://id.example/"}),
            "is of another issuer",
        ),
        (json!({"iss": null}), "is of another issuer"),
        (json!({"aud": "other"}), "is for another client"),
        (json!({"aud": ["other"]}), "is for another client"),
        (json!({"aud": null}), "is for another client"),
        (
            json!({"aud": ["shop", "other"]}),
            "is for several, and does not say who asked for it",
        ),
        (json!({"azp": "other"}), "was asked for by another client"),
        (
            json!({"aud": ["shop", "other"], "azp": "other"}),
            "was asked for by another client",
        ),
        (json!({"exp": NOW - 10}), "has ended"),
        (json!({"exp": null}), "has no end"),
        (json!({"exp": "never"}), "has no end"),
        (json!({"iat": null}), "does not say when it was made"),
        (json!({"iat": NOW + 11}), "is of a time to come"),
        (json!({"nbf": NOW + 11}), "is of a time to come"),
        (json!({"sub": null}), "is about nobody"),
        (json!({"sub": ""}), "is about nobody"),
    ];
    let earlier = session(json!({}));
    let mut ran = 0;
    for expected in [Expected::Login("n"), Expected::Continued(&earlier)] {
        for change in &good {
            let judged = judge(&oidc(), claims(change.clone()), expected, NOW);
            assert_eq!(judged.unwrap().subject, "alice", "{change}");
            ran += 1;
        }
        for (change, why) in &bad {
            let judged = judge(&oidc(), claims(change.clone()), expected, NOW);
            assert_eq!(judged.unwrap_err(), *why, "{change}");
            ran += 1;
        }
    }
    assert_eq!(ran, 2 * 22);
}

#[test]
fn id_tokens_are_of_their_login_and_their_user() {
    let earlier = session(json!({}));
    let (login, continued) = (Expected::Login("n"), Expected::Continued(&earlier));
    let cases = [
        (login, json!({"nonce": "m"}), Err("is of another login")),
        (login, json!({"nonce": null}), Err("is of another login")),
        (continued, json!({"nonce": "m"}), Err("is of another login")),
        (continued, json!({"nonce": null}), Ok(())),
        (
            continued,
            json!({"sub": "bob"}),
            Err("is about somebody else"),
        ),
        (login, json!({"sub": "bob"}), Ok(())),
    ];
    for (expected, change, outcome) in &cases {
        let judged = judge(&oidc(), claims(change.clone()), *expected, NOW);
        assert_eq!(judged.map(drop), *outcome, "{expected:?} {change}");
    }
    assert_eq!(cases.len(), 6);
}

#[test]
fn what_token_endpoints_answer() {
    let unavailable = |status: u16, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        matches!(
            read(status, body.as_bytes()),
            Err(TokenError::Unavailable(_))
        )
    };
    let whole =
        json!({"id_token": "i", "refresh_token": "r", "expires_in": 60, "token_type": "Bearer"});
    let tokens = read(StatusCode::OK, whole.to_string().as_bytes()).unwrap();
    assert_eq!(tokens.id_token.as_deref(), Some("i"));
    assert_eq!(
        (tokens.refresh_token.as_deref(), tokens.lifetime),
        (Some("r"), 60)
    );
    assert_eq!(read(StatusCode::OK, b"{}").unwrap().lifetime, LIFETIME);
    let refused = read(StatusCode::BAD_REQUEST, br#"{"error": "invalid_grant"}"#);
    assert!(matches!(refused, Err(TokenError::Refused(_))));
    let cases = [
        (401, r#"{"error": "invalid_client"}"#),
        (400, r#"{"error": "invalid_request"}"#),
        (400, "<html>"),
        (200, "<html>"),
        (200, "[]"),
        (302, ""),
        (429, r#"{"error": "invalid_grant"}"#),
        (500, r#"{"error": "invalid_grant"}"#),
        (503, ""),
    ];
    for (status, body) in cases {
        assert!(unavailable(status, body), "{status} {body}");
    }
    assert_eq!(cases.len(), 9);
}

/// The provider learns of a change, and what it does not say again stays.
#[test]
fn sessions_are_continued_with_what_is_new() {
    let oidc = oidc();
    let earlier = Session {
        id_token: Some("i".to_owned()),
        ..session(json!({"groups": ["staff"], "email": "a@b"}))
    };
    let tokens = Tokens {
        lifetime: 60,
        ..Tokens::default()
    };
    let same = earlier.continued(&oidc, None, tokens, 2000);
    let expected = Session {
        until: 2060,
        ..earlier.clone()
    };
    assert_eq!(same, expected);
    // However long a provider says that it is.
    let tokens = Tokens {
        lifetime: u64::MAX,
        ..Tokens::default()
    };
    let endless = earlier.continued(&oidc, None, tokens, 2000);
    assert_eq!(endless.standing(&oidc, 3000), Standing::Current);
    let identity = judge(
        &oidc,
        claims(json!({"groups": ["dev"], "other": 1})),
        Expected::Login("n"),
        NOW,
    );
    let tokens = Tokens {
        id_token: Some("j".to_owned()),
        is_hint: true,
        refresh_token: Some("s".to_owned()),
        lifetime: 60,
    };
    let changed = earlier.continued(&oidc, identity.ok(), tokens, NOW);
    let expected = Session {
        claims: json!({"groups": ["dev"]}).as_object().unwrap().clone(),
        until: NOW + 300,
        refresh_token: Some("s".to_owned()),
        id_token: Some("j".to_owned()),
        ..earlier
    };
    assert_eq!(changed, expected);
}
