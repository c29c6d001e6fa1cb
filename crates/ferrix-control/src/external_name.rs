//! `externalName`: what a Service of type ExternalName stands for, and the addresses that its name was
//! found to have.
//!
//! Names are looked up elsewhere. What a lookup came to is an input like any object, so that
//! translation itself looks nothing up.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls_pki_types::DnsName;

use crate::names::shared;

/// What a Service of type ExternalName stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ExternalName {
    /// A name that is looked up.
    Name(DomainName),
    /// An address, which many write though Kubernetes has no use for it.
    Address(IpAddr),
    /// Neither.
    Invalid(Box<str>),
}

/// The name of a host, in lower case and without a dot at its end. It is complete: no search domain is
/// ever added to it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Arc<str>);

/// What a lookup came to, for each family of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The A records.
    pub ipv4: Records,
    /// The AAAA records.
    pub ipv6: Records,
}

/// The addresses of one family, at least one, or why there are none.
pub type Records = Result<Vec<IpAddr>, Failure>;

/// Why a lookup gave no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// NXDOMAIN.
    #[error("there is no such name (NXDOMAIN)")]
    NoSuchName,
    /// The name has other records, but none with addresses.
    #[error("it has no addresses (no A and no AAAA records)")]
    NoAddresses,
    /// No DNS server has answered.
    #[error("no DNS server answered in time")]
    TimedOut,
    /// The DNS server has no answer, such as SERVFAIL and REFUSED.
    #[error("the DNS server answered with an error ({0})")]
    Refused(&'static str),
    /// No DNS server can be asked.
    #[error("no DNS server can be asked: {0}")]
    NoServer(Box<str>),
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// In order, each once; those found last, while nothing newer is found.
    addresses: Box<[IpAddr]>,
    /// Why the newest lookup found none.
    pub(crate) trouble: Option<Failure>,
}

impl ExternalName {
    pub(crate) fn parse(text: &str) -> Self {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Self::Address(address.to_canonical());
        }
        match DomainName::parse(text) {
            Some(name) => Self::Name(name),
            None => Self::Invalid(text.into()),
        }
    }

    pub(crate) fn name(&self) -> Option<&DomainName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) | Self::Invalid(_) => None,
        }
    }
}

impl DomainName {
    /// A name as RFC 1123 has them, in any case and with or without the dot at its end; underscores are
    /// taken as well. `None`: it is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let name = DnsName::try_from(text).ok()?;
        // It would take another dot.
        (!text.ends_with('.')).then(|| Self(shared(&name.as_ref().to_ascii_lowercase())))
    }

    /// The name as it is written in certificates.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Answer {
    /// No address of either family, for this reason.
    pub fn failed(why: Failure) -> Self {
        Self {
            ipv4: Err(why.clone()),
            ipv6: Err(why),
        }
    }

    /// Whether there is any address.
    pub fn is_found(&self) -> bool {
        self.ipv4.is_ok() || self.ipv6.is_ok()
    }

    /// Whether a DNS server has said that there are no addresses.
    pub fn is_empty(&self) -> bool {
        !self.is_found() && self.failure().is_some_and(Failure::is_said)
    }

    /// Why there are no addresses, where there are none. That a server did not say comes first: what it
    /// would have said is open.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        let (ipv4, ipv6) = (self.ipv4.as_ref().err()?, self.ipv6.as_ref().err()?);
        let rank = |failure: &&Failure| match failure {
            Failure::TimedOut | Failure::Refused(_) | Failure::NoServer(_) => 0,
            Failure::NoAddresses => 1,
            Failure::NoSuchName => 2,
        };
        [ipv4, ipv6].into_iter().min_by_key(rank)
    }
}

impl Failure {
    /// Whether it is what a DNS server knows, and not that nothing is known.
    fn is_said(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoAddresses)
    }
}

impl Resolution {
    /// What is known after another lookup. A family of which nothing was said keeps what was found
    /// last; and where there is no address at all, so do both.
    pub(crate) fn after(&self, answer: &Answer) -> Self {
        if let Some(failure) = answer.failure() {
            return Self {
                addresses: self.addresses.clone(),
                trouble: Some(failure.clone()),
            };
        }
        let of = |records: &Records, is_own: fn(&IpAddr) -> bool| match records {
            Ok(addresses) => addresses.iter().map(IpAddr::to_canonical).collect(),
            Err(failure) if failure.is_said() => Vec::new(),
            Err(_) => (self.addresses.iter().copied().filter(is_own)).collect(),
        };
        let mut addresses = of(&answer.ipv4, IpAddr::is_ipv4);
        addresses.extend(of(&answer.ipv6, IpAddr::is_ipv6));
        // DNS servers give them in another order each time.
        addresses.sort_unstable();
        addresses.dedup();
        Self {
            addresses: addresses.into(),
            trouble: None,
        }
    }

    /// The addresses, those of the two families in turn, so that whoever tries one after the other soon
    /// tries both: either may lead nowhere from here.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let split = self.addresses.partition_point(IpAddr::is_ipv4);
        let (ipv4, ipv6) = self.addresses.split_at(split);
        (0..ipv4.len().max(ipv6.len()))
            .flat_map(move |place| [ipv6.get(place), ipv4.get(place)])
            .flatten()
            .copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub(crate) fn has_same_addresses(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Records {
        Ok(list
            .iter()
            .map(|address| address.parse().unwrap())
            .collect())
    }

    fn known(list: &[&str]) -> Resolution {
        let answer = |ipv4, ipv6| Answer { ipv4, ipv6 };
        let of = |v6: bool| {
            let list: Vec<&str> = list
                .iter()
                .copied()
                .filter(|it| it.contains(':') == v6)
                .collect();
            match list.is_empty() {
                true => Err(Failure::NoAddresses),
                false => addresses(&list),
            }
        };
        Resolution::default().after(&answer(of(false), of(true)))
    }

    fn shown(resolution: &Resolution) -> Vec<String> {
        resolution.in_turn().map(|it| it.to_string()).collect()
    }

    #[test]
    fn names() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let cases = [
            ("example.org", Some("example.org")),
            ("Example.ORG.", Some("example.org")),
            ("db", Some("db")),
            ("_service.example.org", Some("_service.example.org")),
            (&longest, Some(longest.as_str())),
            (&format!("{longest}b"), None),
            ("", None),
            (".", None),
            ("example.org..", None),
            ("exa mple.org", None),
            ("*.example.org", None),
            ("-a.example.org", None),
            ("http://example.org", None),
            ("example.org:80", None),
            ("[2001:db8::1]", None),
            ("b\u{fc}cher.example", None),
        ];
        for (text, expected) in cases {
            let name = DomainName::parse(text);
            assert_eq!(name.as_ref().map(DomainName::as_str), expected, "{text}");
        }
        assert_eq!(cases.len(), 16);
        let address = ExternalName::parse("2001:db8::1");
        assert_eq!(
            address,
            ExternalName::Address("2001:db8::1".parse().unwrap())
        );
    }

    #[test]
    fn the_order_is_that_of_neither_server_nor_family() {
        let one = known(&["192.0.2.2", "2001:db8::1", "192.0.2.1", "192.0.2.3"]);
        let other = known(&[
            "192.0.2.3",
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.1",
            "2001:db8::1",
        ]);
        assert_eq!(one, other);
        assert_eq!(
            shown(&one),
            ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
        );
        assert_eq!(
            shown(&known(&["2001:db8::2", "192.0.2.1", "2001:db8::1"])),
            ["2001:db8::1", "192.0.2.1", "2001:db8::2"]
        );
    }

    #[test]
    fn what_was_found_last_stays_while_nothing_newer_is_found() {
        let before = known(&["192.0.2.1", "2001:db8::1"]);
        let both = ["2001:db8::1", "192.0.2.1"];
        let failures = [
            Failure::NoSuchName,
            Failure::NoAddresses,
            Failure::TimedOut,
            Failure::Refused("Server Failure"),
            Failure::NoServer("no file".into()),
        ];
        for failure in &failures {
            let after = before.after(&Answer::failed(failure.clone()));
            assert_eq!(shown(&after), both);
            assert_eq!(after.trouble.as_ref(), Some(failure));
            let never = Resolution::default().after(&Answer::failed(failure.clone()));
            assert!(never.is_empty());
            // One family alone.
            let after = after.after(&Answer {
                ipv4: addresses(&["192.0.2.9"]),
                ipv6: Err(failure.clone()),
            });
            let expected = match failure {
                Failure::NoSuchName | Failure::NoAddresses => vec!["192.0.2.9"],
                _ => vec!["2001:db8::1", "192.0.2.9"],
            };
            assert_eq!(shown(&after), expected, "{failure}");
            assert_eq!(after.trouble, None);
        }
        assert_eq!(failures.len(), 5);
    }

    #[test]
    fn a_server_that_knows_less_is_told_of_first() {
        let answer = |ipv4, ipv6| Answer {
            ipv4: Err(ipv4),
            ipv6: Err(ipv6),
        };
        let cases = [
            (
                answer(Failure::NoSuchName, Failure::TimedOut),
                Failure::TimedOut,
                false,
            ),
            (
                answer(Failure::NoAddresses, Failure::NoSuchName),
                Failure::NoAddresses,
                true,
            ),
            (
                Answer::failed(Failure::NoSuchName),
                Failure::NoSuchName,
                true,
            ),
        ];
        for (answer, failure, said) in &cases {
            assert_eq!(answer.failure(), Some(failure));
            assert_eq!(answer.is_empty(), *said);
            assert!(!answer.is_found());
        }
        assert_eq!(cases.len(), 3);
    }
}
