//! Tokens that let whoever has them pass, as it is written.

use std::{sync::Arc, time::Duration};

use ferrix_api::ingressroute::filter;
use ferrix_table::{
    filters::{
        from_object::FromObject,
        jwt::{ClaimHeader, Jwt, KeySet, KeySource, Renewal, RequiredClaim},
    },
    jwks,
};
use http::Uri;

use super::{Faults, credentials, policy};
use crate::{
    names::{shared, shared_name},
    objects::Kind,
    report::Reason,
};

/// How far clocks may differ where nothing else is said.
const LEEWAY: Duration = Duration::from_secs(30);

/// Farther, and a token would not end.
const MOST_LEEWAY: Duration = Duration::from_secs(300);

/// The entry of a Secret or a ConfigMap where nothing else is said.
const ENTRY: &str = "jwks.json";

/// `namespace`: that of the object.
pub(super) fn compile(
    written: &filter::Jwt,
    field: &str,
    namespace: &str,
    faults: &mut Faults,
) -> Jwt {
    let filter::Jwt {
        jwks,
        issuer,
        audiences,
        leeway,
        from,
        required_claims,
        claims_to_headers,
        optional,
        hide_credentials,
    } = written;
    let from = from.as_ref();
    let place = from.and_then(|it| credentials::place(it, &format!("{field}.from"), faults));
    Jwt {
        keys: keys(jwks, &format!("{field}.jwks"), namespace, faults),
        place,
        issuer: issuer.as_deref().map(Into::into),
        audiences: texts(audiences),
        leeway: self::leeway(leeway.as_deref(), &format!("{field}.leeway"), faults),
        required: required(required_claims, &format!("{field}.requiredClaims"), faults),
        headers: headers(
            claims_to_headers,
            &format!("{field}.claimsToHeaders"),
            faults,
        ),
        optional: *optional,
        hide_credentials: *hide_credentials,
    }
}

pub(super) fn leeway(written: Option<&str>, field: &str, faults: &mut Faults) -> Duration {
    let leeway = written.and_then(|it| policy::duration(it, field, faults));
    let leeway = leeway.unwrap_or(LEEWAY);
    if leeway > MOST_LEEWAY {
        faults.add(Reason::InvalidSpec, field, "expected 5 minutes at most");
    }
    leeway
}

fn keys(written: &filter::Jwks, field: &str, namespace: &str, faults: &mut Faults) -> KeySource {
    let filter::Jwks {
        inline,
        secret,
        config_map,
        url,
    } = written;
    let object = |it: &filter::KeysEntry, kind: Kind, of: &str| {
        let named = shared_name(namespace, &it.name).key(kind);
        KeySource::Object {
            keys: FromObject::unknown(named, format!("{field}.{of}")),
            entry: it.key.as_deref().unwrap_or(ENTRY).into(),
        }
    };
    match (inline, secret, config_map, url) {
        (Some(text), None, None, None) => {
            let field = format!("{field}.inline");
            KeySource::Inline(Arc::new(inline_keys(text, &field, faults)))
        }
        (None, Some(secret), None, None) => object(secret, Kind::Secret, "secret"),
        (None, None, Some(map), None) => object(map, Kind::ConfigMap, "configMap"),
        (None, None, None, Some(url)) => {
            let field = format!("{field}.url");
            if !is_url(url) {
                let message = "expected a URL without user and fragment, such as `https://id.example.com/jwks.json`";
                faults.add(Reason::InvalidSpec, field.as_str(), message);
            }
            KeySource::Url {
                url: shared(url),
                field: field.into(),
                held: Err("the keys were not fetched".into()),
                renewal: Renewal::default(),
            }
        }
        _ => {
            let message = "expected exactly one of `inline`, `secret`, `configMap` and `url`";
            faults.add(Reason::InvalidSpec, field, message);
            KeySource::Inline(Arc::new(nothing()))
        }
    }
}

/// Whether it is a URL that can be asked for: of HTTP, with a host, and nothing that no request has.
pub(super) fn is_url(text: &str) -> bool {
    let is_good = |url: Uri| {
        let is_of_http = matches!(url.scheme_str(), Some("http" | "https"));
        let authority = url.authority().map(|it| it.as_str());
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        is_of_http && has_host && authority.is_some_and(|it| !it.contains('@'))
    };
    !text.contains('#') && text.parse().is_ok_and(is_good)
}

/// Whoever wrote the keys can mend them all.
fn inline_keys(text: &str, field: &str, faults: &mut Faults) -> KeySet {
    let (keys, wrong) = match jwks::parse(text) {
        Ok((keys, wrong)) => (keys, wrong),
        Err(wrong) => (nothing(), vec![wrong]),
    };
    for message in wrong {
        faults.add(Reason::InvalidSpec, field, message);
    }
    keys
}

/// Keys of a filter that is no good.
fn nothing() -> KeySet {
    KeySet {
        text: Box::default(),
        keys: Box::default(),
        verified: Default::default(),
    }
}

pub(super) fn required(
    written: &[filter::RequiredClaim],
    field: &str,
    faults: &mut Faults,
) -> Box<[RequiredClaim]> {
    let claims = written.iter().enumerate().map(|(at, claim)| {
        check_claim(&claim.name, &format!("{field}[{at}].name"), faults);
        RequiredClaim {
            name: claim.name.as_str().into(),
            values: texts(&claim.values),
        }
    });
    claims.collect()
}

pub(super) fn headers(
    written: &[filter::ClaimHeader],
    field: &str,
    faults: &mut Faults,
) -> Box<[ClaimHeader]> {
    let mut headers: Vec<ClaimHeader> = Vec::with_capacity(written.len());
    for (at, filter::ClaimHeader { claim, header }) in written.iter().enumerate() {
        check_claim(claim, &format!("{field}[{at}].claim"), faults);
        let before = headers.iter().map(|it| &*it.header);
        credentials::another_header(header, before, &format!("{field}[{at}].header"), faults);
        headers.push(ClaimHeader {
            claim: claim.as_str().into(),
            header: header.as_str().into(),
        });
    }
    headers.into()
}

fn check_claim(name: &str, field: &str, faults: &mut Faults) {
    if name.is_empty() {
        faults.add(Reason::InvalidSpec, field, "expected the name of a claim");
    }
}

fn texts(texts: &[String]) -> Box<[Box<str>]> {
    texts.iter().map(|it| it.as_str().into()).collect()
}
