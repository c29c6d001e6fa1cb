//! The one place where a failure becomes a response.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pingora_http::ResponseHeader;

use crate::failure::Failure;

/// The answer to a failure, in a form that the client reads.
pub(crate) struct Answer {
    pub(crate) header: ResponseHeader,
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
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let starts = |name, prefix: &[u8]| {
            headers
                .get(name)
                .is_some_and(|value: &HeaderValue| value.as_bytes().starts_with(prefix))
        };
        if starts(header::CONTENT_TYPE, b"application/grpc") {
            return Self::Grpc;
        }
        let accepts = |kind: &str| {
            headers
                .get_all(header::ACCEPT)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .any(|value| value.contains(kind))
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
        let status = failure.status();
        let (body, kind) = match form {
            Form::Grpc => return Self::grpc(failure, server),
            Form::Html => (html(status), "text/html; charset=utf-8"),
            Form::Json => (json(status), "application/json"),
        };
        let mut answer = Self::start(status, kind, server);
        answer.body = Bytes::from(body);
        let length = HeaderValue::from(answer.body.len());
        answer.set(header::CONTENT_LENGTH.as_str(), length);
        answer
    }

    /// Trailers-only (gRPC over HTTP/2, "Responses").
    fn grpc(failure: &Failure, server: &str) -> Self {
        let mut answer = Self::start(200, "application/grpc", server);
        answer.set(
            "grpc-status",
            HeaderValue::from(grpc_status(failure.status())),
        );
        let message = HeaderValue::from_static(reason(failure.status()));
        answer.set("grpc-message", message);
        answer
    }

    fn start(status: u16, kind: &'static str, server: &str) -> Self {
        let header = ResponseHeader::build(status, Some(6)).expect("the status is valid");
        let mut answer = Self {
            header,
            body: Bytes::new(),
        };
        answer.set("content-type", HeaderValue::from_static(kind));
        if let (false, Ok(server)) = (server.is_empty(), HeaderValue::from_str(server)) {
            answer.set("server", server);
        }
        match status {
            503 => answer.set("retry-after", HeaderValue::from_static("1")),
            405 => {
                let methods =
                    HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
                answer.set("allow", methods);
            }
            _ => {}
        }
        answer
    }

    fn set(&mut self, name: &str, value: HeaderValue) {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("the name is valid");
        self.header
            .insert_header(name, value)
            .expect("name and value are valid");
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
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

/// The mapping of gRPC's HTTP status page, with 429-like overload left out.
fn grpc_status(status: u16) -> u16 {
    match status {
        400 | 431 | 414 | 413 => 13,
        404 | 405 | 501 => 12,
        408 | 504 => 4,
        421 | 502 | 503 => 14,
        500 => 13,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&'static str, &'static str)]) -> Form {
        let fields = fields.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Form::of(&fields.collect())
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
        assert_eq!(answer.header.status, 503);
        assert_eq!(answer.header.headers["server"], "edge");
        assert_eq!(answer.header.headers["retry-after"], "1");
        assert_eq!(
            &answer.body[..],
            b"{\"status\":503,\"error\":\"Service Unavailable\"}\n"
        );
        let answer = Answer::new(&Failure::NoRoute, Form::Html, "");
        assert!(!answer.header.headers.contains_key("server"));
    }

    #[test]
    fn grpc_answers_are_trailers_only() {
        let answer = Answer::new(&Failure::NoEndpoint, Form::Grpc, "");
        assert_eq!(answer.header.status, 200);
        assert_eq!(answer.header.headers["grpc-status"], "14");
        assert!(answer.body.is_empty());
    }
}
