//! `ferrix new`: manifests for an app that runs already, to begin with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use ferrix_table::rules::HostPattern;

/// The longest name that a Service can have (RFC 1035).
const LONGEST_NAME: usize = 63;

/// A host, and where its requests go: `HOST=ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    host: HostPattern,
    addresses: Vec<SocketAddr>,
}

/// Why there are no manifests.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something has that name already.
    #[error("{} is there already; remove it, or name another folder with --folder", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("{} cannot be written: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl FromStr for App {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected HOST=ADDRESS:PORT, such as app.localhost=127.0.0.1:3000";
        let (host, address) = text.split_once('=').ok_or(EXPECTED)?;
        let host = HostPattern::parse(host)
            .map_err(|error| format!("`{host}` is no host: {error}; {EXPECTED}"))?;
        Ok(Self {
            host,
            addresses: addresses(address)?,
        })
    }
}

fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let refuse = || {
        format!(
            "`{text}` is no address with a port: expected such as 127.0.0.1:3000, [::1]:3000 or \
             localhost:3000"
        )
    };
    let addresses = match text.strip_prefix("localhost:") {
        // Some servers listen on one of the two, and some on the other.
        Some(port) => {
            let port = port.parse().map_err(|_| refuse())?;
            vec![
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ]
        }
        None => vec![text.parse::<SocketAddr>().map_err(|_| refuse())?],
    };
    if addresses.iter().any(|address| address.port() == 0) {
        return Err(refuse());
    }
    if let Some(any) = addresses.iter().find(|it| it.ip().is_unspecified()) {
        return Err(format!(
            "{any} stands for every address of a machine; name one that it can be reached at, such \
             as 127.0.0.1:{}",
            any.port()
        ));
    }
    Ok(addresses)
}

/// What was written: each file, and what it says in a few words.
pub type Written = Vec<(PathBuf, String)>;

/// Writes a file for each host into a folder, which it makes where there is none. Nothing is
/// overwritten, and where a file is in the way nothing is written.
pub fn write(folder: &Path, apps: &[App]) -> Result<Written, Error> {
    // Several addresses of one host share its requests.
    let mut hosts: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
    for app in apps {
        let addresses = hosts.entry(app.host.to_string()).or_default();
        for address in &app.addresses {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
    }
    let mut names = BTreeSet::new();
    let mut files = Vec::new();
    for (host, addresses) in &hosts {
        let name = free_name(host, &mut names);
        let path = folder.join(format!("{name}.yaml"));
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::Exists { path });
        }
        files.push((path, manifests(host, &name, addresses), host, addresses));
    }
    let refuse = |path: &Path| {
        let path = path.to_owned();
        |error| Error::Write { path, error }
    };
    fs::create_dir_all(folder).map_err(refuse(folder))?;
    let mut written = Vec::new();
    for (path, text, host, addresses) in files {
        fs::write(&path, text).map_err(refuse(&path))?;
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        written.push((path, format!("{host} goes to {}", addresses.join(" and "))));
    }
    Ok(written)
}

/// A name for objects: that of the host as far as it can be one, and no other's.
fn free_name(host: &str, taken: &mut BTreeSet<String>) -> String {
    let host = host.replace("*.", "any.");
    let letter = |letter: char| match letter {
        'a'..='z' | '0'..='9' => letter,
        _ => '-',
    };
    let name: String = host.chars().map(letter).collect();
    let mut name = name.trim_matches('-').to_owned();
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.insert_str(0, "app-");
    }
    for number in 1.. {
        let suffix = match number {
            1 => String::new(),
            _ => format!("-{number}"),
        };
        let room = (LONGEST_NAME - suffix.len()).min(name.len());
        let candidate = format!("{}{suffix}", name[..room].trim_end_matches('-'));
        if taken.insert(candidate.clone()) {
            return candidate;
        }
    }
    unreachable!("there are more numbers than hosts")
}

fn manifests(host: &str, name: &str, addresses: &[SocketAddr]) -> String {
    let mut text = format!(
        "\
# Requests for this host go to the Service below.
apiVersion: ferrix.com/v1
kind: IngressRoute
metadata: {{name: {name}, namespace: default}}
spec:
  route:
    host: '{host}'
    rules:
      # All of them; `matches: PathPrefix(`/api`)` would choose some.
      - service: {{name: {name}, port: 80}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  ports: [{{name: http, port: 80}}]
"
    );
    for (place, address) in addresses.iter().enumerate() {
        let family = match address {
            SocketAddr::V4(_) => "IPv4",
            SocketAddr::V6(_) => "IPv6",
        };
        // A slice has one port for all of its addresses.
        let _ = write!(
            text,
            "\
---
# Where it listens. In a cluster Kubernetes writes this, for pods.
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{}
  namespace: default
  labels: {{kubernetes.io/service-name: {name}}}
addressType: {family}
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: ['{}']}}]
",
            place + 1,
            address.port(),
            address.ip(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_app() {
        let cases = [
            ("app.localhost", "expected HOST=ADDRESS:PORT"),
            ("=127.0.0.1:80", "is no host"),
            ("a b=127.0.0.1:80", "is no host"),
            ("*=127.0.0.1:80", "is no host"),
            ("a.example=127.0.0.1", "is no address with a port"),
            ("a.example=:80", "is no address with a port"),
            ("a.example=127.0.0.1:0", "is no address with a port"),
            ("a.example=localhost:x", "is no address with a port"),
            ("a.example=app.internal:80", "is no address with a port"),
            ("a.example=0.0.0.0:80", "such as 127.0.0.1:80"),
            ("a.example=[::]:80", "such as 127.0.0.1:80"),
        ];
        for (text, words) in cases {
            let error = App::from_str(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(cases.len(), 11);
    }

    #[test]
    fn names_are_those_of_services() {
        let long = format!("{}.example", "a".repeat(80));
        let mut taken = BTreeSet::new();
        let cases = [
            ("app.example.com", "app-example-com"),
            ("*.example.com", "any-example-com"),
            ("app-example.com", "app-example-com-2"),
            ("1.example", "app-1-example"),
            (&long, &*"a".repeat(63)),
            ("[::1]", "app-1"),
        ];
        for (host, expected) in cases {
            assert_eq!(free_name(host, &mut taken), expected);
        }
        let second = free_name(&long, &mut taken);
        assert_eq!((second.len(), second.ends_with("a-2")), (63, true));
        assert_eq!(cases.len(), 6);
    }
}
