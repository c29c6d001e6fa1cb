//! Filters: what a rule does to requests and responses on their way.
//!
//! The data alone, one file for each; what it is compiled from is in `control`, what it does in
//! `proxy`.

use std::{fmt, sync::Arc};

use crate::ids::ServiceIndex;

pub mod compression;
pub mod cors;
pub mod external_auth;
pub mod header_changes;
pub mod lasting;
pub mod mirror;
pub mod path_change;
pub mod redirect;
pub mod rewrite;

use compression::Compression;
use cors::Cors;
use external_auth::ExternalAuth;
use header_changes::HeaderChanges;
use lasting::States;
use mirror::Mirror;
use redirect::Redirect;
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
            Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_)
            | Filter::Redirect(_)
            | Filter::Rewrite(_)
            | Filter::Cors(_)
            | Filter::Compression(_) => None,
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
        }
    }

    /// Connects what it remembers with what an earlier version of it has left.
    pub(crate) fn connect(&self, _states: &mut States) {
        match self {
            Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_)
            | Filter::Redirect(_)
            | Filter::Rewrite(_)
            | Filter::Mirror(_)
            | Filter::Cors(_)
            | Filter::ExternalAuth(_)
            | Filter::Compression(_) => {}
        }
    }

    /// Whether it answers every request, so that none goes on.
    pub fn answers(&self) -> bool {
        matches!(self, Filter::Redirect(_))
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
        }
    }
}
