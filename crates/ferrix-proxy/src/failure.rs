//! Everything that can go wrong with a request, whose fault it is, and the status that says so.
//!
//! [`crate::answer`] is the one place that turns a failure into bytes.

use std::{borrow::Cow, time::Duration};

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's: it should send something else.
    Client,
    /// The backend's.
    Upstream,
    /// The configuration's: no client can help it.
    Configuration,
}

/// Why a request was not served by a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request is malformed or ambiguous.
    #[error("bad request: {0}")]
    BadRequest(Cow<'static, str>),
    /// A method that a proxy must not serve.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The header section took too long.
    #[error("the header section took too long")]
    HeaderTimeout,
    /// The body stopped coming.
    #[error("the request body took too long")]
    BodyTimeout,
    /// The body is over the limit.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The target is over the limit.
    #[error("the request target is too long")]
    UriTooLong,
    /// The header section is over a limit.
    #[error("the header section is too large")]
    HeaderTooLarge,
    /// The host has another certificate than the name of the connection.
    #[error("this connection is for another host")]
    Misdirected,
    /// A transfer coding other than `chunked`.
    #[error("unsupported transfer coding")]
    TransferCoding,
    /// The client has as many requests in flight as it may.
    #[error("the client has too many requests at once")]
    TooManyRequests,
    /// The client is in a network whose requests the rule refuses.
    #[error("requests from the address of the client are refused")]
    AddressRefused,
    /// The client has shown no certificate that lets it pass.
    #[error("the client has no valid certificate")]
    CertificateRefused,
    /// The request is one too many for a rate limit of the rule.
    #[error("too many requests in {:?} for a limit by {}", .0.per, .0.by)]
    RateLimited(Box<Quota>),
    /// The route has as many requests under way as it may.
    #[error("the route has too many requests at once")]
    RouteBusy,
    /// The service has as many requests under way as it may, and as many wait, or have waited too long.
    #[error("the service has too many requests at once")]
    ServiceBusy,
    /// No rule takes the request.
    #[error("no route")]
    NoRoute,
    /// The rule refers to something that does not exist.
    #[error("the route is incomplete")]
    Unresolved,
    /// The service has no ready endpoint.
    #[error("no endpoint is ready")]
    NoEndpoint,
    /// As many connections to backends are open as there may be.
    #[error("no connection to a backend is free")]
    NoConnection,
    /// More waits in the process for slow peers than may.
    #[error("too much waits to be sent")]
    Overloaded,
    /// No endpoint could be connected to.
    #[error("no connection to the backend: {0}")]
    Connect(String),
    /// The backend broke the connection or the protocol before a response.
    #[error("the backend failed: {0}")]
    Upstream(String),
    /// The backend took too long.
    #[error("the backend took too long")]
    UpstreamTimeout,
    /// The service that says whether the request may pass has said nothing of use.
    #[error("the authorisation service failed: {0}")]
    Unauthorised(String),
    /// The request has no credentials that a filter of the rule takes. With the challenge of the answer.
    #[error("the request has no valid credentials")]
    Unauthenticated(Box<str>),
    /// What the request is known by is valid, and does not say what it has to. With the challenge.
    #[error("the token of the request does not say what it has to")]
    Forbidden(Box<str>),
    /// The keys that tokens are verified with were never fetched.
    #[error("the keys of the issuer could not be fetched")]
    KeysMissing,
    /// A login that has come back from its provider is none.
    #[error("the login is refused: {0}")]
    LoginRefused(String),
    /// The provider that users log in at has said nothing of use.
    #[error("the identity provider failed: {0}")]
    Provider(String),
    /// Too many passwords wait to be verified.
    #[error("too many passwords wait to be verified")]
    PasswordsBusy,
    /// A body could not be stored until it was whole.
    #[error("the request body cannot be stored: {0}")]
    Storage(String),
    /// The client left; nobody is answered.
    #[error("the client left")]
    ClientGone,
}

/// What a rate limit allows, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What is counted apart, in one word.
    pub by: &'static str,
    /// So many requests…
    pub requests: u32,
    /// …in this time.
    pub per: Duration,
    /// When the next may pass, from now on.
    pub retry_after: Duration,
    /// When as many as ever may pass, from now on.
    pub whole_after: Duration,
}

impl Failure {
    /// Names for metrics, by [`Failure::index`].
    pub const NAMES: [&'static str; 32] = [
        "bad_request",
        "method_not_allowed",
        "header_timeout",
        "body_timeout",
        "body_too_large",
        "uri_too_long",
        "header_too_large",
        "misdirected",
        "transfer_coding",
        "no_route",
        "unresolved",
        "no_endpoint",
        "no_connection",
        "connect",
        "upstream",
        "upstream_timeout",
        "client_gone",
        "overloaded",
        "too_many_requests",
        "authorisation",
        "address_refused",
        "rate_limited",
        "route_busy",
        "storage",
        "service_busy",
        "unauthenticated",
        "passwords_busy",
        "forbidden",
        "keys_missing",
        "certificate_refused",
        "login_refused",
        "provider",
    ];

    /// Position in [`Failure::NAMES`].
    pub fn index(&self) -> usize {
        match self {
            Self::BadRequest(_) => 0,
            Self::MethodNotAllowed => 1,
            Self::HeaderTimeout => 2,
            Self::BodyTimeout => 3,
            Self::BodyTooLarge => 4,
            Self::UriTooLong => 5,
            Self::HeaderTooLarge => 6,
            Self::Misdirected => 7,
            Self::TransferCoding => 8,
            Self::NoRoute => 9,
            Self::Unresolved => 10,
            Self::NoEndpoint => 11,
            Self::NoConnection => 12,
            Self::Connect(_) => 13,
            Self::Upstream(_) => 14,
            Self::UpstreamTimeout => 15,
            Self::ClientGone => 16,
            Self::Overloaded => 17,
            Self::TooManyRequests => 18,
            Self::Unauthorised(_) => 19,
            Self::AddressRefused => 20,
            Self::RateLimited(_) => 21,
            Self::RouteBusy => 22,
            Self::Storage(_) => 23,
            Self::ServiceBusy => 24,
            Self::Unauthenticated(_) => 25,
            Self::PasswordsBusy => 26,
            Self::Forbidden(_) => 27,
            Self::KeysMissing => 28,
            Self::CertificateRefused => 29,
            Self::LoginRefused(_) => 30,
            Self::Provider(_) => 31,
        }
    }

    /// The status of the answer; 0 where nobody is there to answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthenticated(_) => 401,
            Self::AddressRefused
            | Self::CertificateRefused
            | Self::Forbidden(_)
            | Self::LoginRefused(_) => 403,
            Self::MethodNotAllowed => 405,
            Self::HeaderTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::Misdirected => 421,
            Self::TooManyRequests | Self::RateLimited(_) => 429,
            Self::HeaderTooLarge => 431,
            Self::TransferCoding => 501,
            Self::NoRoute => 404,
            Self::Unresolved | Self::Storage(_) => 500,
            Self::NoEndpoint
            | Self::NoConnection
            | Self::Overloaded
            | Self::RouteBusy
            | Self::ServiceBusy
            | Self::KeysMissing
            | Self::PasswordsBusy
            | Self::Provider(_)
            | Self::Unauthorised(_) => 503,
            Self::Connect(_) | Self::Upstream(_) => 502,
            Self::UpstreamTimeout => 504,
            Self::ClientGone => 0,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self.status() {
            404 | 500 | 503 => Fault::Configuration,
            502 | 504 => Fault::Upstream,
            _ => Fault::Client,
        }
    }

    /// Whether the connection is of no further use: where the next request begins is not known.
    pub(crate) fn closes_connection(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::HeaderTimeout
                | Self::BodyTimeout
                | Self::BodyTooLarge
                | Self::UriTooLong
                | Self::HeaderTooLarge
                | Self::TransferCoding
        )
    }
}
