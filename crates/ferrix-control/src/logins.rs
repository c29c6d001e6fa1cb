//! Logins that users would not come back from: the provider sends browsers to a path that no rule takes to the filter.
//!
//! Filters share logins where they ask the same provider for the same, so that the rule which takes the path may be
//! of another route.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_rule::PathConstraint;
use ferrix_table::{
    filters::{Filter, oidc::Oidc},
    rules::{HostPattern, Rule},
};

use crate::{
    objects::Key,
    report::{Finding, Reason},
    resolve::Resolved,
};

/// The rules of each host that users log in for.
#[derive(Debug, Default)]
pub(crate) struct Logins(HashMap<HostPattern, Vec<Arc<Rule>>>);

impl Logins {
    /// Follows a change of rules. Returns the routes about which there may be something else to say.
    pub(crate) fn replace(&mut self, gone: &[Arc<Rule>], fresh: &[Arc<Rule>]) -> BTreeSet<Key> {
        // Those where others may come back, or no longer.
        let mut hosts = BTreeSet::new();
        for rule in gone {
            if let Some(oidc) = login(rule) {
                self.forget(rule);
                hosts.extend(takes(rule, oidc).then_some(&rule.host));
            }
        }
        for rule in fresh {
            if let Some(oidc) = login(rule) {
                let rules = self.0.entry(rule.host.clone()).or_default();
                rules.push(Arc::clone(rule));
                hosts.extend(takes(rule, oidc).then_some(&rule.host));
            }
        }
        if hosts.is_empty() {
            return BTreeSet::new();
        }
        let concerned = |host: &HostPattern| hosts.iter().any(|it| it.covers(host));
        let rules = self.0.iter().filter(|(host, _)| concerned(host));
        let rules = rules.flat_map(|(_, rules)| rules);
        rules.map(|rule| rule.route.key.clone()).collect()
    }

    fn forget(&mut self, rule: &Arc<Rule>) {
        if let Some(rules) = self.0.get_mut(&rule.host) {
            rules.retain(|it| !Arc::ptr_eq(it, rule));
            if rules.is_empty() {
                self.0.remove(&rule.host);
            }
        }
    }

    /// Whether there may be anything to tell a route with these rules.
    pub(crate) fn concern(&self, rules: &[Arc<Rule>]) -> bool {
        !self.0.is_empty() && rules.iter().any(|rule| login(rule).is_some())
    }

    /// Tells a route of its rules whose users would not come back.
    pub(crate) fn tell(&self, rules: &[Arc<Rule>], resolved: &mut Resolved) {
        for rule in rules {
            let Some(oidc) = login(rule).filter(|oidc| !self.returns(rule, oidc)) else {
                continue;
            };
            let message = format!(
                "no login ends: the provider sends users back to {}{}, which no rule takes to this filter; \
                 add a rule for the path, or set `callbackPath` to one that a rule takes",
                rule.host, oidc.callback_path
            );
            let field = resolved.field_of(rule).map(|field| field.to_string());
            let field = field.unwrap_or_default();
            let finding = Finding::warning(Reason::CallbackNotServed, field, message);
            resolved.outcome.remark(finding);
        }
    }

    /// Whether a rule takes those that come back to the filter of another.
    fn returns(&self, rule: &Rule, oidc: &Oidc) -> bool {
        let hosts = self.0.iter().filter(|(host, _)| host.covers(&rule.host));
        let mut others = hosts.flat_map(|(_, rules)| rules);
        others.any(|other| {
            takes(other, oidc) && login(other).is_some_and(|it| it.shares_logins(oidc))
        })
    }
}

/// The filter of a rule by which users log in.
fn login(rule: &Rule) -> Option<&Arc<Oidc>> {
    let mut filters = rule.policy.iter().flat_map(|policy| policy.filters());
    filters.find_map(|filter| match filter {
        Filter::Oidc(oidc) => Some(oidc),
        _ => None,
    })
}

/// Whether a rule may take the path that users come back to.
fn takes(rule: &Rule, oidc: &Oidc) -> bool {
    let paths = rule.matches.as_ref().and_then(|it| it.constraints().paths);
    paths.is_none_or(|paths| {
        paths.iter().any(|path| match path {
            PathConstraint::Exact(path) => **path == *oidc.callback_path,
            PathConstraint::Prefix(prefix) => oidc.callback_path.starts_with(&**prefix),
        })
    })
}
