//! External authorisation, as it is written.

use ferrix_api::gateway;
use ferrix_table::filters::external_auth::{AuthProtocol, ExternalAuth};

use super::{DraftService, Faults, is_token, path_change};
use crate::report::Reason;

pub(super) fn compile(
    written: &gateway::ExternalAuth,
    field: &str,
    service: DraftService,
    faults: &mut Faults,
) -> ExternalAuth<DraftService> {
    let protocol = match written.protocol.as_str() {
        "HTTP" => http(written.http.as_ref(), &format!("{field}.http"), faults),
        other => {
            let message = match other {
                "GRPC" => "gRPC is not served; expected HTTP".to_owned(),
                other => format!("`{other}` is unknown; expected HTTP"),
            };
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
    ExternalAuth {
        service,
        protocol,
        body_bytes,
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
    let mut names = |names: &[String], name: &str| -> Box<[Box<str>]> {
        for (at, it) in names.iter().enumerate().filter(|(_, it)| !is_token(it)) {
            let message = format!("`{it}` is no name of a header");
            faults.add(
                Reason::InvalidSpec,
                format!("{field}.{name}[{at}]"),
                message,
            );
        }
        names.iter().map(|it| it.as_str().into()).collect()
    };
    let request_headers = names(&written.allowed_headers, "allowedHeaders");
    let response_headers = names(&written.allowed_response_headers, "allowedResponseHeaders");
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
