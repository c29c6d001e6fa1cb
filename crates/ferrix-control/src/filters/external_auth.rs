//! External authorisation, as it is written.

use ferrix_api::gateway;
use ferrix_table::{
    filters::external_auth::{AuthProtocol, ExternalAuth},
    services::Scheme,
};

use super::{DraftService, Faults, is_token, path_change};
use crate::{draft::BackendReference, report::Reason};

pub(super) fn compile(
    written: &gateway::ExternalAuth,
    field: &str,
    service: DraftService,
    faults: &mut Faults,
) -> ExternalAuth<DraftService> {
    let protocol = match written.protocol.as_str() {
        "HTTP" => http(written.http.as_ref(), &format!("{field}.http"), faults),
        "GRPC" => grpc(written.grpc.as_ref(), &format!("{field}.grpc"), faults),
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
    let most = written.forward_body.as_ref();
    let most = most.and_then(|body| body.max_size).unwrap_or(0);
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
    ExternalAuth {
        service,
        protocol,
        body_bytes,
    }
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
