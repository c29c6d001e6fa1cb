//! Which namespaces may have which hosts, as the operator says.
//!
//! Knows no objects: see `ownership` for what becomes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use ferrix_table::{host::HostError, rules::HostPattern};
use serde::Deserialize;

use crate::namespace::Labels;

/// What selects every namespace, and what allows every host.
const EVERY: &str = "*";

/// How many namespaces, labels or hosts a message names.
const MOST_NAMED: usize = 5;

/// Which namespaces may have which hosts. The default is no policy: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostPolicy {
    /// Whether a host belongs to the namespace whose object with it is the oldest, so that it is
    /// served for no other.
    pub first_claim: bool,
    /// What is allowed: nothing else is. `None`: every host to every namespace.
    pub allowed: Option<Vec<HostGrant>>,
}

/// Hosts that some namespaces may have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostGrant {
    /// Those of these names; `*` is every namespace.
    #[serde(default)]
    pub namespaces: BTreeSet<String>,
    /// And those that have all of these labels, if there are any.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The hosts.
    pub hosts: Vec<HostSet>,
}

/// Hosts that can be allowed together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum HostSet {
    /// What a route may have as its host, and whatever lies within that. Any host: `*`.
    Pattern(HostPattern),
    /// Every host below this domain, however many labels it has: `**.example.com`.
    Below(Arc<str>),
}

impl HostPolicy {
    /// Whether hosts are given to namespaces by their labels.
    pub(crate) fn has_labels(&self) -> bool {
        self.grants().any(HostGrant::has_labels)
    }

    /// Whether it keeps any host from any namespace.
    pub(crate) fn is_set(&self) -> bool {
        self.first_claim || self.allowed.is_some()
    }

    /// Whether a namespace may have a host, if nobody else claims it. No host at all is every host, and
    /// has to be allowed as such under any policy.
    pub(crate) fn allows(
        &self,
        namespace: &str,
        labels: Option<&Labels>,
        host: &HostPattern,
    ) -> bool {
        match &self.allowed {
            None => !self.is_set() || *host != HostPattern::Any,
            Some(grants) => grants
                .iter()
                .any(|grant| grant.gives(namespace, labels, host)),
        }
    }

    /// Who may have a host, for people.
    pub(crate) fn holders(&self, host: &HostPattern) -> String {
        let grants = self.grants().filter(|grant| grant.covers(host));
        let selected = grants.flat_map(HostGrant::selected);
        match listed(selected) {
            None => "no namespace".to_owned(),
            Some(holders) => holders,
        }
    }

    /// What a namespace may have, for people; `None`: nothing.
    pub(crate) fn hosts_of(&self, namespace: &str, labels: Option<&Labels>) -> Option<String> {
        hosts_of(self.grants(), namespace, labels)
    }

    fn grants(&self) -> impl Iterator<Item = &HostGrant> {
        self.allowed.iter().flatten()
    }
}

/// What a namespace has of some grants, for people; `None`: nothing.
pub(crate) fn hosts_of<'g>(
    grants: impl IntoIterator<Item = &'g HostGrant>,
    namespace: &str,
    labels: Option<&Labels>,
) -> Option<String> {
    let grants = grants.into_iter();
    let grants = grants.filter(|grant| grant.selects(namespace, labels));
    let hosts = grants.flat_map(|grant| &grant.hosts);
    listed(hosts.map(ToString::to_string))
}

impl HostGrant {
    pub(crate) fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Whether a namespace has a host by it.
    pub(crate) fn gives(
        &self,
        namespace: &str,
        labels: Option<&Labels>,
        host: &HostPattern,
    ) -> bool {
        self.selects(namespace, labels) && self.covers(host)
    }

    pub(crate) fn selects(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        let has = |(name, value): (&String, &String)| {
            let found = labels.and_then(|labels| labels.get(&**name));
            found.is_some_and(|found| **found == **value)
        };
        self.namespaces.contains(EVERY)
            || self.namespaces.contains(namespace)
            || (!self.labels.is_empty() && self.labels.iter().all(has))
    }

    pub(crate) fn covers(&self, host: &HostPattern) -> bool {
        self.hosts.iter().any(|hosts| hosts.covers(host))
    }

    /// The namespaces that it selects, each in words.
    fn selected(&self) -> impl Iterator<Item = String> {
        let named = self.namespaces.iter().map(|name| match &**name {
            EVERY => "every namespace".to_owned(),
            name => format!("namespace {name}"),
        });
        let labels: Vec<_> = (self.labels.iter())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let labelled = format!("namespaces labelled {}", labels.join(" and "));
        named.chain((!labels.is_empty()).then_some(labelled))
    }
}

impl HostSet {
    /// Whether every host of a route is among these.
    fn covers(&self, host: &HostPattern) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.covers(host),
            Self::Below(domain) => host.domain().is_some_and(|it| {
                let above = it.strip_suffix(&**domain);
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }),
        }
    }
}

impl TryFrom<String> for HostSet {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        match text.strip_prefix("**.") {
            // Read as the wildcard that it is beside others, which knows what a domain is.
            Some(domain) => match HostPattern::parse(&format!("*.{domain}"))? {
                HostPattern::Wildcard(domain) => Ok(Self::Below(domain)),
                _ => Err(HostError::Wildcard),
            },
            None if text == EVERY => Ok(Self::Pattern(HostPattern::Any)),
            None => HostPattern::parse(&text).map(Self::Pattern),
        }
    }
}

/// As the settings write it.
impl fmt::Display for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(HostPattern::Any) => f.write_str(EVERY),
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Below(domain) => write!(f, "**.{domain}"),
        }
    }
}

/// `a, b and c`, or the first of them; `None` where there are none.
fn listed(items: impl Iterator<Item = String>) -> Option<String> {
    let mut items: Vec<String> = items.take(MOST_NAMED + 1).collect();
    if items.len() > MOST_NAMED {
        items[MOST_NAMED] = "others".to_owned();
    }
    let last = items.pop()?;
    Some(match items.is_empty() {
        true => last,
        false => format!("{} and {last}", items.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> HostSet {
        HostSet::try_from(text.to_owned()).unwrap()
    }

    fn host(text: &str) -> HostPattern {
        match text {
            "" => HostPattern::Any,
            text => HostPattern::parse(text).unwrap(),
        }
    }

    #[test]
    fn what_a_set_of_hosts_covers() {
        let cases = [
            ("a.test", "a.test", true),
            ("a.test", "b.test", false),
            ("a.test", "*.test", false),
            ("a.test", "", false),
            ("A.test.", "a.test", true),
            ("*.test", "a.test", true),
            ("*.test", "*.test", true),
            ("*.test", "test", false),
            ("*.test", "x.a.test", false),
            ("*.test", "*.a.test", false),
            ("*.test", "", false),
            ("**.test", "a.test", true),
            ("**.test", "x.a.test", true),
            ("**.test", "*.test", true),
            ("**.test", "*.a.test", true),
            ("**.test", "test", false),
            ("**.test", "a.best.test.org", false),
            ("**.a.test", "x.ba.test", false),
            ("**.test", "", false),
            ("*", "a.test", true),
            ("*", "*.test", true),
            ("*", "", true),
        ];
        for (allowed, asked, expected) in cases {
            let covers = set(allowed).covers(&host(asked));
            assert_eq!(covers, expected, "{allowed} {asked:?}");
        }
        assert_eq!(cases.len(), 22);
        for text in [
            "", "**", "***.test", "*.*.test", "a.*.test", "a test", "**.::1", "a:80",
        ] {
            assert!(HostSet::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        for text in ["*", "a.test", "*.a.test", "**.a.test"] {
            assert_eq!(set(text).to_string(), text);
        }
    }

    fn grant(namespaces: &[&str], labels: &[(&str, &str)], hosts: &[&str]) -> HostGrant {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        HostGrant {
            namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
            labels: labels.iter().map(pair).collect(),
            hosts: hosts.iter().map(|it| set(it)).collect(),
        }
    }

    #[test]
    fn who_may_have_a_host() {
        let policy = HostPolicy {
            first_claim: false,
            allowed: Some(vec![
                grant(&["a", "b"], &[], &["a.test"]),
                grant(&["c"], &[("team", "x"), ("tier", "web")], &["*.x.test"]),
                grant(&["*"], &[], &["free.test"]),
                grant(&["edge"], &[], &["*"]),
            ]),
        };
        let labels = |list: &[(&str, &str)]| -> Labels {
            let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            list.iter().map(pair).collect()
        };
        let cases = [
            ("a", labels(&[]), "a.test", true),
            ("b", labels(&[]), "a.test", true),
            ("c", labels(&[]), "a.test", false),
            ("c", labels(&[]), "y.x.test", true),
            ("d", labels(&[("team", "x")]), "y.x.test", false),
            (
                "d",
                labels(&[("team", "x"), ("tier", "web")]),
                "y.x.test",
                true,
            ),
            (
                "d",
                labels(&[("team", "x"), ("tier", "db")]),
                "y.x.test",
                false,
            ),
            ("d", labels(&[]), "free.test", true),
            ("d", labels(&[]), "", false),
            ("edge", labels(&[]), "", true),
            ("edge", labels(&[]), "a.test", true),
        ];
        for (namespace, labels, asked, expected) in &cases {
            let allows = policy.allows(namespace, Some(labels), &host(asked));
            assert_eq!(allows, *expected, "{namespace} {asked:?}");
        }
        assert_eq!(cases.len(), 11);
        assert!(!policy.allows("d", None, &host("y.x.test")));
        assert_eq!(
            policy.holders(&host("a.test")),
            "namespace a, namespace b and namespace edge"
        );
        assert_eq!(
            policy.holders(&host("y.x.test")),
            "namespace c, namespaces labelled team=x and tier=web and namespace edge"
        );
        assert_eq!(policy.hosts_of("a", None).unwrap(), "a.test and free.test");
        let other = HostPolicy {
            allowed: Some(vec![grant(&["a"], &[], &["a.test"])]),
            ..HostPolicy::default()
        };
        assert_eq!(other.holders(&host("b.test")), "no namespace");
        assert_eq!(other.hosts_of("b", None), None);
    }

    #[test]
    fn without_a_policy_all_is_allowed() {
        let policy = HostPolicy::default();
        assert!(policy.allows("a", None, &HostPattern::Any));
        let policy = HostPolicy {
            first_claim: true,
            allowed: None,
        };
        assert!(policy.allows("a", None, &host("a.test")));
        assert!(!policy.allows("a", None, &HostPattern::Any));
    }

    #[test]
    fn a_message_names_a_few() {
        let numbers = |count: usize| listed((0..count).map(|it| it.to_string()));
        assert_eq!(numbers(0), None);
        assert_eq!(numbers(2).unwrap(), "0 and 1");
        assert_eq!(numbers(5).unwrap(), "0, 1, 2, 3 and 4");
        assert_eq!(numbers(9).unwrap(), "0, 1, 2, 3, 4 and others");
    }
}
