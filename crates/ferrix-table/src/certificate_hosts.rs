//! Hosts with rules that ask clients for certificates: a handshake has to ask before the rule is known.

use std::sync::Arc;

use crate::{filters::Filter, host_map::HostMap, ids::EntryPointIndex, reach::Reach, rules::Rule};

/// The entry points that ask, by the hosts that they ask the clients of.
#[derive(Debug)]
pub(crate) struct CertificateHosts(HostMap<Vec<EntryPointIndex>>);

/// Whether a rule asks clients for certificates.
pub(crate) fn asks(rule: &Rule) -> bool {
    let mut filters = rule.policy.iter().flat_map(|policy| policy.filters());
    !rule.is_dry_run() && filters.any(Filter::asks_for_certificates)
}

impl CertificateHosts {
    /// Those of some rules. `None`: nobody asks.
    pub(crate) fn of(rules: &[Arc<Rule>]) -> Option<Arc<Self>> {
        let mut hosts: HostMap<Vec<EntryPointIndex>> = HostMap::default();
        for rule in rules.iter().filter(|rule| asks(rule)) {
            for host in Reach::hosts_of(rule).iter() {
                hosts.or_default(host).extend(&rule.entry_points);
            }
        }
        let some = hosts.values().next().is_some();
        some.then(|| Arc::new(Self(hosts)))
    }

    /// Whether clients are asked there that name this host, in canonical form, or none.
    pub(crate) fn ask(&self, entry_point: EntryPointIndex, host: Option<&str>) -> bool {
        let mut asking = self.0.all(host);
        asking.any(|entry_points| entry_points.contains(&entry_point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        filters::{client_certificate::ClientCertificate, from_object::FromObject},
        object::{Kind, ObjectName},
        policy::Policy,
        rule_set::RuleSet,
        testing::rule,
    };

    fn asking(name: &str, host: &str, matches: &str) -> Rule {
        let secret = ObjectName::new("default", "s").key(Kind::Secret);
        let filter = ClientCertificate {
            authorities: FromObject::unknown(secret, ""),
            optional: false,
            headers: Box::default(),
        };
        Rule {
            policy: Some(Arc::new(Policy::of([Filter::ClientCertificate(Arc::new(
                filter,
            ))]))),
            ..rule(name, host, matches)
        }
    }

    #[test]
    fn clients_are_asked_whose_host_some_rule_asks() {
        let plain = rule("plain", "exact.test", "");
        let rules = vec![
            asking("exact", "exact.test", "Path(`/a`)"),
            asking("wildcard", "*.wild.test", ""),
            asking("narrowed", "*", "Host(`narrow.test`)"),
            rule("other", "own.wild.test", ""),
            plain,
        ];
        let set = RuleSet::new(rules);
        let cases = [
            (Some("exact.test"), true),
            // A rule of its own does not keep those of the wildcard from its requests.
            (Some("own.wild.test"), true),
            (Some("a.b.wild.test"), false),
            (Some("wild.test"), false),
            (Some("narrow.test"), true),
            (Some("other.test"), false),
            (None, false),
        ];
        let entry_point = set.iter().next().unwrap().entry_points[0];
        for (host, expected) in cases {
            assert_eq!(
                set.ask_for_certificates(entry_point, host),
                expected,
                "{host:?}"
            );
            assert!(!set.ask_for_certificates(entry_point + 1, host));
        }
        // Where the last one goes, nobody is asked.
        let gone: Vec<_> = set.shared().iter().filter(|it| asks(it)).cloned().collect();
        let any = Arc::new(asking("any", "*", ""));
        let set = set.with(&gone, &[Arc::clone(&any)]);
        assert!(set.ask_for_certificates(entry_point, None));
        assert!(set.ask_for_certificates(entry_point, Some("other.test")));
        assert!(
            !set.with(&[any], &[])
                .ask_for_certificates(entry_point, None)
        );
    }
}
