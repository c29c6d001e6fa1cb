//! The cache of a rule at work: requests that it answers, and responses that are fetched for it.

use std::sync::Arc;

use bytes::Bytes;
use ferrix_http1::{Framing, RequestHead, ResponseHead};
use ferrix_table::{
    Table,
    filters::{Filter, bandwidth::Direction, cache::Cache},
    ids::ServiceIndex,
    rules::Rule,
    services::Service,
};
use http::StatusCode;
use tokio::time::{Duration, timeout};

use super::Exchange;
use crate::{
    Engine,
    failure::{Failure, Fault},
    filters::{
        self, Applied, Arrival,
        cache::{self, Fetch, Forward, Invalidation, LookedUp, Question},
        error_pages::Passed,
    },
    headers,
    relay::Relay,
    route,
    subrequest::{self, Subrequest},
};

/// What is fetched anew while nobody waits for it may take this long.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a request is among the filters of its rule when it comes to a cache.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) rule: &'p Rule,
    /// The cache.
    pub(super) filter: &'p Filter,
    pub(super) table: &'p Table,
    pub(super) arrival: &'p Arrival,
}

impl<'p> Place<'p> {
    /// The filters behind the cache.
    fn behind(self) -> impl Iterator<Item = &'p Filter> {
        let all = self.rule.policy.iter().flat_map(|policy| policy.filters());
        all.skip_while(move |it| !std::ptr::eq(*it, self.filter))
            .skip(1)
    }

    /// Whether a filter behind the cache says who may have an answer, and so has to see each request.
    fn is_guarded(self) -> bool {
        let all = self.rule.filters();
        let mut behind = all.skip_while(move |it| !std::ptr::eq(*it, self.filter));
        behind.any(Filter::is_guard)
    }
}

impl Exchange<'_, '_> {
    /// The answer of a cache. `None`: the request goes on, and its answer may be kept.
    pub(super) async fn consult(
        &mut self,
        cache: &Cache,
        place: Place<'_>,
        head: &mut RequestHead,
        body: Framing,
        applied: &mut Applied,
    ) -> Option<(ResponseHead, Bytes)> {
        if applied.fetch.is_some() || applied.bypass.is_some() {
            // The first cache has the request.
            return None;
        }
        let counters = &self.engine.counters.cache;
        if place.is_guarded() {
            counters.bypasses.add(1);
            applied.bypass = Some(Forward::Bypass);
            return None;
        }
        let question = match Question::of(cache, head, body, place.arrival, place.rule) {
            Ok(question) if applied.authenticated => question.authenticated(),
            Ok(question) => question,
            Err(bypass) => {
                counters.bypasses.add(1);
                applied.bypass = Some(bypass);
                applied.invalidation = Invalidation::of(cache, head, place.arrival, place.rule);
                return None;
            }
        };
        let (mut alone, mut waited) = (false, false);
        loop {
            match question.look_up(&head.fields, alone) {
                LookedUp::Fresh(stored) => {
                    counters.hits.add(1);
                    self.note_behind(place, head, applied);
                    let how = if waited { "hit; collapsed" } else { "hit" };
                    return Some(cache::answer(&stored, &head.fields, how));
                }
                LookedUp::Stale(stored, fetch) => {
                    counters.stale.add(1);
                    self.note_behind(place, head, applied);
                    let renewal = fetch.and_then(|fetch| Renewal::of(fetch, place, head));
                    if let Some(renewal) = renewal {
                        tokio::spawn(renewal.run(self.engine.clone()));
                    }
                    return Some(cache::answer(&stored, &head.fields, "hit"));
                }
                LookedUp::Wait(flight) => {
                    // Who has waited twice has waited for long enough.
                    alone = flight.is_in_vain().await || waited;
                    waited = true;
                }
                LookedUp::Fetch(fetch) => {
                    counters.misses.add(1);
                    fetch.prepare(head);
                    applied.fetch = Some(fetch);
                    return None;
                }
                LookedUp::Nothing(bypass) => {
                    counters.bypasses.add(1);
                    applied.bypass = Some(bypass);
                    return None;
                }
                LookedUp::OnlyIfCached => {
                    counters.misses.add(1);
                    let mut head = ResponseHead::new(StatusCode::GATEWAY_TIMEOUT);
                    Forward::Miss.tell(&mut head);
                    return Some((head, Bytes::new()));
                }
            }
        }
    }

    /// Takes note of what filters behind a cache have to do with its answer.
    fn note_behind(&mut self, place: Place<'_>, head: &RequestHead, applied: &mut Applied) {
        for filter in place.behind() {
            applied.note(filter, head);
            match filter {
                Filter::Bandwidth(limit) => {
                    self.shape(limit, Direction::Response, head, applied);
                }
                Filter::AccessLog(log) => self.log(log, head, applied),
                Filter::ErrorPages(pages) => {
                    applied.error_pages.push(Passed::new(pages, place.table));
                }
                _ => {}
            }
        }
    }

    /// What a cache has in the place of a response that no backend has given.
    pub(super) fn stands_in(
        &self,
        relay: &mut Relay<'_>,
        failure: &Failure,
    ) -> Option<(ResponseHead, Bytes)> {
        let fetch = relay.fetch.take()?;
        let unanswered = self.client.status.is_none() && failure.fault() == Fault::Upstream;
        fetch.on_failure().filter(|_| unanswered)
    }
}

/// A response that is fetched anew while nobody waits for it.
struct Renewal {
    fetch: Box<Fetch>,
    service: Arc<Service>,
    index: ServiceIndex,
    head: RequestHead,
}

impl Renewal {
    /// `None`: a filter behind the cache may have to see the request, or nobody is there to answer it. Then
    /// it is fetched anew once it may no longer be used.
    fn of(fetch: Box<Fetch>, place: Place<'_>, head: &RequestHead) -> Option<Self> {
        let destination = route::split(place.rule).ok()?.choose();
        let (index, service) = route::service(place.table, destination).ok()?;
        let mut head = head.clone();
        fetch.prepare(&mut head);
        let of_share = destination
            .filters
            .iter()
            .flat_map(|filters| filters.iter());
        for filter in place.behind().chain(of_share) {
            let only_changes = matches!(
                filter,
                Filter::RequestHeaders(_)
                    | Filter::ResponseHeaders(_)
                    | Filter::Rewrite(_)
                    | Filter::Cors(_)
                    | Filter::Compression(_)
                    | Filter::Bandwidth(_)
                    | Filter::AccessLog(_)
                    | Filter::ErrorPages(_)
            );
            if !only_changes
                || filters::on_request(filter, &mut head, place.arrival)
                    .ok()?
                    .is_some()
            {
                return None;
            }
        }
        headers::settle_connection(&mut head.fields, false);
        Some(Self {
            fetch,
            service: Arc::clone(service),
            index,
            head,
        })
    }

    async fn run(self, engine: Engine) {
        let Self {
            fetch,
            service,
            index,
            head,
        } = self;
        let request = Subrequest {
            service: &service,
            index,
            head: &head,
            body: Bytes::new(),
            wanted: fetch.wanted(),
            whole: false,
        };
        let answered = timeout(LIMIT, subrequest::exchange(&engine, &request)).await;
        if let Ok(Ok(reply)) = answered {
            cache::keep_whole(*fetch, reply.head, &reply.body);
        }
    }
}
