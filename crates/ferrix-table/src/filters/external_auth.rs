//! External authorisation: another service says whether a request may pass.

use super::Reference;

/// Another service that says whether a request may pass (Gateway API, `HTTPExternalAuthFilter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAuth<S = Reference> {
    /// Whom to ask; where it leads nowhere, nothing passes.
    pub service: S,
    /// How it is asked.
    pub protocol: AuthProtocol,
    /// How much of the request's body it gets, in bytes; a longer body does not pass. 0: none of it.
    pub body_bytes: u16,
}

/// How an authorisation service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthProtocol {
    /// By a request whose answer is 200 where it may pass.
    Http {
        /// What comes before the path of the request. Empty, or canonical without a `/` at its end.
        path_prefix: Box<str>,
        /// Names of request fields that it gets besides those it always gets.
        request_headers: Box<[Box<str>]>,
        /// Names of fields of its answer that the request gets. Empty: all but those about framing,
        /// the connection and the host.
        response_headers: Box<[Box<str>]>,
    },
    /// By `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Names of request fields that it gets. Empty: all.
        request_headers: Box<[Box<str>]>,
    },
}

impl<S> ExternalAuth<S> {
    pub(crate) fn with_service<T>(&self, service: impl FnOnce(&S) -> T) -> ExternalAuth<T> {
        ExternalAuth {
            service: service(&self.service),
            protocol: self.protocol.clone(),
            body_bytes: self.body_bytes,
        }
    }
}
