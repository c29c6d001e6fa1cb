//! Cross-origin resource sharing, as it is written.

use ferrix_api::gateway::CorsFilter;
use ferrix_table::{
    filters::cors::{Cors, Listed, OriginPattern},
    host,
};

use super::{Faults, is_token};
use crate::report::Reason;

pub(super) fn compile(written: &CorsFilter, field: &str, faults: &mut Faults) -> Cors {
    let mut origins = Vec::with_capacity(written.allow_origins.len());
    for (at, origin) in written.allow_origins.iter().enumerate() {
        match pattern(origin) {
            Some(pattern) => origins.push(pattern),
            None => {
                let message = format!(
                    "`{origin}` is no origin; expected such as `https://example.com`, \
                     `https://*.example.com:8443` or `*`"
                );
                faults.add(
                    Reason::InvalidSpec,
                    format!("{field}.allowOrigins[{at}]"),
                    message,
                );
            }
        }
    }
    if written.max_age == 0 {
        let message = "expected a number of seconds from 1 on";
        faults.add(Reason::InvalidSpec, format!("{field}.maxAge"), message);
    }
    let mut list = |names: &[String], name: &str| listed(names, &format!("{field}.{name}"), faults);
    Cors {
        allow_origins: origins.into(),
        allow_methods: list(&written.allow_methods, "allowMethods"),
        allow_headers: list(&written.allow_headers, "allowHeaders"),
        expose_headers: list(&written.expose_headers, "exposeHeaders"),
        allow_credentials: written.allow_credentials.unwrap_or(false),
        max_age: written.max_age,
    }
}

fn listed(names: &[String], field: &str, faults: &mut Faults) -> Listed {
    for (at, name) in names.iter().enumerate() {
        if !is_token(name) {
            let message = format!("`{name}` is no name");
            faults.add(Reason::InvalidSpec, format!("{field}[{at}]"), message);
        }
    }
    match names.iter().any(|name| name == "*") {
        true => Listed::All,
        false => Listed::These(names.join(", ").into()),
    }
}

/// An origin with one `*` in its host at most, in the form in which clients send origins.
fn pattern(origin: &str) -> Option<OriginPattern> {
    if origin == "*" {
        return Some(OriginPattern::Any);
    }
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    // A label in the place of the wildcard, so that whatever is around it is a host.
    let authority_like = authority_without_wildcard(authority)?;
    let whole = host::canonical(&authority_like).ok()?;
    let port = match whole.port {
        Some(port) if port != default_port => format!(":{port}"),
        _ => String::new(),
    };
    let host = match whole.host.contains(':') {
        true => format!("[{}]", whole.host),
        false => whole.host.into_owned(),
    };
    Some(match authority.contains('*') {
        false => OriginPattern::Exact(format!("{scheme}://{host}{port}").into()),
        true => {
            let (before, after) = host.split_once(WILDCARD)?;
            OriginPattern::Wildcard {
                prefix: format!("{scheme}://{before}").into(),
                suffix: format!("{after}{port}").into(),
            }
        }
    })
}

/// No host has it by accident.
const WILDCARD: &str = "ferrix-wildcard";

fn authority_without_wildcard(authority: &str) -> Option<String> {
    let one = authority.matches('*').count() <= 1 && !authority.contains(WILDCARD);
    one.then(|| authority.replace('*', WILDCARD))
}
