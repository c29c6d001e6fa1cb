//! What the policy of a rule does to requests and responses: one file for each filter.
//!
//! A rule without a policy never comes here.
//!
//! ```text
//!  rule ─► filters of the rule ─► choice of a service ─► filters of that share ─► attempts
//!              │ an answer: redirect, preflight, refusal        │ copies, once the body is whole
//!              ▼                                                ▼
//!           client ◄── response filters of both lists ◄── response
//! ```

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use ferrix_table::{
    filters::{Filter, compression::ContentEncoding, concurrency::UnderWay},
    host,
    path::PathOptions,
    policy::{Policy, Session},
    services::ServiceId,
};
use http::HeaderMap;

use crate::{
    Engine,
    answer::Answer,
    encoder,
    failure::Failure,
    retry::Kept,
    session::{self, Token},
    settings::Settings,
};

pub(crate) mod access_log;
pub(crate) mod api_key;
pub(crate) mod bandwidth;
pub(crate) mod basic_auth;
pub(crate) mod body_size;
pub(crate) mod cache;
pub(crate) mod client_certificate;
pub(crate) mod compression;
pub(crate) mod concurrency;
pub(crate) mod cors;
pub(crate) mod credentials;
pub(crate) mod error_pages;
pub(crate) mod external_auth;
pub(crate) mod faults;
mod header_changes;
pub(crate) mod ip_filter;
pub(crate) mod jwt;
pub(crate) mod limit_key;
pub(crate) mod mirror;
pub(crate) mod oidc;
mod origin;
mod path_change;
pub(crate) mod rate_limit;
mod redirect;
pub(crate) mod respond;
mod rewrite;

/// Where a request came in, as far as filters ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Whether TLS ends there.
    pub(crate) secure: bool,
    /// The port that clients know the entry point by.
    pub(crate) port: u16,
    /// What its paths are like.
    pub(crate) paths: PathOptions,
}

impl Arrival {
    pub(crate) fn new(secure: bool, port: u16, settings: &Settings) -> Self {
        Self {
            secure,
            port,
            paths: PathOptions {
                merge_slashes: settings.paths.merge_slashes,
                refuse_encoded_slashes: settings.paths.refuse_encoded_slashes,
            },
        }
    }
}

/// Takes a request through a filter that asks nobody. Returns the answer, if the filter gives one.
///
/// # Errors
/// [`Failure::BadRequest`]: what it would become is no request.
pub(crate) fn on_request(
    filter: &Filter,
    head: &mut RequestHead,
    arrival: &Arrival,
) -> Result<Option<ResponseHead>, Failure> {
    match filter {
        Filter::RequestHeaders(changes) => header_changes::apply(changes, &mut head.fields),
        Filter::Rewrite(rewrite) => rewrite::apply(rewrite, head, arrival)?,
        Filter::Redirect(redirect) => return redirect::answer(redirect, head, arrival),
        Filter::Cors(cors) => return Ok(cors::preflight(cors, head)),
        Filter::Compression(_) => compression::on_request(head),
        Filter::ResponseHeaders(_)
        | Filter::Mirror(_)
        | Filter::ExternalAuth(_)
        | Filter::IpFilter(_)
        | Filter::RateLimit(_)
        | Filter::Concurrency(_)
        | Filter::BodySize(_)
        | Filter::Bandwidth(_)
        | Filter::Cache(_)
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
    Ok(None)
}

/// What a policy has still to do when its request goes on.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) policy: Option<Arc<Policy>>,
    /// Of the share of requests that this is one of.
    pub(crate) of_share: Option<Arc<Box<[Filter]>>>,
    /// How many filters of both the request has come past. What is refused passes these alone on its way back.
    pub(crate) passed: usize,
    /// The origin of the request, where a filter asks.
    pub(crate) origin: Option<Box<[u8]>>,
    /// How the client takes responses, where a filter asks.
    pub(crate) compression: compression::Asked,
    /// Why a cache had no part in the request.
    pub(crate) bypass: Option<cache::Forward>,
    /// What is fetched for a cache.
    pub(crate) fetch: Option<Box<cache::Fetch>>,
    /// What the request may make out of date.
    pub(crate) invalidation: Option<Box<cache::Invalidation>>,
    /// Whether a filter has let whoever sends the request pass by credentials.
    pub(crate) authenticated: bool,
    /// What the token claims that a filter has let pass.
    pub(crate) claims: Option<Arc<jwt::Claims>>,
    /// Cookies that the client gets with any answer.
    pub(crate) cookies: Vec<String>,
    /// The token that the request came with.
    pub(crate) token: Option<Token>,
    /// The beginning of the body, or all of it, where a filter has read it.
    pub(crate) kept: Option<Kept>,
    pub(crate) copies: Vec<mirror::Copy>,
    /// The request, where limits count those under way.
    pub(crate) under_way: Vec<UnderWay>,
    /// The longest body that the request may have; 0: any. `None`: as the settings say.
    pub(crate) body_bytes: Option<u64>,
    /// Error pages that the request has come past, in the order of their list.
    pub(crate) error_pages: Vec<error_pages::Passed>,
    /// What is added to the line of the request in the access log.
    pub(crate) logged: Option<Box<access_log::Logged>>,
}

impl Applied {
    /// Takes note of what response filters will have to know of the request.
    pub(crate) fn note(&mut self, filter: &Filter, head: &RequestHead) {
        match filter {
            Filter::Cors(_) => self.origin = head.fields.get("origin").map(Into::into),
            Filter::Compression(it) => self.compression = compression::Asked::of(it, head),
            _ => {}
        }
    }

    /// How requests of one session stay together, if they do.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.policy.as_ref()?.session.as_ref()
    }

    fn filters(&self) -> impl Iterator<Item = &Filter> {
        let of_rule = self.policy.iter().flat_map(|policy| policy.filters());
        of_rule.chain(self.of_share.iter().flat_map(|filters| filters.iter()))
    }

    /// Trailers of a request as they may go on: they say nothing that only filters may say.
    pub(crate) fn trailers(&self, trailers: HeaderMap) -> HeaderMap {
        let names = self.filters().flat_map(Filter::told_headers);
        credentials::without_identity(names, trailers)
    }

    /// Changes a response on its way to the client, by the filters that its request has come past. `length`:
    /// that of its body, where it is known. Returns how the body is to be compressed.
    pub(crate) fn on_response(
        &self,
        head: &mut ResponseHead,
        length: Option<u64>,
    ) -> Option<ContentEncoding> {
        let mut encoding = None;
        for filter in self.filters().take(self.passed) {
            match filter {
                Filter::ResponseHeaders(changes) => {
                    header_changes::apply(changes, &mut head.fields);
                }
                Filter::Cors(cors) => {
                    cors::on_response(cors, self.origin.as_deref(), &mut head.fields);
                }
                Filter::Cache(_) => {
                    if let Some(bypass) = self.bypass {
                        bypass.tell(head);
                    }
                }
                Filter::Compression(it) => {
                    let chosen = compression::on_response(it, self.compression, head, length);
                    // What is compressed is not compressed by another filter.
                    encoding = encoding.or(chosen);
                }
                Filter::RequestHeaders(_)
                | Filter::Redirect(_)
                | Filter::Rewrite(_)
                | Filter::Mirror(_)
                | Filter::ExternalAuth(_)
                | Filter::IpFilter(_)
                | Filter::RateLimit(_)
                | Filter::Concurrency(_)
                | Filter::BodySize(_)
                | Filter::Bandwidth(_)
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
        if !self.cookies.is_empty() {
            // A cache on the way would give them to others.
            head.fields.set("Cache-Control", b"no-store");
        }
        for cookie in &self.cookies {
            head.fields.append("Set-Cookie", cookie.as_bytes());
        }
        encoding
    }

    /// An answer that no backend gives now, as the client gets it: that of a cache, or a failure.
    pub(crate) async fn answer(
        &self,
        engine: &Engine,
        request: &RequestHead,
        answer: ResponseHead,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let page = self.error_page(engine, request, &answer).await;
        let (answer, body) = page.unwrap_or((answer, body));
        let (answer, body) = self.finish(answer, body).await?;
        Ok(Answer::kept(answer, body))
    }

    /// A failure as the client gets it.
    pub(crate) async fn fail(
        &self,
        engine: &Engine,
        request: &RequestHead,
        answer: Answer,
    ) -> Answer {
        let mut answer = answer;
        if answer.body.is_empty() {
            // That of gRPC has no body, and says of none how long it is.
            self.on_response(&mut answer.head, Some(0));
            return answer;
        }
        let (head, body) = (answer.head.clone(), answer.body.clone());
        (self.answer(engine, request, head, body).await).unwrap_or(answer)
    }

    /// Changes a whole response on its way to the client.
    pub(crate) async fn finish(
        &self,
        head: ResponseHead,
        body: Bytes,
    ) -> Result<(ResponseHead, Bytes), Failure> {
        let mut head = head;
        let body = match self.on_response(&mut head, Some(body.len() as u64)) {
            Some(encoding) => {
                let encoded = encoder::whole(encoding, &body).await;
                encoded.map_err(encoder::failure)?
            }
            None => body,
        };
        Ok((head, body))
    }

    /// Takes note of what the access log is to have of a response, as the client gets it.
    pub(crate) fn log(&self, head: &ResponseHead) {
        if let Some(logged) = &self.logged {
            logged.respond(head);
        }
    }

    /// The page that takes the place of an answer's body, where it is a failure that the rule has one for.
    pub(crate) async fn error_page(
        &self,
        engine: &Engine,
        request: &RequestHead,
        answer: &ResponseHead,
    ) -> Option<(ResponseHead, Bytes)> {
        let mut pages = self.error_pages.iter();
        let pages = pages.find(|it| it.are_for(answer.status))?;
        // Boxed, because it is large and rare.
        Box::pin(pages.replace(engine, request, answer)).await
    }

    /// Lets the client stay with the endpoint that has answered.
    pub(crate) fn keep_session(
        &self,
        service: &ServiceId,
        endpoint: SocketAddr,
        secure: bool,
        head: &mut ResponseHead,
    ) {
        if let Some(session) = self.session() {
            let token = Token::of(service, endpoint);
            session::keep(session, self.token, token, secure, &mut head.fields);
        }
    }
}

/// The host that a request names, in canonical form; empty where it names none.
fn host_of(head: &RequestHead) -> Result<String, Failure> {
    match head.fields.get("host") {
        None | Some(b"") => Ok(String::new()),
        Some(host) => {
            let canonical = host::canonical(host);
            let canonical =
                canonical.map_err(|error| Failure::BadRequest(error.to_string().into()))?;
            Ok(canonical.host.into_owned())
        }
    }
}
