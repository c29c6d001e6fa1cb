//! External authorisation: another service says whether a request may pass.

use std::{sync::Arc, time::Duration};

use super::Reference;
use crate::verification::Prepared;

/// Another service that says whether a request may pass (Gateway API, `HTTPExternalAuthFilter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAuth<S = Reference> {
    /// Whom to ask; where it leads nowhere, nothing passes.
    pub service: S,
    /// How it is asked.
    pub protocol: AuthProtocol,
    /// How much of the request's body it gets, in bytes; a longer body does not pass. 0: none of it.
    pub body_bytes: u16,
    /// Answers that are kept. `None`: it is asked about each request.
    pub verdicts: Option<Arc<VerdictCache>>,
    /// Where a GET is sent that gets 401, with its own URL.
    pub sign_in: Option<Arc<str>>,
}

/// Answers that let requests pass, for others that are like these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictCache {
    /// How long each is good for.
    pub ttl: Duration,
    /// Requests are alike that have these fields in common, besides `Authorization` and those that the service
    /// gets by their names.
    pub key_headers: Box<[Box<str>]>,
    /// Whether these alone count, and not method, host, path and query as well.
    pub headers_alone: bool,
    /// For whoever keeps them: they are forgotten with this version of the filter.
    pub kept: Prepared,
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

impl AuthProtocol {
    /// The fields of requests that the service gets by their names, besides those it always gets.
    pub fn request_headers(&self) -> &[Box<str>] {
        match self {
            Self::Http {
                request_headers, ..
            }
            | Self::Grpc { request_headers } => request_headers,
        }
    }

    /// The fields that its answer alone may have for requests, where they have names.
    pub fn response_headers(&self) -> &[Box<str>] {
        match self {
            Self::Http {
                response_headers, ..
            } => response_headers,
            Self::Grpc { .. } => &[],
        }
    }
}

impl<S> ExternalAuth<S> {
    pub(crate) fn with_service<T>(&self, service: impl FnOnce(&S) -> T) -> ExternalAuth<T> {
        ExternalAuth {
            service: service(&self.service),
            protocol: self.protocol.clone(),
            body_bytes: self.body_bytes,
            verdicts: self.verdicts.clone(),
            sign_in: self.sign_in.clone(),
        }
    }
}
