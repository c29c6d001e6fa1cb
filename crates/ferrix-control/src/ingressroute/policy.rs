//! The policy of a rule of an IngressRoute: what its `filters`, `timeouts` and `retry` mean, and how they
//! are written.

use std::sync::Arc;

use ferrix_api::ingressroute::{RouteFilter, RouteRule};
use ferrix_rule::PathConstraint;
use ferrix_table::{filters::Filter, object::Key, policy::Policy};

use crate::{
    draft::DraftService,
    filters::{Faults, List, Place, Written, compile_written, policy, written},
    report::{Finding, Reason},
};

/// Compiles what a rule asks for beyond forwarding.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn compile(
    rule: &RouteRule,
    position: usize,
    object: &Key,
    matches: Option<&ferrix_rule::Rule>,
) -> Result<Option<Arc<Policy<DraftService>>>, Vec<Finding>> {
    let field = format!("spec.route.rules[{position}]");
    let prefix = prefix(matches);
    let place = Place {
        list: List::RouteRule(position),
        object,
        prefix: prefix.as_deref(),
    };
    let mut faults = Faults::default();
    let mut filters = Vec::new();
    for (at, filter) in rule.filters.iter().flatten().enumerate() {
        match only(filter) {
            Some(written) => filters.push((at, written)),
            None => {
                let message =
                    "expected exactly one filter, such as `requestHeaderModifier`, in an item";
                faults.add(
                    Reason::InvalidSpec,
                    place.list.item(at).to_string(),
                    message,
                );
            }
        }
    }
    let timeouts = rule.timeouts.as_ref();
    let retry = rule.retry.as_ref();
    let policy = Policy {
        filters: compile_written(&filters, place, &mut faults),
        timeouts: timeouts
            .map(|it| policy::timeouts(it, &format!("{field}.timeouts"), &mut faults))
            .unwrap_or_default(),
        retry: retry.map(|it| policy::retry(it, &format!("{field}.retry"), &mut faults)),
        session: None,
        body_bytes: None,
    };
    // A service that can be none is no more good here than any other fault.
    let services = policy.filters.iter().filter_map(Filter::service);
    faults.extend(services.filter_map(|it| it.as_ref().err().cloned()));
    faults.or((!policy.is_empty()).then(|| Arc::new(policy)))
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
fn only(filter: &RouteFilter) -> Option<Written<'_>> {
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
    } = filter;
    let all = [
        (request_header_modifier.as_ref()).map(Written::RequestHeaders),
        (response_header_modifier.as_ref()).map(Written::ResponseHeaders),
        request_mirror.as_ref().map(Written::Mirror),
        request_redirect.as_ref().map(Written::Redirect),
        url_rewrite.as_ref().map(Written::Rewrite),
        cors.as_ref().map(Written::Cors),
        external_auth.as_ref().map(Written::ExternalAuth),
        compression.as_ref().map(Written::Compression),
        ip_filter.as_ref().map(Written::IpFilter),
        rate_limit.as_ref().map(Written::RateLimit),
        concurrency.as_ref().map(Written::Concurrency),
        body_size.as_ref().map(Written::BodySize),
    ];
    let mut named = all.into_iter().flatten();
    let only = named.next()?;
    named.next().is_none().then_some(only)
}

/// Writes a policy back into a rule; it is one that [`compile`] has made.
pub(super) fn write(policy: &Policy<DraftService>, own_namespace: &str, rule: &mut RouteRule) {
    // A field that is new belongs in here, or has to be seen not to.
    let Policy {
        filters,
        timeouts,
        retry,
        session: _,
        body_bytes: _,
    } = policy;
    let items = filters.iter().map(|it| item(it, own_namespace));
    rule.filters = (!filters.is_empty()).then(|| items.collect());
    rule.timeouts = written::timeouts(timeouts);
    rule.retry = retry.as_ref().map(written::retry);
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
    }
    item
}
