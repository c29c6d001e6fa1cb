//! DNS, as the system is configured: by `/etc/resolv.conf` and `/etc/hosts`.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RecordType},
    },
    system_conf,
};
use tokio::time::timeout;

use super::{Looked, Resolver};
use crate::external_name::{Answer, DomainName, Failure, Records};

/// What the system is configured by. Read again when it changes.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// How long one family may take, so that one that is not answered does not cost the other.
const LONGEST: Duration = Duration::from_secs(4);

/// DNS servers.
pub(crate) struct Dns {
    configuration: Configuration,
    has_route: fn(IpAddr) -> bool,
    configured: Mutex<Option<Arc<Configured>>>,
}

/// Which servers are asked, and how.
enum Configuration {
    /// As `/etc/resolv.conf` says.
    System,
    #[cfg(test)]
    Given(Box<(ResolverConfig, ResolverOpts)>),
}

struct Configured {
    /// The files that it was made from.
    stamps: Stamps,
    hosts: Hosts,
    resolver: TokioResolver,
}

/// When each file changed, and how long it is; `None`: it cannot be seen.
type Stamps = [Option<(SystemTime, u64)>; FILES.len()];

impl Resolver for Dns {
    async fn look_up(&self, name: &DomainName) -> Looked {
        // The dot says that the name is complete: no search domain is added.
        let absolute = Name::from_ascii(format!("{name}."));
        let (configured, absolute) = match (self.configured(), absolute) {
            (Ok(configured), Ok(absolute)) => (configured, absolute),
            (Err(error), _) => return nothing(Failure::NoServer(error.into())),
            (_, Err(_)) => return nothing(Failure::NoSuchName),
        };
        let ((ipv4, ttl), (ipv6, other_ttl)) = match configured.in_file(&absolute) {
            Some(found) => found,
            None => tokio::join!(
                configured.ask(&absolute, RecordType::A),
                configured.ask(&absolute, RecordType::AAAA),
            ),
        };
        Looked {
            answer: with_a_route(Answer { ipv4, ipv6 }, self.has_route),
            ttl: ttl.min(other_ttl),
        }
    }
}

impl Dns {
    /// Those of the system.
    pub(crate) fn of_the_system() -> Self {
        Self {
            configuration: Configuration::System,
            has_route,
            configured: Mutex::default(),
        }
    }

    /// Others, from where there is a way to every address.
    #[cfg(test)]
    pub(super) fn asking(config: ResolverConfig, options: ResolverOpts) -> Self {
        Self {
            configuration: Configuration::Given(Box::new((config, options))),
            has_route: |_| true,
            configured: Mutex::default(),
        }
    }

    fn configured(&self) -> Result<Arc<Configured>, String> {
        let stamps = FILES.map(|file| stamp(Path::new(file)).ok());
        // What is in there is replaced as a whole.
        let mut known = self
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(configured) if configured.stamps == stamps => Ok(Arc::clone(configured)),
            _ => Ok(Arc::clone(known.insert(Arc::new(self.configure(stamps)?)))),
        }
    }

    fn configure(&self, stamps: Stamps) -> Result<Configured, String> {
        let (config, mut options) = self.configuration()?;
        // Lookups are repeated when TTLs are over, and what is kept meanwhile is kept elsewhere.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options;
        Ok(Configured {
            stamps,
            // A system without the file has no names in it.
            hosts: Hosts::from_system().unwrap_or_default(),
            resolver: builder.build().map_err(|error| error.to_string())?,
        })
    }

    fn configuration(&self) -> Result<(ResolverConfig, ResolverOpts), String> {
        match &self.configuration {
            Configuration::System => {
                let read = system_conf::read_system_conf();
                read.map_err(|error| format!("{}: {error}", FILES[0]))
            }
            #[cfg(test)]
            Configuration::Given(given) => Ok((**given).clone()),
        }
    }
}

/// The addresses of one family, and how long they hold.
type Found = (Records, Duration);

impl Configured {
    /// What `/etc/hosts` has. A name that is in there, with addresses of whichever family, is not asked
    /// for elsewhere.
    fn in_file(&self, name: &Name) -> Option<(Found, Found)> {
        let find = |kind| (self.hosts).lookup_static_host(&Query::query(name.clone(), kind));
        let (ipv4, ipv6) = (find(RecordType::A), find(RecordType::AAAA));
        if ipv4.is_none() && ipv6.is_none() {
            return None;
        }
        let none = (Err(Failure::NoAddresses), Duration::MAX);
        let found = |lookup: Option<Lookup>| lookup.map_or(none.clone(), |it| addresses(&it));
        Some((found(ipv4), found(ipv6)))
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Found {
        let lookup = self.resolver.lookup(name.clone(), kind);
        match timeout(LONGEST, lookup).await {
            Ok(Ok(lookup)) => addresses(&lookup),
            Ok(Err(error)) => (Err(failure(&error)), Duration::MAX),
            Err(_) => (Err(Failure::TimedOut), Duration::MAX),
        }
    }
}

fn stamp(file: &Path) -> io::Result<(SystemTime, u64)> {
    let metadata = fs::metadata(file)?;
    Ok((metadata.modified()?, metadata.len()))
}

fn nothing(why: Failure) -> Looked {
    Looked {
        answer: Answer::failed(why),
        ttl: Duration::ZERO,
    }
}

/// The addresses in an answer, and how long all of it holds, aliases on the way included.
fn addresses(lookup: &Lookup) -> (Records, Duration) {
    let records = lookup.answers();
    let addresses: Vec<IpAddr> = (records.iter())
        .filter_map(|record| record.data.ip_addr())
        .collect();
    let ttl = records.iter().map(|record| record.ttl).min();
    match addresses.is_empty() {
        true => (Err(Failure::NoAddresses), Duration::MAX),
        false => (
            Ok(addresses),
            Duration::from_secs(ttl.unwrap_or_default().into()),
        ),
    }
}

fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NXDomain,
            ..
        })) => Failure::NoSuchName,
        NetError::Dns(DnsError::NoRecordsFound(_)) => Failure::NoAddresses,
        NetError::Dns(DnsError::ResponseCode(code)) => Failure::Refused(code.to_str()),
        NetError::Timeout => Failure::TimedOut,
        error => Failure::NoServer(error.to_string().into()),
    }
}

/// Leaves out addresses that this machine has no way to, such as those of IPv6 where it has none. Where
/// it has a way to nothing, all stay: what is wrong then is not the answer.
fn with_a_route(answer: Answer, has_route: impl Fn(IpAddr) -> bool) -> Answer {
    let leads_somewhere = |records: &Records| {
        let mut addresses = records.iter().flatten();
        addresses.any(|address| has_route(*address))
    };
    match (leads_somewhere(&answer.ipv4), leads_somewhere(&answer.ipv6)) {
        (true, false) if answer.ipv6.is_ok() => Answer {
            ipv6: Err(Failure::NoAddresses),
            ..answer
        },
        (false, true) if answer.ipv4.is_ok() => Answer {
            ipv4: Err(Failure::NoAddresses),
            ..answer
        },
        _ => answer,
    }
}

/// Asks the system for a way to an address. Nothing is sent.
fn has_route(address: IpAddr) -> bool {
    const ANY_PORT: u16 = 80;
    let from = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((from, 0));
    socket.is_ok_and(|socket| socket.connect((address, ANY_PORT)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_without_a_way_are_left_out() {
        let addresses = |text: &str| Ok(vec![text.parse().unwrap()]);
        let both = Answer {
            ipv4: addresses("192.0.2.1"),
            ipv6: addresses("2001:db8::1"),
        };
        let only_ipv6 = Answer {
            ipv4: Err(Failure::NoSuchName),
            ..both.clone()
        };
        type HasRoute = fn(IpAddr) -> bool;
        let cases: [(&Answer, HasRoute, bool, bool); 7] = [
            (&both, |_| true, true, true),
            (&both, |address| address.is_ipv4(), true, false),
            (&both, |address| address.is_ipv6(), false, true),
            (&both, |_| false, true, true),
            (&only_ipv6, |_| true, false, true),
            (&only_ipv6, |address| address.is_ipv4(), false, true),
            (&only_ipv6, |_| false, false, true),
        ];
        for (place, (answer, has_route, ipv4, ipv6)) in cases.iter().enumerate() {
            let left = with_a_route((*answer).clone(), has_route);
            assert_eq!(
                (left.ipv4.is_ok(), left.ipv6.is_ok()),
                (*ipv4, *ipv6),
                "{place}"
            );
        }
        assert_eq!(cases.len(), 7);
    }

    #[test]
    fn there_is_a_way_to_this_machine() {
        assert!(has_route(Ipv4Addr::LOCALHOST.into()));
    }

    #[tokio::test]
    async fn what_the_hosts_file_has_is_not_asked_for() {
        // Nobody answers there.
        let config = ResolverConfig::from_name_servers(Vec::new());
        let mut hosts = Hosts::default();
        let file = b"192.0.2.1 db.example.org db # the first\n";
        hosts.read_hosts_conf(file.as_slice()).unwrap();
        let configured = Configured {
            hosts,
            ..Dns::asking(config, ResolverOpts::default())
                .configure(Stamps::default())
                .unwrap()
        };
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let (ipv4, ipv6) = configured.in_file(&name("db.example.org.")).unwrap();
        assert_eq!(ipv4.0, Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(ipv6.0, Err(Failure::NoAddresses));
        assert!(configured.in_file(&name("db.")).is_some());
        assert!(configured.in_file(&name("other.")).is_none());
    }
}
