//! Filters: what a rule does to requests and responses on their way.
//!
//! The data alone, one file for each; what it is compiled from is in `control`, what it does in
//! `proxy`.

use std::{fmt, sync::Arc};

use crate::{
    ids::ServiceIndex,
    object::{Kind, ObjectName},
};

pub mod access_log;
pub mod api_key;
pub mod bandwidth;
pub mod basic_auth;
pub mod body_size;
pub mod cache;
pub mod client_certificate;
pub mod compression;
pub mod concurrency;
pub mod cors;
pub mod error_pages;
pub mod external_auth;
pub mod faults;
pub mod from_object;
pub mod header_changes;
pub mod ip_filter;
pub mod jwt;
pub mod lasting;
pub mod limit_key;
pub mod mirror;
pub mod oidc;
pub mod path_change;
pub mod places;
pub mod rate_limit;
pub mod redirect;
pub mod request_buffering;
pub mod respond;
pub mod rewrite;

use access_log::AccessLog;
use api_key::{ApiKey, CredentialPlace};
use bandwidth::Bandwidth;
use basic_auth::BasicAuth;
use body_size::BodySize;
use cache::Cache;
use client_certificate::ClientCertificate;
use compression::Compression;
use concurrency::Concurrency;
use cors::Cors;
use error_pages::ErrorPages;
use external_auth::ExternalAuth;
use faults::Faults;
use header_changes::HeaderChanges;
use ip_filter::IpFilter;
use jwt::{Jwt, KeySource};
use lasting::{FilterId, States};
use limit_key::LimitKey;
use mirror::Mirror;
use oidc::Oidc;
use rate_limit::RateLimit;
use redirect::Redirect;
use request_buffering::RequestBuffering;
use respond::Respond;
use rewrite::Rewrite;

/// A step that requests take on their way to a backend, or responses on their way back.
///
/// `S` is a service that it refers to: in a table a [`Reference`], before that what is to become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter<S = Reference> {
    /// Changes header fields of requests.
    RequestHeaders(HeaderChanges),
    /// Changes header fields of responses.
    ResponseHeaders(HeaderChanges),
    /// Answers with another place to go to.
    Redirect(Redirect),
    /// Changes host and path of requests.
    Rewrite(Rewrite),
    /// Sends copies of requests to another service.
    Mirror(Mirror<S>),
    /// Answers preflight requests, and tells clients which origins may read responses.
    Cors(Cors),
    /// Asks another service whether requests may pass.
    ExternalAuth(ExternalAuth<S>),
    /// Compresses responses.
    Compression(Compression),
    /// Refuses clients by their address.
    IpFilter(IpFilter),
    /// Refuses requests that are too many in a time.
    RateLimit(Box<RateLimit>),
    /// Refuses requests that are too many at once.
    Concurrency(Box<Concurrency>),
    /// Limits the bodies of requests.
    BodySize(BodySize),
    /// Limits how fast bodies pass.
    Bandwidth(Box<Bandwidth>),
    /// Keeps responses, and answers requests with them.
    Cache(Box<Cache>),
    /// Answers by itself.
    Respond(Respond),
    /// Puts pages in the place of failures.
    ErrorPages(Arc<ErrorPages<S>>),
    /// Gives requests faults on purpose.
    Faults(Faults),
    /// Says what the access log has of requests.
    AccessLog(Arc<AccessLog>),
    /// Reads whole bodies before it goes on.
    RequestBuffering(RequestBuffering),
    /// Lets users pass that know their password.
    BasicAuth(Arc<BasicAuth>),
    /// Lets clients pass that have a key.
    ApiKey(Arc<ApiKey>),
    /// Lets requests pass that have a token.
    Jwt(Arc<Jwt>),
    /// Lets clients pass that have a certificate.
    ClientCertificate(Arc<ClientCertificate>),
    /// Lets users pass that have logged in at a provider.
    Oidc(Arc<Oidc>),
}

/// Requests that a limit has counted as too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals<'f> {
    /// Which limit.
    pub id: &'f FilterId,
    /// Those that it refused.
    pub refused: u64,
    /// Those that it would have refused, but for a dry run.
    pub would_refuse: u64,
}

/// A service that is referred to, or why the reference leads nowhere: for logs and `explain`, never
/// for the client.
pub type Reference = Result<ServiceIndex, Arc<str>>;

impl<S> Filter<S> {
    /// The service that it refers to.
    pub fn service(&self) -> Option<&S> {
        match self {
            Filter::Mirror(mirror) => Some(&mirror.service),
            Filter::ExternalAuth(auth) => Some(&auth.service),
            Filter::ErrorPages(pages) => pages.service(),
            Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_)
            | Filter::Redirect(_)
            | Filter::Rewrite(_)
            | Filter::Cors(_)
            | Filter::Compression(_)
            | Filter::IpFilter(_)
            | Filter::RateLimit(_)
            | Filter::Concurrency(_)
            | Filter::BodySize(_)
            | Filter::Bandwidth(_)
            | Filter::Cache(_)
            | Filter::Respond(_)
            | Filter::Faults(_)
            | Filter::AccessLog(_)
            | Filter::RequestBuffering(_)
            | Filter::BasicAuth(_)
            | Filter::ApiKey(_)
            | Filter::Jwt(_)
            | Filter::ClientCertificate(_)
            | Filter::Oidc(_) => None,
        }
    }

    /// The same with another service in the place of this one.
    pub fn with_service<T>(&self, service: impl FnOnce(&S) -> T) -> Filter<T> {
        match self {
            Filter::RequestHeaders(changes) => Filter::RequestHeaders(changes.clone()),
            Filter::ResponseHeaders(changes) => Filter::ResponseHeaders(changes.clone()),
            Filter::Redirect(redirect) => Filter::Redirect(redirect.clone()),
            Filter::Rewrite(rewrite) => Filter::Rewrite(rewrite.clone()),
            Filter::Mirror(mirror) => Filter::Mirror(mirror.with_service(service)),
            Filter::Cors(cors) => Filter::Cors(cors.clone()),
            Filter::ExternalAuth(auth) => Filter::ExternalAuth(auth.with_service(service)),
            Filter::Compression(compression) => Filter::Compression(compression.clone()),
            Filter::IpFilter(filter) => Filter::IpFilter(filter.clone()),
            Filter::RateLimit(limit) => Filter::RateLimit(limit.clone()),
            Filter::Concurrency(limit) => Filter::Concurrency(limit.clone()),
            Filter::BodySize(limit) => Filter::BodySize(*limit),
            Filter::Bandwidth(limit) => Filter::Bandwidth(limit.clone()),
            Filter::Cache(cache) => Filter::Cache(cache.clone()),
            Filter::Respond(respond) => Filter::Respond(respond.clone()),
            Filter::ErrorPages(pages) => Filter::ErrorPages(Arc::new(pages.with_service(service))),
            Filter::Faults(faults) => Filter::Faults(*faults),
            Filter::AccessLog(log) => Filter::AccessLog(Arc::clone(log)),
            Filter::RequestBuffering(buffering) => Filter::RequestBuffering(*buffering),
            Filter::BasicAuth(auth) => Filter::BasicAuth(Arc::clone(auth)),
            Filter::ApiKey(auth) => Filter::ApiKey(Arc::clone(auth)),
            Filter::Jwt(jwt) => Filter::Jwt(Arc::clone(jwt)),
            Filter::ClientCertificate(it) => Filter::ClientCertificate(Arc::clone(it)),
            Filter::Oidc(oidc) => Filter::Oidc(Arc::clone(oidc)),
        }
    }

    /// Connects what it remembers with what an earlier version of it has left.
    pub(crate) fn connect(&self, states: &mut States) {
        match self {
            Filter::RateLimit(limit) => states.connect(&limit.state),
            Filter::Concurrency(limit) => states.connect(&limit.state),
            Filter::Bandwidth(limit) => states.connect(&limit.state),
            Filter::Cache(cache) => cache.connect(states),
            Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_)
            | Filter::Redirect(_)
            | Filter::Rewrite(_)
            | Filter::Mirror(_)
            | Filter::Cors(_)
            | Filter::ExternalAuth(_)
            | Filter::Compression(_)
            | Filter::IpFilter(_)
            | Filter::BodySize(_)
            | Filter::Respond(_)
            | Filter::ErrorPages(_)
            | Filter::Faults(_)
            | Filter::AccessLog(_)
            | Filter::RequestBuffering(_)
            | Filter::BasicAuth(_)
            | Filter::ApiKey(_)
            | Filter::Jwt(_)
            | Filter::ClientCertificate(_)
            | Filter::Oidc(_) => {}
        }
    }

    /// Whom it has refused, where it limits.
    pub fn refusals(&self) -> Option<Refusals<'_>> {
        match self {
            Filter::RateLimit(limit) => {
                let state = limit.state.get();
                Some(Refusals {
                    id: limit.state.id(),
                    refused: state.refused.get(),
                    would_refuse: state.would_refuse.get(),
                })
            }
            Filter::Concurrency(limit) => Some(Refusals {
                id: limit.state.id(),
                refused: limit.state.get().refused.get(),
                would_refuse: 0,
            }),
            _ => None,
        }
    }

    /// What it counts apart, where it limits, and which limit it is.
    pub fn limit_key(&self) -> Option<(&LimitKey, &FilterId)> {
        match self {
            Filter::RateLimit(limit) => Some((&limit.by, limit.state.id())),
            Filter::Concurrency(limit) => Some((&limit.by, limit.state.id())),
            Filter::Bandwidth(limit) => Some((limit.by.as_ref()?, limit.state.id())),
            _ => None,
        }
    }

    /// Whether those behind it know what a token claims.
    pub fn knows_claims(&self) -> bool {
        matches!(self, Filter::Jwt(_))
    }

    /// The Secret that it names.
    pub fn secret(&self) -> Option<&ObjectName> {
        self.named(Kind::Secret)
    }

    /// The ConfigMap that it names.
    pub fn config_map(&self) -> Option<&ObjectName> {
        self.named(Kind::ConfigMap)
    }

    /// The object of a kind that it names for what that holds.
    fn named(&self, kind: Kind) -> Option<&ObjectName> {
        let named = match self {
            Filter::BasicAuth(auth) => Some(&auth.users.named),
            Filter::ApiKey(auth) => Some(&auth.clients.named),
            Filter::Jwt(jwt) => jwt.named(),
            Filter::ClientCertificate(it) => Some(&it.authorities.named),
            Filter::Oidc(oidc) => Some(&oidc.secrets.named),
            _ => None,
        };
        let named = named.filter(|named| named.kind == kind);
        named.map(|named| &named.object)
    }

    /// The URL that it has keys from.
    pub fn key_url(&self) -> Option<&Arc<str>> {
        match self {
            Filter::Jwt(jwt) => match &jwt.keys {
                KeySource::Url { url, .. } => Some(url),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether TLS has to ask clients for certificates because of it.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        matches!(self, Filter::ClientCertificate(_))
    }

    /// Whether it says who may pass, and so has to see every request.
    pub fn is_guard(&self) -> bool {
        matches!(
            self,
            Filter::ExternalAuth(_)
                | Filter::IpFilter(_)
                | Filter::BasicAuth(_)
                | Filter::ApiKey(_)
                | Filter::Jwt(_)
                | Filter::ClientCertificate(_)
                | Filter::Oidc(_)
        )
    }

    /// Where it looks for credentials, where that is not `Authorization`.
    pub fn credential_place(&self) -> Option<&CredentialPlace> {
        match self {
            Filter::ApiKey(auth) => Some(&auth.place),
            Filter::Jwt(jwt) => jwt.place.as_ref(),
            _ => None,
        }
    }

    /// The fields that it tells the service of whoever sends a request: nobody else may.
    pub fn identity_headers(&self) -> impl Iterator<Item = &str> {
        let (mut header, mut claims, mut details) = (None, &[][..], &[][..]);
        match self {
            Filter::BasicAuth(auth) => header = auth.user_header.as_deref(),
            Filter::ApiKey(auth) => header = auth.client_header.as_deref(),
            Filter::Jwt(jwt) => claims = &jwt.headers,
            Filter::Oidc(oidc) => claims = &oidc.headers,
            Filter::ClientCertificate(it) => details = &it.headers,
            _ => {}
        }
        let claims = claims.iter().map(|it| &*it.header);
        let details = details.iter().map(|it| &*it.header);
        header.into_iter().chain(claims).chain(details)
    }

    /// The same, and those that an authorisation service tells by its answer: clients may say these to that service,
    /// and to nobody behind it.
    pub fn told_headers(&self) -> impl Iterator<Item = &str> {
        let asked = match self {
            Filter::ExternalAuth(auth) => auth.protocol.response_headers(),
            _ => &[],
        };
        let asked = asked.iter().map(|it| &**it);
        self.identity_headers().chain(asked)
    }

    /// Whether it answers every request, so that none goes on.
    pub fn answers(&self) -> bool {
        match self {
            Filter::Redirect(redirect) => !redirect.is_conditional(),
            Filter::Respond(_) => true,
            _ => false,
        }
    }
}

/// What it does, for a person; `S` names the service.
impl<S: fmt::Display> fmt::Display for Filter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::RequestHeaders(changes) => write!(f, "request headers: {changes}"),
            Filter::ResponseHeaders(changes) => write!(f, "response headers: {changes}"),
            Filter::Redirect(redirect) => write!(f, "redirect: {redirect}"),
            Filter::Rewrite(rewrite) => write!(f, "rewrite: {rewrite}"),
            Filter::Mirror(mirror) => write!(f, "mirror: {mirror}"),
            Filter::Cors(cors) => write!(f, "CORS: {cors}"),
            Filter::ExternalAuth(auth) => write!(f, "authorisation by {}", auth.service),
            Filter::Compression(compression) => write!(f, "compression: {compression}"),
            Filter::IpFilter(filter) => write!(f, "addresses: {filter}"),
            Filter::RateLimit(limit) => write!(f, "rate limit: {limit}"),
            Filter::Concurrency(limit) => write!(f, "concurrency: {limit}"),
            Filter::BodySize(limit) => write!(f, "body: {limit}"),
            Filter::Bandwidth(limit) => write!(f, "bandwidth: {limit}"),
            Filter::Cache(cache) => write!(f, "cache: {cache}"),
            Filter::Respond(respond) => write!(f, "answer: {respond}"),
            Filter::ErrorPages(pages) => write!(f, "error pages: {pages}"),
            Filter::Faults(faults) => write!(f, "faults: {faults}"),
            Filter::AccessLog(log) => write!(f, "access log: {log}"),
            Filter::RequestBuffering(buffering) => write!(f, "buffered body: {buffering}"),
            Filter::BasicAuth(auth) => write!(f, "password: {auth}"),
            Filter::ApiKey(auth) => write!(f, "API key: {auth}"),
            Filter::Jwt(jwt) => write!(f, "token: {jwt}"),
            Filter::ClientCertificate(it) => write!(f, "certificate: {it}"),
            Filter::Oidc(oidc) => write!(f, "login: {oidc}"),
        }
    }
}
