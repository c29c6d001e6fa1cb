//! The one place where a failure becomes a response.

use std::time::Duration;

use bytes::Bytes;
use ferrix_http1::{Fields, ResponseHead};
use http::{HeaderValue, StatusCode};

use crate::failure::{Failure, Quota};

/// The answer to a failure, in a form that the client reads.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Bytes,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Json,
    Grpc,
}

impl Form {
    /// By `Content-Type` for gRPC, else by `Accept`: JSON where it is named and HTML is not.
    pub(crate) fn of(fields: &Fields) -> Self {
        let kind = fields.get("content-type").unwrap_or_default();
        if kind.starts_with(b"application/grpc") {
            return Self::Grpc;
        }
        let accepts = |kind: &str| {
            let mut values = fields.get_all("accept");
            values.any(|value| String::from_utf8_lossy(value).contains(kind))
        };
        if accepts("json") && !accepts("text/html") {
            Self::Json
        } else {
            Self::Html
        }
    }
}

impl Answer {
    /// The server's name goes into `Server` unless it is empty.
    pub(crate) fn new(failure: &Failure, form: Form, server: &str) -> Self {
        let mut answer = Self::of(failure.status(), form, server);
        let fields = &mut answer.head.fields;
        match failure {
            Failure::RateLimited(quota) => tell_quota(quota, fields),
            // RFC 9110, section 11.6.1.
            Failure::Unauthenticated(challenge) | Failure::Forbidden(challenge) => {
                fields.append("WWW-Authenticate", challenge.as_bytes());
            }
            _ => {}
        }
        answer
    }

    /// What a failure with this status is answered.
    pub(crate) fn of(status: u16, form: Form, server: &str) -> Self {
        let (body, kind) = match form {
            Form::Grpc => return Self::grpc(status, server),
            Form::Html => (html(status), "text/html; charset=utf-8"),
            Form::Json => (json(status), "application/json"),
        };
        let mut answer = Self::start(status, kind, server);
        answer.body = Bytes::from(body);
        let length = answer.body.len().to_string();
        answer
            .head
            .fields
            .append("Content-Length", length.as_bytes());
        answer
    }

    /// Trailers-only (gRPC over HTTP/2, "Responses").
    fn grpc(status: u16, server: &str) -> Self {
        let mut answer = Self::start(200, "application/grpc", server);
        let fields = &mut answer.head.fields;
        fields.append("grpc-status", grpc_status(status).to_string().as_bytes());
        fields.append("grpc-message", reason(status).as_bytes());
        answer
    }

    /// What a filter answers, with this body.
    pub(crate) fn filtered(head: ResponseHead, body: Bytes, server: &str) -> Self {
        let mut answer = Self::kept(head, body);
        name_server(&mut answer.head.fields, server);
        answer
    }

    /// What a cache answers: a response of a backend.
    pub(crate) fn kept(head: ResponseHead, body: Bytes) -> Self {
        let mut head = head;
        // These two have no length (RFC 9110, section 8.6).
        if !matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            let length = body.len().to_string();
            head.fields.set("Content-Length", length.as_bytes());
        }
        Self { head, body }
    }

    fn start(status: u16, kind: &'static str, server: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut head = ResponseHead::new(status);
        head.fields.append("Content-Type", kind.as_bytes());
        name_server(&mut head.fields, server);
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                head.fields.append("Retry-After", b"1");
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let methods = b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";
                head.fields.append("Allow", methods);
            }
            _ => {}
        }
        Self {
            head,
            body: Bytes::new(),
        }
    }
}

fn name_server(fields: &mut Fields, server: &str) {
    if !server.is_empty() && HeaderValue::from_str(server).is_ok() {
        fields.set("Server", server.as_bytes());
    }
}

/// Says when to come again (RFC 9110, section 10.2.3), and what the limit is
/// (draft-ietf-httpapi-ratelimit-headers-10).
fn tell_quota(quota: &Quota, fields: &mut Fields) {
    let Quota {
        by,
        requests,
        per,
        retry_after,
        whole_after,
    } = quota;
    let window = match per.subsec_nanos() {
        0 => format!(";w={}", per.as_secs()),
        // Only whole seconds can be told.
        _ => String::new(),
    };
    let seconds = |time: &Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let texts = [
        ("Retry-After", seconds(retry_after).to_string()),
        ("RateLimit-Policy", format!("\"{by}\";q={requests}{window}")),
        (
            "RateLimit",
            format!("\"{by}\";r=0;t={}", seconds(whole_after)),
        ),
    ];
    for (name, text) in &texts {
        fields.set(name, text.as_bytes());
    }
}

fn html(status: u16) -> String {
    let reason = reason(status);
    format!("<!doctype html><title>{status} {reason}</title><h1>{status} {reason}</h1>\n")
}

fn json(status: u16) -> String {
    format!("{{\"status\":{status},\"error\":\"{}\"}}\n", reason(status))
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

/// The mapping of gRPC's HTTP status page.
fn grpc_status(status: u16) -> u16 {
    match status {
        400 | 431 | 414 | 413 => 13,
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        408 | 504 => 4,
        421 | 429 | 502 | 503 => 14,
        500 => 13,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&'static str, &'static str)]) -> Form {
        let mut all = Fields::default();
        for (name, value) in fields {
            all.append(name, value.as_bytes());
        }
        Form::of(&all)
    }

    #[test]
    fn the_form_is_what_the_client_reads() {
        assert_eq!(form(&[]), Form::Html);
        assert_eq!(form(&[("accept", "*/*")]), Form::Html);
        assert_eq!(form(&[("accept", "application/json")]), Form::Json);
        assert_eq!(
            form(&[("accept", "application/problem+json, */*")]),
            Form::Json
        );
        assert_eq!(
            form(&[("accept", "text/html, application/json")]),
            Form::Html
        );
        assert_eq!(
            form(&[("content-type", "application/grpc+proto")]),
            Form::Grpc
        );
    }

    #[test]
    fn answers_name_the_status_and_no_version() {
        let answer = Answer::new(&Failure::NoEndpoint, Form::Json, "edge");
        assert_eq!(answer.head.status, 503);
        assert_eq!(answer.head.fields.get("server"), Some(&b"edge"[..]));
        assert_eq!(answer.head.fields.get("retry-after"), Some(&b"1"[..]));
        assert_eq!(
            &answer.body[..],
            b"{\"status\":503,\"error\":\"Service Unavailable\"}\n"
        );
        let answer = Answer::new(&Failure::NoRoute, Form::Html, "");
        assert!(!answer.head.fields.contains("server"));
    }

    #[test]
    fn who_is_limited_is_told_until_when() {
        let quota = |per: u64| Quota {
            by: "client",
            requests: 100,
            per: Duration::from_millis(per),
            retry_after: Duration::from_millis(600),
            whole_after: Duration::from_millis(59_001),
        };
        for (per, policy) in [
            (60_000, "\"client\";q=100;w=60"),
            (1500, "\"client\";q=100"),
        ] {
            let failure = Failure::RateLimited(Box::new(quota(per)));
            for form in [Form::Html, Form::Json, Form::Grpc] {
                let answer = Answer::new(&failure, form, "");
                let all = |name| -> Vec<_> { answer.head.fields.get_all(name).collect() };
                assert_eq!(all("retry-after"), [b"1"]);
                assert_eq!(all("ratelimit-policy"), [policy.as_bytes()]);
                assert_eq!(all("ratelimit"), [b"\"client\";r=0;t=60"]);
            }
        }
    }

    #[test]
    fn grpc_answers_are_trailers_only() {
        let answer = Answer::new(&Failure::NoEndpoint, Form::Grpc, "");
        assert_eq!(answer.head.status, 200);
        assert_eq!(answer.head.fields.get("grpc-status"), Some(&b"14"[..]));
        assert!(answer.body.is_empty());
    }
}
