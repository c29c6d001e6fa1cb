//! Rules that serve nothing: it is counted what they would serve.
//!
//! They stand in the order where they would, and are not in the index that finds the rule of a request. There
//! are few, each for some hosts, and they are read one by one.

use std::sync::Arc;

use crate::{
    Request, filters::lasting::Lasting, host_map::HostMap, ids::EntryPointIndex, rules::Rule,
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
        // The most exact host first, and so in the total order.
        let rules = self.0.all(Some(request.host)).flatten();
        rules.map(|rule| &**rule).filter(move |rule| {
            winner.is_none_or(|winner| rule.precedence(winner).is_lt())
                && rule.takes(entry_point, request)
        })
    }
}
