//! The policy of a rule of an IngressRoute: what its `filters`, `timeouts` and `retry` mean, and how they
//! are written. Lists of filters are the same in a Filter.

use std::sync::Arc;

use ferrix_api::ingressroute::{RouteFilter, RouteRule};
use ferrix_rule::PathConstraint;
use ferrix_table::{filters::Filter, policy::Policy};

use crate::{
    draft::{DraftFilters, DraftPolicy, DraftService, FilterReference, own_filters},
    field::Field,
    filters::{Faults, Item, List, Owner, Place, Written, compile_items, named, policy, written},
    objects::ObjectName,
    report::{Finding, Reason},
};

/// Compiles what a rule asks for beyond forwarding. `of_route`: the filters of all rules, which come first.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn compile(
    of_route: &[RouteFilter],
    rule: &RouteRule,
    position: usize,
    owner: Owner<'_>,
    matches: Option<&ferrix_rule::Rule>,
) -> Result<Option<Arc<DraftPolicy>>, Vec<Finding>> {
    let field = format!("spec.route.rules[{position}]");
    let prefix = prefix(matches);
    let place = |list| Place {
        list,
        object: owner.key,
        prefix: prefix.as_deref(),
        purge: owner.purge,
    };
    let mut faults = Faults::default();
    let own = rule.filters.as_deref().unwrap_or_default();
    let lists = [(of_route, List::Route), (own, List::RouteRule(position))];
    let lists = lists.map(|(filters, list)| self::lists(filters, place(list), &mut faults));
    let without = without(rule, position, &owner.key.namespace);
    let timeouts = rule.timeouts.as_ref();
    let retry = rule.retry.as_ref();
    let policy = Policy {
        lists: lists.into_iter().flatten().chain(without).collect(),
        timeouts: timeouts
            .map(|it| policy::timeouts(it, &format!("{field}.timeouts"), &mut faults))
            .unwrap_or_default(),
        retry: retry.map(|it| policy::retry(it, &format!("{field}.retry"), &mut faults)),
        session: None,
        body_bytes: None,
    };
    refuse_services(&policy, &mut faults);
    faults.or((!policy.is_empty()).then(|| Arc::new(policy)))
}

/// The Filters from above that requests of a rule do not pass.
fn without<'r>(
    rule: &'r RouteRule,
    position: usize,
    namespace: &'r str,
) -> impl Iterator<Item = DraftFilters> + 'r {
    let names = rule.without.iter().flatten().enumerate();
    names.map(move |(place, name)| {
        DraftFilters::Without(FilterReference {
            field: Field::new("spec.route.rules[].without[]", [position, place]),
            filter: named(name, namespace),
        })
    })
}

/// Compiles a list of filters.
pub(crate) fn lists(
    filters: &[RouteFilter],
    place: Place<'_>,
    faults: &mut Faults,
) -> Box<[DraftFilters]> {
    let mut items = Vec::with_capacity(filters.len());
    for (at, filter) in filters.iter().enumerate() {
        match only(filter, &place.object.namespace) {
            Some(item) => items.push((at, item)),
            None => {
                let message =
                    "expected exactly one filter, such as `requestHeaderModifier`, in an item";
                let field = place.list.item(at).to_string();
                faults.add(Reason::InvalidSpec, field, message);
            }
        }
    }
    compile_items(&items, place, faults)
}

/// Whether a filter may answer every request, so that none goes on: whether one does that is named, is found
/// out when it is looked for.
pub(super) fn may_answer(policy: &DraftPolicy) -> bool {
    let is_named = |list: &DraftFilters| list.named().is_some();
    policy.lists.iter().any(is_named) || own_filters(policy).any(Filter::answers)
}

/// A service that can be none is no more good here than any other fault.
pub(crate) fn refuse_services(policy: &DraftPolicy, faults: &mut Faults) {
    let services = own_filters(policy).filter_map(Filter::service);
    faults.extend(services.filter_map(|it| it.as_ref().err().cloned()));
}

/// The prefix that all paths have which a rule matches, where it asks for one and no more.
fn prefix(matches: Option<&ferrix_rule::Rule>) -> Option<String> {
    let Some(matches) = matches else {
        return Some("/".to_owned());
    };
    match matches.constraints().paths?.as_slice() {
        [PathConstraint::Prefix(prefix)] => Some(prefix.clone()),
        _ => None,
    }
}

/// The one filter of an item.
fn only<'w>(filter: &'w RouteFilter, namespace: &str) -> Option<Item<'w>> {
    // A filter that is new belongs in here.
    let RouteFilter {
        request_header_modifier,
        response_header_modifier,
        request_mirror,
        request_redirect,
        url_rewrite,
        cors,
        external_auth,
        compression,
        ip_filter,
        rate_limit,
        concurrency,
        body_size,
        bandwidth,
        respond,
        error_pages,
        faults,
        access_log,
        request_buffering,
        basic_auth,
        api_key,
        jwt,
        client_certificate,
        oidc,
        filter,
        cache,
    } = filter;
    let own = [
        (request_header_modifier.as_ref()).map(Written::RequestHeaders),
        (response_header_modifier.as_ref()).map(Written::ResponseHeaders),
        request_mirror.as_ref().map(Written::Mirror),
        (request_redirect.as_ref()).map(|it| Written::Redirect(it.into())),
        (url_rewrite.as_ref()).map(|it| Written::Rewrite(it.into())),
        cors.as_ref().map(Written::Cors),
        (external_auth.as_ref()).map(|it| Written::ExternalAuth(it.into())),
        compression.as_ref().map(Written::Compression),
        ip_filter.as_ref().map(Written::IpFilter),
        rate_limit.as_ref().map(Written::RateLimit),
        concurrency.as_ref().map(Written::Concurrency),
        body_size.as_ref().map(Written::BodySize),
        bandwidth.as_ref().map(Written::Bandwidth),
        cache.as_ref().map(Written::Cache),
        respond.as_ref().map(Written::Respond),
        error_pages.as_ref().map(Written::ErrorPages),
        faults.as_ref().map(Written::Faults),
        access_log.as_ref().map(Written::AccessLog),
        (request_buffering.as_ref()).map(Written::RequestBuffering),
        basic_auth.as_ref().map(Written::BasicAuth),
        api_key.as_ref().map(Written::ApiKey),
        jwt.as_ref().map(Written::Jwt),
        (client_certificate.as_ref()).map(Written::ClientCertificate),
        oidc.as_ref().map(Written::Oidc),
    ];
    let own = own.into_iter().flatten().map(Item::Own);
    let named = (filter.iter()).map(|name| Item::Named(named(name, namespace)));
    let mut all = own.chain(named);
    let only = all.next()?;
    all.next().is_none().then_some(only)
}

/// Writes a policy back into a rule; it is one that [`compile`] has made.
pub(super) fn write(policy: &DraftPolicy, own_namespace: &str, rule: &mut RouteRule) {
    // A field that is new belongs in here, or has to be seen not to.
    let Policy {
        lists,
        timeouts,
        retry,
        session: _,
        body_bytes: _,
    } = policy;
    let lists = lists.iter().filter(|list| !is_of_route(list));
    rule.filters = some(written_lists(lists.clone(), own_namespace));
    let without = lists.filter_map(|list| match list {
        DraftFilters::Without(reference) => Some(text(&reference.filter, own_namespace)),
        DraftFilters::Own(..) | DraftFilters::Named(_) => None,
    });
    rule.without = some(without.collect());
    rule.timeouts = written::timeouts(timeouts);
    rule.retry = retry.as_ref().map(written::retry);
}

/// The filters of all rules, from the policy of any of them.
pub(super) fn write_of_route(
    policy: &DraftPolicy,
    own_namespace: &str,
) -> Option<Vec<RouteFilter>> {
    let lists = policy.lists.iter().filter(|list| is_of_route(list));
    some(written_lists(lists, own_namespace))
}

fn is_of_route(list: &DraftFilters) -> bool {
    list.field().path() == List::Route.item(0).path()
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// Lists of filters as they are written.
pub(crate) fn written_lists<'l>(
    lists: impl IntoIterator<Item = &'l DraftFilters>,
    own_namespace: &str,
) -> Vec<RouteFilter> {
    let items = lists.into_iter().flat_map(|list| match list {
        DraftFilters::Own(_, filters) => {
            let items = filters.iter().map(|it| item(it, own_namespace));
            items.collect::<Vec<_>>()
        }
        DraftFilters::Named(reference) => vec![RouteFilter {
            filter: Some(text(&reference.filter, own_namespace)),
            ..RouteFilter::default()
        }],
        DraftFilters::Without(_) => Vec::new(),
    });
    items.collect()
}

/// How an object of a namespace names a Filter: see [`named`].
fn text(filter: &ObjectName, own_namespace: &str) -> String {
    match *filter.namespace == *own_namespace {
        true => filter.name.to_string(),
        false => filter.to_string(),
    }
}

fn item(filter: &Filter<DraftService>, own_namespace: &str) -> RouteFilter {
    let mut item = RouteFilter::default();
    match filter {
        Filter::RequestHeaders(changes) => {
            item.request_header_modifier = Some(written::header_changes(changes));
        }
        Filter::ResponseHeaders(changes) => {
            item.response_header_modifier = Some(written::header_changes(changes));
        }
        Filter::Redirect(redirect) => item.request_redirect = Some(written::redirect(redirect)),
        Filter::Rewrite(rewrite) => item.url_rewrite = Some(written::rewrite(rewrite)),
        Filter::Mirror(mirror) => {
            item.request_mirror = Some(written::mirror(mirror, own_namespace));
        }
        Filter::Cors(cors) => item.cors = Some(written::cors(cors)),
        Filter::ExternalAuth(auth) => {
            item.external_auth = Some(written::external_auth(auth, own_namespace));
        }
        Filter::Compression(compression) => {
            item.compression = Some(written::compression(compression));
        }
        Filter::IpFilter(filter) => item.ip_filter = Some(written::ip_filter(filter)),
        Filter::RateLimit(limit) => item.rate_limit = Some(written::rate_limit(limit)),
        Filter::Concurrency(limit) => item.concurrency = Some(written::concurrency(limit)),
        Filter::BodySize(limit) => item.body_size = Some(written::body_size(limit)),
        Filter::Bandwidth(limit) => item.bandwidth = Some(written::bandwidth(limit)),
        Filter::Cache(cache) => item.cache = Some(written::cache(cache)),
        Filter::Respond(respond) => item.respond = Some(written::respond(respond)),
        Filter::ErrorPages(pages) => {
            item.error_pages = Some(written::error_pages(pages, own_namespace));
        }
        Filter::Faults(faults) => item.faults = Some(written::faults(faults)),
        Filter::AccessLog(log) => item.access_log = Some(written::access_log(log)),
        Filter::RequestBuffering(buffering) => {
            item.request_buffering = Some(written::request_buffering(buffering));
        }
        Filter::BasicAuth(auth) => item.basic_auth = Some(written::basic_auth(auth)),
        Filter::ApiKey(auth) => item.api_key = Some(written::api_key(auth)),
        Filter::Jwt(jwt) => item.jwt = Some(written::jwt(jwt)),
        Filter::ClientCertificate(it) => {
            item.client_certificate = Some(written::client_certificate(it));
        }
        Filter::Oidc(oidc) => item.oidc = Some(written::oidc(oidc)),
    }
    item
}
