//! Which namespaces may have Ferrix ask which issuers, as the operator says: whoever writes a filter has Ferrix ask a
//! URL of its choice, from where Ferrix stands.

use ferrix_table::rules::HostPattern;
use http::Uri;
use serde::Deserialize;

use crate::{
    host_policy::{self, HostGrant},
    namespace::Labels,
};

/// Which namespaces may have Ferrix ask which issuers. The default is no policy: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerPolicy {
    /// The hosts of URLs that some namespaces may have asked: no others are. `None`: every namespace, all hosts.
    pub allowed: Option<Vec<HostGrant>>,
}

impl IssuerPolicy {
    /// Whether issuers are given to namespaces by their labels.
    pub(crate) fn has_labels(&self) -> bool {
        let mut grants = self.allowed.iter().flatten();
        grants.any(HostGrant::has_labels)
    }

    /// Why a namespace may not have a URL asked; `None`: it may.
    pub(crate) fn refusal(
        &self,
        namespace: &str,
        labels: Option<&Labels>,
        url: &str,
    ) -> Option<String> {
        let grants = self.allowed.as_ref()?;
        let uri: Option<Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let is_allowed = HostPattern::parse(host).is_ok_and(|host| {
            let mut grants = grants.iter();
            grants.any(|it| it.gives(namespace, labels, &host))
        });
        if is_allowed {
            return None;
        }
        let instead = host_policy::hosts_of(grants, namespace, labels);
        let instead = instead.unwrap_or_else(|| "no issuer".to_owned());
        Some(format!(
            "`issuers.allowed` of the settings lets namespace {namespace} have {instead} asked, and not \
             {host:?}; have that allowed by who runs Ferrix"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> IssuerPolicy {
        serde_yaml_ng::from_str(text).unwrap()
    }

    #[test]
    fn whom_a_namespace_may_have_asked() {
        let policy = policy(
            "allowed:\n\
             - {namespaces: [shop], hosts: [id.test, '**.id.test']}\n\
             - {labels: {team: a}, hosts: [a.test]}\n\
             - {namespaces: [edge], hosts: ['*']}\n\
             - {namespaces: [lab], hosts: [192.0.2.1, '[::1]']}\n",
        );
        let labels: Labels = [("team".into(), "a".into())].into_iter().collect();
        let cases = [
            ("shop", "https://id.test/realms/a", true),
            ("shop", "https://ID.test:8443", true),
            ("shop", "http://x.y.id.test", true),
            ("shop", "https://id.test.evil.test", false),
            ("shop", "https://evil.test/id.test", false),
            ("shop", "https://a.test", false),
            ("labelled", "https://a.test", true),
            ("labelled", "https://id.test", false),
            ("edge", "https://anything.test", true),
            ("edge", "http://192.0.2.1/", true),
            ("lab", "http://192.0.2.1:80/keys", true),
            ("lab", "http://192.0.2.2/keys", false),
            ("lab", "http://[::1]:80/", true),
            ("other", "https://id.test", false),
            ("other", "no url", false),
        ];
        for (namespace, url, expected) in cases {
            let labels = (namespace == "labelled").then_some(&labels);
            let refusal = policy.refusal(namespace, labels, url);
            assert_eq!(refusal.is_none(), expected, "{namespace} {url} {refusal:?}");
        }
        assert_eq!(cases.len(), 15);
        let refusal = policy.refusal("shop", None, "https://a.test/").unwrap();
        assert!(refusal.contains("have id.test and **.id.test asked, and not \"a.test\""));
        let refusal = policy.refusal("other", None, "https://a.test/").unwrap();
        assert!(refusal.contains("have no issuer asked"), "{refusal}");
        assert!(policy.has_labels());
    }

    #[test]
    fn without_a_policy_everybody_may() {
        let policy = IssuerPolicy::default();
        assert_eq!(policy.refusal("a", None, "http://id.test"), None);
        assert!(!policy.has_labels());
    }
}
