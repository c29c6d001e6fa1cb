//! Filters as they are written, to filters as a table has them but for the services that they refer to.
//!
//! One file for each filter. All that is wrong with a list is found, each fault with its field, and a list
//! with a fault is none: a rule never serves without a filter that it names.

use std::sync::Arc;

use ferrix_api::{
    gateway::{self, HttpRouteFilter},
    ingressroute::filter,
};
use ferrix_table::{
    filters::{Filter, lasting::FilterId},
    object::Key,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    draft::{DraftFilters, FilterReference},
    field::Field,
    names::shared_name,
    objects::ObjectName,
    report::{Finding, Reason},
};

mod access_log;
mod api_key;
mod bandwidth;
mod basic_auth;
mod body_size;
mod cache;
mod client_certificate;
mod compression;
mod concurrency;
mod cors;
mod credentials;
pub(crate) mod error_pages;
mod external_auth;
mod faults;
mod header_changes;
mod ip_filter;
mod jwt;
mod limit_key;
mod mirror;
mod oidc;
mod path_change;
pub(crate) mod policy;
mod rate_limit;
mod redirect;
mod request_buffering;
mod respond;
mod rewrite;
mod service;
pub(crate) mod written;

pub(crate) use crate::draft::DraftService;

/// Where a list of filters stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Of a rule of an HTTPRoute.
    HttpRule(usize),
    /// Of a backend of such a rule.
    HttpBackend(usize, usize),
    /// Of a rule of a GRPCRoute.
    GrpcRule(usize),
    /// Of a backend of such a rule.
    GrpcBackend(usize, usize),
    /// Of an IngressRoute, for all its rules.
    Route,
    /// Of a rule of an IngressRoute.
    RouteRule(usize),
    /// Of a Filter.
    Filter,
}

/// What filters have to know of what they stand in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    pub(crate) list: List,
    /// The object.
    pub(crate) object: &'p Key,
    /// The one prefix that the paths of the rule's requests have. `None`: they have several, or other
    /// forms.
    pub(crate) prefix: Option<&'p str>,
    /// What the object says of caches: see [`PURGE`].
    pub(crate) purge: Option<&'p str>,
}

/// The object that filters stand in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'o> {
    pub(crate) key: &'o Key,
    /// What it says of caches: see [`PURGE`].
    pub(crate) purge: Option<&'o str>,
}

impl<'o> Owner<'o> {
    pub(crate) fn of(key: &'o Key, metadata: &'o ObjectMeta) -> Self {
        let purge = metadata.annotations.as_ref().and_then(|all| all.get(PURGE));
        Self {
            key,
            purge: purge.map(String::as_str),
        }
    }
}

/// An annotation: where its value becomes another, the caches of the object forget all that they keep.
const PURGE: &str = "ferrix.com/purge";

impl Place<'_> {
    /// What identifies a filter with state: the one of this name that comes after so many others of its
    /// name, whatever else there is in the list.
    fn id(self, name: &str, earlier: usize) -> FilterId {
        FilterId {
            object: self.object.clone(),
            place: format!("{}.{name}", self.list.item(earlier).short()).into(),
        }
    }
}

/// The Filter that a text names in an object of a namespace: `NAME` or `NAMESPACE/NAME`.
pub(crate) fn named(text: &str, own_namespace: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap_or((own_namespace, text));
    shared_name(namespace, name)
}

/// What is wrong with a list.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Finding>);

impl Faults {
    pub(crate) fn add(
        &mut self,
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.0.push(Finding::problem(reason, field, message));
    }

    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }

    /// `Err` where there is any.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Vec<Finding>> {
        match self.0.is_empty() {
            true => Ok(value),
            false => Err(self.0),
        }
    }
}

/// A field of a filter, by what follows the place of the filter in its list.
macro_rules! field {
    ($list:expr, $place:expr, $rest:literal) => {
        match $list {
            List::Filter => Field::new(concat!("spec.filters[]", $rest), [$place]),
            List::Route => Field::new(concat!("spec.route.filters[]", $rest), [$place]),
            List::RouteRule(rule) => {
                let path = concat!("spec.route.rules[].filters[]", $rest);
                Field::new(path, [rule, $place])
            }
            List::HttpRule(rule) | List::GrpcRule(rule) => {
                Field::new(concat!("spec.rules[].filters[]", $rest), [rule, $place])
            }
            List::HttpBackend(rule, backend) | List::GrpcBackend(rule, backend) => {
                let path = concat!("spec.rules[].backendRefs[].filters[]", $rest);
                Field::new(path, [rule, backend, $place])
            }
        }
    };
}

impl List {
    /// The field of a filter.
    pub(crate) fn item(self, place: usize) -> Field {
        field!(self, place, "")
    }

    /// The field of the service that a mirror names.
    fn mirror(self, place: usize) -> Field {
        field!(self, place, ".requestMirror.backendRef")
    }

    /// The field of the service that is asked for authorisation.
    fn external_auth(self, place: usize) -> Field {
        field!(self, place, ".externalAuth.backendRef")
    }

    /// The field of the service that has error pages.
    fn error_pages(self, place: usize) -> Field {
        field!(self, place, ".errorPages.backendRef")
    }

    /// Whether filters are those of GRPCRoutes, which have fewer.
    fn is_grpc(self) -> bool {
        matches!(self, Self::GrpcRule(_) | Self::GrpcBackend(..))
    }

    /// Whether they are for one backend of a rule.
    fn is_of_backend(self) -> bool {
        matches!(self, Self::HttpBackend(..) | Self::GrpcBackend(..))
    }
}

/// Filters that may stand in a list several times: each copies to another service, limits
/// something else, or is for other failures.
const REPEATED: [&str; 5] = [
    "requestMirror",
    "rateLimit",
    "concurrency",
    "bandwidth",
    "errorPages",
];

/// A filter as it is written, whichever kind of object it stands in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written<'w> {
    RequestHeaders(&'w gateway::HeaderChanges),
    ResponseHeaders(&'w gateway::HeaderChanges),
    Redirect(redirect::Written<'w>),
    Rewrite(rewrite::Written<'w>),
    Mirror(&'w gateway::RequestMirror),
    Cors(&'w gateway::CorsFilter),
    ExternalAuth(external_auth::Written<'w>),
    Compression(&'w filter::Compression),
    IpFilter(&'w filter::IpFilter),
    RateLimit(&'w filter::RateLimit),
    Concurrency(&'w filter::Concurrency),
    BodySize(&'w filter::BodySize),
    Bandwidth(&'w filter::Bandwidth),
    Cache(&'w filter::Cache),
    Respond(&'w filter::Respond),
    ErrorPages(&'w filter::ErrorPages),
    Faults(&'w filter::Faults),
    AccessLog(&'w filter::AccessLog),
    RequestBuffering(&'w filter::RequestBuffering),
    BasicAuth(&'w filter::BasicAuth),
    ApiKey(&'w filter::ApiKey),
    Jwt(&'w filter::Jwt),
    ClientCertificate(&'w filter::ClientCertificate),
    Oidc(&'w filter::Oidc),
}

/// An item of a list.
#[derive(Clone, Debug)]
pub(crate) enum Item<'w> {
    /// A filter that is written there.
    Own(Written<'w>),
    /// A Filter that is named there.
    Named(ObjectName),
}

impl<'w> Item<'w> {
    fn own(&self) -> Option<Written<'w>> {
        match self {
            Self::Own(written) => Some(*written),
            Self::Named(_) => None,
        }
    }
}

/// Compiles the filters of an HTTPRoute or a GRPCRoute.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn compile(
    filters: &[HttpRouteFilter],
    place: Place<'_>,
) -> Result<Box<[DraftFilters]>, Vec<Finding>> {
    let mut faults = Faults::default();
    let items = filters.iter().enumerate();
    let items: Vec<_> = items
        .filter_map(|(at, filter)| Some((at, item(filter, at, place, &mut faults)?)))
        .collect();
    let compiled = compile_items(&items, place, &mut faults);
    faults.or(compiled)
}

/// Compiles the items of a list, each with its place in it. Filters that follow one another become one list.
pub(crate) fn compile_items(
    items: &[(usize, Item<'_>)],
    place: Place<'_>,
    faults: &mut Faults,
) -> Box<[DraftFilters]> {
    refuse_combinations(items, place, faults);
    let lists = items.chunk_by(|(_, one), (_, next)| one.own().and(next.own()).is_some());
    let lists = lists.map(|list| {
        let at = list[0].0;
        let field = place.list.item(at);
        if let Item::Named(filter) = &list[0].1 {
            let filter = filter.clone();
            return DraftFilters::Named(FilterReference { field, filter });
        }
        let own = (list.iter()).filter_map(|(at, item)| Some((*at, item.own()?)));
        let filters = own.map(|(at, written)| {
            let earlier = items.iter().take_while(|(other, _)| *other < at);
            let earlier = earlier.filter_map(|(_, item)| item.own());
            let same = earlier.filter(|other| other.name() == written.name());
            let id = || place.id(written.name(), same.clone().count());
            one(written, at, &id, place, faults)
        });
        DraftFilters::Own(field, filters.collect())
    });
    lists.collect()
}

/// `id`: what identifies the filter, where it has state.
fn one(
    written: Written<'_>,
    at: usize,
    id: &dyn Fn() -> FilterId,
    place: Place<'_>,
    faults: &mut Faults,
) -> Filter<DraftService> {
    let field = format!("{}.{}", place.list.item(at), written.name());
    match written {
        Written::RequestHeaders(changes) => {
            Filter::RequestHeaders(header_changes::compile(changes, &field, faults))
        }
        Written::ResponseHeaders(changes) => {
            Filter::ResponseHeaders(header_changes::compile(changes, &field, faults))
        }
        Written::Redirect(redirect) => {
            Filter::Redirect(redirect::compile(redirect, &field, place.prefix, faults))
        }
        Written::Rewrite(rewrite) => {
            Filter::Rewrite(rewrite::compile(rewrite, &field, place.prefix, faults))
        }
        Written::Mirror(mirror) => {
            let service = service::of(
                &mirror.backend_ref,
                place.list.mirror(at),
                &place.object.namespace,
            );
            Filter::Mirror(mirror::compile(mirror, &field, service, faults))
        }
        Written::Cors(cors) => Filter::Cors(cors::compile(cors, &field, faults)),
        Written::ExternalAuth(auth) => {
            let named = place.list.external_auth(at);
            let service = service::of(auth.backend_ref, named, &place.object.namespace);
            Filter::ExternalAuth(external_auth::compile(auth, &field, service, faults))
        }
        Written::Compression(compression) => {
            Filter::Compression(compression::compile(compression, &field, faults))
        }
        Written::IpFilter(filter) => Filter::IpFilter(ip_filter::compile(filter, &field, faults)),
        Written::RateLimit(limit) => {
            Filter::RateLimit(Box::new(rate_limit::compile(limit, &field, id(), faults)))
        }
        Written::Concurrency(limit) => {
            Filter::Concurrency(Box::new(concurrency::compile(limit, &field, id(), faults)))
        }
        Written::BodySize(limit) => Filter::BodySize(body_size::compile(limit, &field, faults)),
        Written::Bandwidth(limit) => {
            Filter::Bandwidth(Box::new(bandwidth::compile(limit, &field, id(), faults)))
        }
        Written::Cache(cache) => {
            let compiled = cache::compile(cache, &field, id(), place.purge, faults);
            Filter::Cache(Box::new(compiled))
        }
        Written::Respond(respond) => Filter::Respond(respond::compile(respond, &field, faults)),
        Written::ErrorPages(pages) => {
            let named = place.list.error_pages(at);
            let reference = pages.backend_ref.as_ref();
            let service = reference.map(|it| service::of(it, named, &place.object.namespace));
            let pages = error_pages::compile(pages, &field, service, faults);
            Filter::ErrorPages(Arc::new(pages))
        }
        Written::Faults(written) => Filter::Faults(faults::compile(written, &field, faults)),
        Written::AccessLog(log) => {
            Filter::AccessLog(Arc::new(access_log::compile(log, &field, faults)))
        }
        Written::RequestBuffering(buffering) => {
            Filter::RequestBuffering(request_buffering::compile(buffering, &field, faults))
        }
        Written::BasicAuth(auth) => {
            let namespace = &place.object.namespace;
            Filter::BasicAuth(Arc::new(basic_auth::compile(
                auth, &field, namespace, faults,
            )))
        }
        Written::ApiKey(auth) => {
            let namespace = &place.object.namespace;
            Filter::ApiKey(Arc::new(api_key::compile(auth, &field, namespace, faults)))
        }
        Written::Jwt(jwt) => {
            let namespace = &place.object.namespace;
            Filter::Jwt(Arc::new(jwt::compile(jwt, &field, namespace, faults)))
        }
        Written::ClientCertificate(it) => {
            let namespace = &place.object.namespace;
            let compiled = client_certificate::compile(it, &field, namespace, faults);
            Filter::ClientCertificate(Arc::new(compiled))
        }
        Written::Oidc(oidc) => {
            let namespace = &place.object.namespace;
            Filter::Oidc(Arc::new(oidc::compile(oidc, &field, namespace, faults)))
        }
    }
}

impl Written<'_> {
    /// Whether it says who may pass.
    fn is_guard(self) -> bool {
        matches!(
            self,
            Self::ExternalAuth(_)
                | Self::IpFilter(_)
                | Self::BasicAuth(_)
                | Self::ApiKey(_)
                | Self::Jwt(_)
                | Self::ClientCertificate(_)
                | Self::Oidc(_)
        )
    }

    /// The field that holds what the filter does.
    fn name(self) -> &'static str {
        match self {
            Self::RequestHeaders(_) => "requestHeaderModifier",
            Self::ResponseHeaders(_) => "responseHeaderModifier",
            Self::Redirect(_) => "requestRedirect",
            Self::Rewrite(_) => "urlRewrite",
            Self::Mirror(_) => "requestMirror",
            Self::Cors(_) => "cors",
            Self::ExternalAuth(_) => "externalAuth",
            Self::Compression(_) => "compression",
            Self::IpFilter(_) => "ipFilter",
            Self::RateLimit(_) => "rateLimit",
            Self::Concurrency(_) => "concurrency",
            Self::BodySize(_) => "bodySize",
            Self::Bandwidth(_) => "bandwidth",
            Self::Cache(_) => "cache",
            Self::Respond(_) => "respond",
            Self::ErrorPages(_) => "errorPages",
            Self::Faults(_) => "faults",
            Self::AccessLog(_) => "accessLog",
            Self::RequestBuffering(_) => "requestBuffering",
            Self::BasicAuth(_) => "basicAuth",
            Self::ApiKey(_) => "apiKey",
            Self::Jwt(_) => "jwt",
            Self::ClientCertificate(_) => "clientCertificate",
            Self::Oidc(_) => "oidc",
        }
    }
}

/// What an item of a route of the Gateway API is by its type.
fn item<'w>(
    filter: &'w HttpRouteFilter,
    at: usize,
    place: Place<'_>,
    faults: &mut Faults,
) -> Option<Item<'w>> {
    let field = place.list.item(at);
    match filter.kind.as_str() {
        "ExtensionRef" => extension(filter, field, place, faults).map(Item::Named),
        _ => written(filter, field, place.list, faults).map(Item::Own),
    }
}

/// The Filter that an item refers to, of the route's namespace (`LocalObjectReference`).
fn extension(
    filter: &HttpRouteFilter,
    field: Field,
    place: Place<'_>,
    faults: &mut Faults,
) -> Option<ObjectName> {
    let Some(reference) = &filter.extension_ref else {
        let message = "a filter of type ExtensionRef needs `extensionRef`";
        faults.add(Reason::InvalidSpec, field.to_string(), message);
        return None;
    };
    let refused = match (reference.group.as_str(), reference.kind.as_str()) {
        ("ferrix.com", "Filter") if !place.list.is_of_backend() => {
            return Some(shared_name(&place.object.namespace, &reference.name));
        }
        ("ferrix.com", "Filter") => {
            "a Filter can be named by a rule, and not by one of its backends".to_owned()
        }
        (group, kind) => {
            format!("`{kind}` of group `{group}` is no filter; expected a Filter of `ferrix.com`")
        }
    };
    let field = format!("{field}.extensionRef");
    faults.add(Reason::UnsupportedValue, field, refused);
    None
}

/// What a filter is by its type.
fn written<'w>(
    filter: &'w HttpRouteFilter,
    field: Field,
    list: List,
    faults: &mut Faults,
) -> Option<Written<'w>> {
    let grpc = list.is_grpc();
    let written = match filter.kind.as_str() {
        "RequestHeaderModifier" => filter
            .request_header_modifier
            .as_ref()
            .map(Written::RequestHeaders)
            .ok_or("requestHeaderModifier"),
        "ResponseHeaderModifier" => filter
            .response_header_modifier
            .as_ref()
            .map(Written::ResponseHeaders)
            .ok_or("responseHeaderModifier"),
        "RequestMirror" => (filter.request_mirror.as_ref())
            .map(Written::Mirror)
            .ok_or("requestMirror"),
        "RequestRedirect" if !grpc => (filter.request_redirect.as_ref())
            .map(|it| Written::Redirect(it.into()))
            .ok_or("requestRedirect"),
        "URLRewrite" if !grpc => (filter.url_rewrite.as_ref())
            .map(|it| Written::Rewrite(it.into()))
            .ok_or("urlRewrite"),
        "CORS" if !grpc => filter.cors.as_ref().map(Written::Cors).ok_or("cors"),
        "ExternalAuth" if !grpc => (filter.external_auth.as_ref())
            .map(|it| Written::ExternalAuth(it.into()))
            .ok_or("externalAuth"),
        other => {
            let known = match grpc {
                true => {
                    "RequestHeaderModifier, ResponseHeaderModifier, RequestMirror or ExtensionRef"
                }
                false => {
                    "RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, \
                     URLRewrite, CORS, ExternalAuth or ExtensionRef"
                }
            };
            let message = format!("`{other}` is no type of filter here; expected {known}");
            faults.add(Reason::UnsupportedValue, format!("{field}.type"), message);
            return None;
        }
    };
    let missing = |name: &str| {
        let message = format!("a filter of type {} needs `{name}`", filter.kind);
        faults.add(Reason::InvalidSpec, field.to_string(), message);
    };
    written.map_err(missing).ok()
}

/// Only some may be repeated, and what redirects every request forwards nothing that could be rewritten. What
/// a Filter does that is named comes besides.
fn refuse_combinations(items: &[(usize, Item<'_>)], place: Place<'_>, faults: &mut Faults) {
    let own = items
        .iter()
        .filter_map(|(at, item)| Some((*at, item.own()?)));
    let filters: Vec<_> = own.collect();
    for (nth, (at, filter)) in filters.iter().enumerate() {
        let name = filter.name();
        for (_, earlier) in &filters[..nth] {
            let message = match (earlier, filter) {
                _ if earlier.name() == name && REPEATED.contains(&name) => continue,
                _ if earlier.name() == name => format!("`{name}` may stand in a list once"),
                (Written::Redirect(redirect), Written::Rewrite(_))
                | (Written::Rewrite(_), Written::Redirect(redirect))
                    if !redirect.is_conditional() =>
                {
                    format!("`{}` and `{name}` exclude each other", earlier.name())
                }
                (Written::Rewrite(_), Written::Oidc(_)) => {
                    "`oidc` stands behind `urlRewrite`, and would not know its own paths".to_owned()
                }
                (Written::Cache(_), guard) if guard.is_guard() => {
                    format!("`{name}` stands behind `cache`, which answers without asking it")
                }
                _ => continue,
            };
            let field = place.list.item(*at).to_string();
            faults.add(Reason::IncompatibleFilters, field, message);
            break;
        }
    }
}

/// Whether a name is a token of RFC 9110, section 5.6.2.
pub(crate) fn is_token(name: &str) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || special.contains(&byte);
    !name.is_empty() && name.bytes().all(fits)
}

#[cfg(test)]
mod tests;
