//! All rules together: the set that requests look up.

use std::sync::Arc;

use crate::{
    Request,
    certificate_hosts::{self, CertificateHosts},
    dry_runs::DryRuns,
    ids::EntryPointIndex,
    index::Index,
    rules::Rule,
};

/// All rules in their total order, with the index that finds those that serve. Immutable: a changed set is
/// derived from an earlier one and shares with it all that the change does not touch.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    index: Index,
    dry_runs: Option<Arc<DryRuns>>,
    certificate_hosts: Option<Arc<CertificateHosts>>,
}

impl RuleSet {
    /// Sorts and indexes rules. Any permutation of them gives the same set.
    pub fn new(rules: Vec<Rule>) -> RuleSet {
        let rules: Vec<_> = rules.into_iter().map(Arc::new).collect();
        RuleSet::default().with(&[], &rules)
    }

    /// The same set without some of its rules, known by their place in the order, and with others.
    /// The work is in proportion to the rules of the hosts that they are for, but for copies of
    /// pointers.
    #[must_use]
    pub fn with(&self, gone: &[Arc<Rule>], fresh: &[Arc<Rule>]) -> RuleSet {
        let find = |rule: &Arc<Rule>| self.rules.binary_search_by(|it| it.precedence(rule));
        let gone = gone.iter().filter_map(|rule| find(rule).ok());
        let gone: Vec<_> = gone.map(|place| Arc::clone(&self.rules[place])).collect();
        let rules = merged(&self.rules, &gone, fresh);
        let dry_runs = match gone.iter().chain(fresh).any(|rule| rule.is_dry_run()) {
            true => DryRuns::of(&rules),
            false => self.dry_runs.clone(),
        };
        let mut touched = gone.iter().chain(fresh);
        let certificate_hosts = match touched.any(|rule| certificate_hosts::asks(rule)) {
            true => CertificateHosts::of(&rules),
            false => self.certificate_hosts.clone(),
        };
        RuleSet {
            index: self.index.with(&gone, fresh),
            rules,
            dry_runs,
            certificate_hosts,
        }
    }

    /// The rule that serves a request: of all that take it, the first in the total order.
    ///
    /// Takes no lock and allocates nothing. The work is in proportion to the rules that the host
    /// and the path leave, not to the number of rules.
    pub fn lookup(&self, entry_point: EntryPointIndex, request: &Request<'_>) -> Option<&Rule> {
        self.index.lookup(entry_point, request)
    }

    /// Whether TLS asks clients for a certificate that name this host, in canonical form, or none. Where no rule
    /// wants any, that costs nothing.
    pub fn ask_for_certificates(&self, entry_point: EntryPointIndex, host: Option<&str>) -> bool {
        let hosts = self.certificate_hosts.as_ref();
        hosts.is_some_and(|hosts| hosts.ask(entry_point, host))
    }

    /// The dry runs that would serve a request in the place of the rule that does, each by itself: those that
    /// take it and come before that. Where there is none for the host, that costs looking it up; where there
    /// is none at all, nothing.
    pub fn dry_runs<'r>(
        &'r self,
        entry_point: EntryPointIndex,
        request: &Request<'_>,
        winner: Option<&Rule>,
    ) -> impl Iterator<Item = &'r Rule> {
        let dry_runs = self.dry_runs.iter();
        dry_runs.flat_map(move |it| it.before(winner, entry_point, request))
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// All rules, the first to win first.
    pub fn iter(&self) -> Rules<'_> {
        let rule: fn(&Arc<Rule>) -> &Rule = |rule| rule;
        self.rules.iter().map(rule)
    }

    /// The same, as sets share them.
    pub fn shared(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Rules in their order, without those that go and with those that come.
fn merged(rules: &[Arc<Rule>], gone: &[Arc<Rule>], fresh: &[Arc<Rule>]) -> Vec<Arc<Rule>> {
    let mut edits: Vec<_> = (gone.iter().map(|rule| (rule, false)))
        .chain(fresh.iter().map(|rule| (rule, true)))
        .collect();
    edits.sort_by(|(one, _), (other, _)| one.precedence(other));
    let mut merged = Vec::with_capacity(rules.len() + fresh.len());
    let mut rest = rules;
    for (rule, comes) in edits {
        let (before, after) = rest.split_at(rest.partition_point(|it| it.precedence(rule).is_lt()));
        merged.extend_from_slice(before);
        rest = after;
        match comes {
            true => merged.push(Arc::clone(rule)),
            false => rest = rest.get(1..).unwrap_or_default(),
        }
    }
    merged.extend_from_slice(rest);
    merged
}

/// Rules in their total order.
pub type Rules<'a> = std::iter::Map<std::slice::Iter<'a, Arc<Rule>>, fn(&'a Arc<Rule>) -> &'a Rule>;

impl<'a> IntoIterator for &'a RuleSet {
    type Item = &'a Rule;
    type IntoIter = Rules<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
