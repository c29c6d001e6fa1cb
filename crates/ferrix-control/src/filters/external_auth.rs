//! External authorisation, as it is written.

use std::{sync::Arc, time::Duration};

use ferrix_api::{gateway, ingressroute::filter};
use ferrix_table::{
    filters::external_auth::{AuthProtocol, ExternalAuth, VerdictCache},
    services::Scheme,
    verification::Prepared,
};

use super::{DraftService, Faults, is_token, jwt, path_change, policy};
use crate::{draft::BackendReference, report::Reason};

/// The longest that an answer is good for.
const LONGEST: Duration = Duration::from_secs(3600);

/// How another service is asked, in either form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'w> {
    protocol: &'w str,
    pub(super) backend_ref: &'w gateway::MirrorReference,
    grpc: Option<&'w gateway::GrpcAuth>,
    http: Option<&'w gateway::HttpAuth>,
    forward_body: Option<&'w gateway::ForwardBody>,
    cache: Option<&'w filter::VerdictCache>,
    sign_in: Option<&'w str>,
}

impl<'w> From<&'w gateway::ExternalAuth> for Written<'w> {
    fn from(written: &'w gateway::ExternalAuth) -> Self {
        Self {
            protocol: &written.protocol,
            backend_ref: &written.backend_ref,
            grpc: written.grpc.as_ref(),
            http: written.http.as_ref(),
            forward_body: written.forward_body.as_ref(),
            cache: None,
            sign_in: None,
        }
    }
}

impl<'w> From<&'w filter::ExternalAuth> for Written<'w> {
    fn from(written: &'w filter::ExternalAuth) -> Self {
        Self {
            protocol: &written.protocol,
            backend_ref: &written.backend_ref,
            grpc: written.grpc.as_ref(),
            http: written.http.as_ref(),
            forward_body: written.forward_body.as_ref(),
            cache: written.cache.as_ref(),
            sign_in: written.sign_in.as_deref(),
        }
    }
}

pub(super) fn compile(
    written: Written<'_>,
    field: &str,
    service: DraftService,
    faults: &mut Faults,
) -> ExternalAuth<DraftService> {
    let protocol = match written.protocol {
        "HTTP" => http(written.http, &format!("{field}.http"), faults),
        "GRPC" => grpc(written.grpc, &format!("{field}.grpc"), faults),
        other => {
            let message = format!("`{other}` is unknown; expected HTTP or GRPC");
            faults.add(
                Reason::UnsupportedValue,
                format!("{field}.protocol"),
                message,
            );
            http(None, field, faults)
        }
    };
    let most = written.forward_body.and_then(|body| body.max_size);
    let most = most.unwrap_or(0);
    let body_bytes = u16::try_from(most).unwrap_or_else(|_| {
        let message = "expected at most 65535 bytes";
        faults.add(
            Reason::InvalidSpec,
            format!("{field}.forwardBody.maxSize"),
            message,
        );
        0
    });
    let service = match protocol {
        AuthProtocol::Http { .. } => service,
        // Which needs HTTP/2, whatever the port says or not.
        AuthProtocol::Grpc { .. } => service.map(|service| BackendReference {
            default_scheme: Some(Scheme::H2c),
            ..service
        }),
    };
    if written.cache.is_some() && body_bytes > 0 {
        let message =
            "has no place beside `forwardBody`: each body would need an answer of its own";
        faults.add(Reason::InvalidSpec, format!("{field}.cache"), message);
    }
    let cache = written.cache;
    let verdicts = cache.and_then(|it| verdicts(it, &format!("{field}.cache"), faults));
    if let Some(url) = written.sign_in.filter(|it| !jwt::is_url(it)) {
        let message = format!("`{url}` is no URL such as `https://sign-in.example.com/start`");
        faults.add(Reason::InvalidSpec, format!("{field}.signIn"), message);
    }
    ExternalAuth {
        service,
        protocol,
        body_bytes,
        verdicts,
        sign_in: written.sign_in.map(Into::into),
    }
}

fn verdicts(
    written: &filter::VerdictCache,
    field: &str,
    faults: &mut Faults,
) -> Option<Arc<VerdictCache>> {
    let filter::VerdictCache {
        ttl,
        key_headers,
        headers_alone,
    } = written;
    let ttl = policy::duration(ttl, &format!("{field}.ttl"), faults)?;
    if ttl.is_zero() || ttl > LONGEST {
        let message = "expected more than nothing, and an hour at most";
        faults.add(Reason::InvalidSpec, format!("{field}.ttl"), message);
    }
    Some(Arc::new(VerdictCache {
        ttl,
        key_headers: names(key_headers, &format!("{field}.keyHeaders"), faults),
        headers_alone: *headers_alone,
        kept: Prepared::default(),
    }))
}

fn grpc(written: Option<&gateway::GrpcAuth>, field: &str, faults: &mut Faults) -> AuthProtocol {
    let allowed = written.map_or(&[][..], |written| &written.allowed_headers);
    AuthProtocol::Grpc {
        request_headers: names(allowed, &format!("{field}.allowedHeaders"), faults),
    }
}

fn http(written: Option<&gateway::HttpAuth>, field: &str, faults: &mut Faults) -> AuthProtocol {
    let Some(written) = written else {
        return AuthProtocol::Http {
            path_prefix: Box::default(),
            request_headers: Box::default(),
            response_headers: Box::default(),
        };
    };
    let prefix = written.path.as_deref().unwrap_or_default();
    let (allowed, taken) = (&written.allowed_headers, &written.allowed_response_headers);
    let request_headers = names(allowed, &format!("{field}.allowedHeaders"), faults);
    let response_headers = names(taken, &format!("{field}.allowedResponseHeaders"), faults);
    AuthProtocol::Http {
        path_prefix: match prefix.trim_end_matches('/') {
            "" => Box::default(),
            prefix => {
                path_change::canonical(prefix, &format!("{field}.path"), faults).unwrap_or_default()
            }
        },
        request_headers,
        response_headers,
    }
}

/// Names of header fields.
fn names(names: &[String], field: &str, faults: &mut Faults) -> Box<[Box<str>]> {
    for (at, name) in names.iter().enumerate().filter(|(_, it)| !is_token(it)) {
        let message = format!("`{name}` is no name of a header");
        faults.add(Reason::InvalidSpec, format!("{field}[{at}]"), message);
    }
    names.iter().map(|it| it.as_str().into()).collect()
}
