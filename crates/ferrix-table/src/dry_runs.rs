//! Rules that serve nothing: it is counted what they would serve.
//!
//! They stand in the order where they would, and are not in the index that finds the rule of a request. There
//! are few, each for some hosts, and they are read one by one.

use std::sync::Arc;

use crate::{
    Request,
    filters::lasting::Lasting,
    host_map::HostMap,
    ids::EntryPointIndex,
    rules::{Rule, domains, parent_domain},
    state::Counter,
};

/// What a rule would have served.
pub type DryRun = Lasting<Counter>;

/// The dry runs of a set of rules, by the hosts of their routes. Each list is in the total order.
#[derive(Debug)]
pub(crate) struct DryRuns(HostMap<Vec<Arc<Rule>>>);

impl DryRuns {
    /// Those among rules in their total order. `None`: there are none.
    pub(crate) fn of(rules: &[Arc<Rule>]) -> Option<Arc<DryRuns>> {
        let mut hosts: HostMap<Vec<Arc<Rule>>> = HostMap::default();
        for rule in rules.iter().filter(|rule| rule.is_dry_run()) {
            hosts.or_default(&rule.host).push(Arc::clone(rule));
        }
        let some = hosts.values().next().is_some();
        some.then(|| Arc::new(DryRuns(hosts)))
    }

    /// Those that would serve a request in the place of the rule that does.
    pub(crate) fn before<'r>(
        &'r self,
        winner: Option<&Rule>,
        entry_point: EntryPointIndex,
        request: &Request<'_>,
    ) -> impl Iterator<Item = &'r Rule> {
        let rules = self.of_host(request.host);
        rules.filter(move |rule| {
            winner.is_none_or(|winner| rule.precedence(winner).is_lt())
                && rule.takes(entry_point, request)
        })
    }

    /// The most exact host first, and so in the total order.
    fn of_host<'r>(&'r self, host: &str) -> impl Iterator<Item = &'r Rule> {
        let HostMap {
            exact,
            wildcard,
            below,
            any,
        } = &self.0;
        let wildcard = parent_domain(host).and_then(|domain| wildcard.get(domain));
        let below = domains(host).filter_map(move |domain| below.get(domain));
        let lists = exact.get(host).into_iter().chain(wildcard).chain(below);
        lists.chain(any).flatten().map(|rule| &**rule)
    }
}
