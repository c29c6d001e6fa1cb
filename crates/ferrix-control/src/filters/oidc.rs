//! Users that log in at a provider, as it is written.

use std::time::Duration;

use ferrix_api::ingressroute::filter;
use ferrix_table::{
    filters::{
        from_object::FromObject,
        oidc::{ClientAuthentication, Oidc},
    },
    verification::Prepared,
};
use http::Uri;

use super::{Faults, jwt, path_change, policy};
use crate::{names::shared_name, objects::Kind, report::Reason};

/// What is asked for where nothing else is said.
const SCOPES: [&str; 2] = ["profile", "email"];

const CALLBACK_PATH: &str = "/oauth2/callback";

const LOGOUT_PATH: &str = "/oauth2/logout";

const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Shorter, and users would do nothing but log in; longer, and they never would.
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);

/// `namespace`: that of the object.
pub(super) fn compile(
    written: &filter::Oidc,
    field: &str,
    namespace: &str,
    faults: &mut Faults,
) -> Oidc {
    let filter::Oidc {
        issuer,
        client_id,
        secret,
        client_authentication,
        scopes,
        callback_path,
        logout_path,
        after_logout,
        session_lifetime,
        leeway,
        required_claims,
        claims_to_headers,
    } = written;
    let field = |name: &str| format!("{field}.{name}");
    check_issuer(issuer, &field("issuer"), faults);
    if client_id.is_empty() || !client_id.bytes().all(|it| matches!(it, b' '..=b'~')) {
        let message = "expected printable ASCII";
        faults.add(Reason::InvalidSpec, field("clientId"), message);
    }
    let mut path = |written: &Option<String>, default: &str, name: &str| {
        let path = written.as_deref().unwrap_or(default);
        path_change::canonical(path, &field(name), faults).unwrap_or_default()
    };
    let callback_path = path(callback_path, CALLBACK_PATH, "callbackPath");
    let logout_path = path(logout_path, LOGOUT_PATH, "logoutPath");
    let after_logout = (after_logout.is_some()).then(|| path(after_logout, "/", "afterLogout"));
    if callback_path == logout_path && !callback_path.is_empty() {
        let message = format!("`{logout_path}` is the path of logins already");
        faults.add(Reason::InvalidSpec, field("logoutPath"), message);
    }
    Oidc {
        issuer: issuer.as_str().into(),
        client_id: client_id.as_str().into(),
        secrets: FromObject::unknown(
            shared_name(namespace, secret).key(Kind::Secret),
            field("secret"),
        ),
        authentication: client_authentication.map(|it| match it {
            filter::ClientAuthentication::Basic => ClientAuthentication::Basic,
            filter::ClientAuthentication::Post => ClientAuthentication::Post,
        }),
        scopes: self::scopes(scopes.as_deref(), &field("scopes"), faults),
        callback_path,
        logout_path,
        after_logout,
        lifetime: lifetime(
            session_lifetime.as_deref(),
            &field("sessionLifetime"),
            faults,
        ),
        leeway: jwt::leeway(leeway.as_deref(), &field("leeway"), faults),
        required: jwt::required(required_claims, &field("requiredClaims"), faults),
        headers: jwt::headers(claims_to_headers, &field("claimsToHeaders"), faults),
        prepared: Prepared::default(),
    }
}

/// OpenID Connect Core 1.0, section 1.2, and `http` besides.
fn check_issuer(issuer: &str, field: &str, faults: &mut Faults) {
    let is_url = |url: Uri| {
        let authority = url.authority()?;
        let is_host = !authority.host().is_empty() && !authority.as_str().contains('@');
        let has_scheme = matches!(url.scheme_str(), Some("https" | "http"));
        let is_path = !issuer.contains(['?', '#']);
        (is_host && has_scheme && is_path).then_some(())
    };
    if issuer.parse().ok().and_then(is_url).is_none() {
        let message = format!(
            "`{issuer}` is no issuer; expected a URL without a query such as `https://id.example.com`"
        );
        faults.add(Reason::InvalidSpec, field, message);
    }
}

/// RFC 6749, section 3.3.
fn scopes(written: Option<&[String]>, field: &str, faults: &mut Faults) -> Box<[Box<str>]> {
    let Some(written) = written else {
        return SCOPES.map(Into::into).into();
    };
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    for (at, scope) in written.iter().enumerate() {
        if scope.is_empty() || !scope.bytes().all(fits) {
            let message = format!("`{scope}` is no scope");
            faults.add(Reason::InvalidSpec, format!("{field}[{at}]"), message);
        }
    }
    let scopes = written.iter().filter(|it| *it != "openid");
    scopes.map(|it| it.as_str().into()).collect()
}

fn lifetime(written: Option<&str>, field: &str, faults: &mut Faults) -> Duration {
    let lifetime = written.and_then(|it| policy::duration(it, field, faults));
    let lifetime = lifetime.unwrap_or(LIFETIME);
    if !LIFETIMES.contains(&lifetime) {
        let message = "expected from 1 minute to 30 days";
        faults.add(Reason::InvalidSpec, field, message);
    }
    lifetime
}
