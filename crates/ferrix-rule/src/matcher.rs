//! One condition on a request: the eleven matchers of the language and what only fields of objects
//! ask for, their arguments checked and made ready.
//!
//! What can be worked out once is worked out here, so that matching only compares.

use std::{net::IpAddr, str};

use http::{HeaderName, header};
use ipnet::{IpNet, Ipv4Net};

use crate::{
    error::Problem,
    query,
    regexp::{self, Budget, Extent, Regexp},
    request::Request,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Matcher {
    Host(HostPattern),
    HostRegexp(Regexp),
    Path(Box<str>),
    PathPrefix(Box<str>),
    /// This path, and what lies below it: `/foo` takes `/foo/bar` and not `/foobar`. It does not
    /// end with a slash. The language has no word for it.
    SegmentPrefix(Box<str>),
    PathRegexp(Regexp),
    Method(Box<str>),
    Header(FieldName, Box<[u8]>),
    HeaderRegexp(FieldName, Regexp),
    /// The key and the value, which is empty where the rule names none.
    Query(Box<[u8]>, Box<[u8]>),
    QueryRegexp(Box<[u8]>, Regexp),
    ClientIp(IpNet),
}

/// The argument of `Host`, lower case and without the dot that ends an absolute name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern {
    /// `*`: every request, even one without a host.
    Any,
    /// `*.example.com`, kept as `example.com`: one label more than that, exactly.
    Wildcard(Box<str>),
    Exact(Box<str>),
}

/// The name of a header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FieldName {
    Field(HeaderName),
    /// A name that no request carries among its fields, as it was written. Traefik takes such a
    /// rule, and it never matches.
    Never(Box<[u8]>),
}

impl Matcher {
    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self {
            Matcher::Host(pattern) => pattern.matches(request.host),
            Matcher::HostRegexp(regexp) => regexp.is_match(request.host),
            Matcher::Path(path) => request.path == &**path,
            Matcher::PathPrefix(prefix) => request.path.starts_with(&**prefix),
            Matcher::SegmentPrefix(prefix) => (request.path.strip_prefix(&**prefix))
                .is_some_and(|below| below.is_empty() || below.starts_with('/')),
            Matcher::PathRegexp(regexp) => regexp.is_match(request.path),
            Matcher::Method(method) => request.method.as_str() == &**method,
            Matcher::Header(name, value) => name.any(request, |field| field == &**value),
            Matcher::HeaderRegexp(name, regexp) => {
                name.any(request, |field| regexp.is_match_bytes(field))
            }
            Matcher::Query(key, value) => query::has(request.query, key, value),
            Matcher::QueryRegexp(key, regexp) => query::has_match(request.query, key, regexp),
            Matcher::ClientIp(net) => net.contains(&request.client.to_canonical()),
        }
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Wildcard(domain) => parent(host) == Some(&**domain),
            HostPattern::Exact(exact) => !host.is_empty() && host == &**exact,
        }
    }
}

/// The host without its first label, if it has another.
pub(crate) fn parent(host: &str) -> Option<&str> {
    host.split_once('.')
        .filter(|(label, _)| !label.is_empty())
        .map(|(_, parent)| parent)
}

impl FieldName {
    /// The field of that name, in whatever case. `None`: no field can have it.
    pub(crate) fn new(name: &[u8]) -> Option<FieldName> {
        match HeaderName::from_bytes(name).ok()? {
            // Go, and so Traefik, keeps these two out of the header map.
            header::HOST | header::TRANSFER_ENCODING => Some(FieldName::Never(name.into())),
            name => Some(FieldName::Field(name)),
        }
    }

    /// Whether one of the field's values passes the test.
    pub(crate) fn any(&self, request: &Request<'_>, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            FieldName::Field(name) => request.headers.any(name, &mut test),
            FieldName::Never(_) => false,
        }
    }
}

/// An argument as it was parsed.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) value: Vec<u8>,
    /// Where its opening quote stands in the text.
    pub(crate) at: usize,
    /// Whether the value follows the quote byte for byte, so that a fault in it can be shown.
    pub(crate) verbatim: bool,
}

/// A matcher's name and what it takes.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    least: usize,
    most: usize,
    example: &'static str,
    build: fn(&[Argument], &mut Budget) -> Result<Matcher, Problem>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("an argument of a matcher is not empty")]
    Empty,
    #[error("a path begins with `/`")]
    NotAPath,
    #[error("a host is ASCII")]
    NotAscii,
    #[error("this argument is not UTF-8")]
    NotUtf8,
    #[error("this is neither an IP address nor a network")]
    NotANetwork,
    #[error("in the regular expression, {}", .0.kind)]
    Regexp(regexp::Error),
}

impl Error {
    fn help(&self) -> &'static str {
        match self {
            Error::Empty => "leave the matcher out, or say what it is to match",
            Error::NotAPath => "write for example Path(`/api`); PathRegexp matches anywhere",
            Error::NotAscii => "write an international name in its ASCII form, `xn--…`",
            Error::NotUtf8 => {
                "a byte that is not UTF-8 stands in a path as `%FF`; in a regular expression it \
                 has no place"
            }
            Error::NotANetwork => "write for example `10.1.2.3`, `10.0.0.0/8` or `fd00::/8`",
            Error::Regexp(error) => error.kind.help(),
        }
    }
}

/// The matchers there are.
pub(crate) static SPECS: [Spec; 11] = [
    Spec {
        name: "Host",
        least: 1,
        most: 1,
        example: "Host(`example.com`)",
        build: |args, _| {
            let host = ascii(&args[0])?.to_ascii_lowercase();
            Ok(Matcher::Host(HostPattern::new(&host)))
        },
    },
    Spec {
        name: "HostRegexp",
        least: 1,
        most: 1,
        example: r"HostRegexp(`^[a-z]+\.example\.com$`)",
        build: |args, budget| {
            ascii(&args[0])?;
            Ok(Matcher::HostRegexp(regexp(&args[0], budget)?))
        },
    },
    Spec {
        name: "Path",
        least: 1,
        most: 1,
        example: "Path(`/api`)",
        build: |args, _| Ok(Matcher::Path(path(&args[0])?)),
    },
    Spec {
        name: "PathPrefix",
        least: 1,
        most: 1,
        example: "PathPrefix(`/api/`)",
        build: |args, _| Ok(Matcher::PathPrefix(path(&args[0])?)),
    },
    Spec {
        name: "PathRegexp",
        least: 1,
        most: 1,
        example: "PathRegexp(`^/v[0-9]+/`)",
        build: |args, budget| Ok(Matcher::PathRegexp(regexp(&args[0], budget)?)),
    },
    Spec {
        name: "Method",
        least: 1,
        most: 1,
        example: "Method(`GET`)",
        build: |args, _| Ok(Matcher::Method(upper(&args[0]).into())),
    },
    Spec {
        name: "Header",
        least: 2,
        most: 2,
        example: "Header(`X-Version`, `2`)",
        build: |args, _| Ok(Matcher::Header(field(&args[0]), bytes(&args[1]))),
    },
    Spec {
        name: "HeaderRegexp",
        least: 2,
        most: 2,
        example: "HeaderRegexp(`X-Version`, `^[0-9]+$`)",
        build: |args, budget| {
            Ok(Matcher::HeaderRegexp(
                field(&args[0]),
                regexp(&args[1], budget)?,
            ))
        },
    },
    Spec {
        name: "Query",
        least: 1,
        most: 2,
        example: "Query(`debug`) or Query(`version`, `2`)",
        build: |args, _| Ok(query(args)),
    },
    Spec {
        name: "QueryRegexp",
        least: 1,
        most: 2,
        example: "QueryRegexp(`version`, `^[0-9]+$`)",
        // Without an expression it is `Query`: the value must be empty, not just any.
        build: |args, budget| match args {
            [key, value] => Ok(Matcher::QueryRegexp(bytes(key), regexp(value, budget)?)),
            _ => Ok(query(args)),
        },
    },
    Spec {
        name: "ClientIP",
        least: 1,
        most: 1,
        example: "ClientIP(`10.0.0.0/8`)",
        build: |args, _| {
            let net = str::from_utf8(&args[0].value).ok().and_then(network);
            net.map(Matcher::ClientIp)
                .ok_or_else(|| args[0].problem(Error::NotANetwork))
        },
    },
];

impl Matcher {
    /// Finds a matcher by one of the four spellings of its name: `PathPrefix`, `pathprefix`,
    /// `PATHPREFIX` and `Pathprefix`.
    pub(crate) fn spec(name: &str) -> Option<&'static Spec> {
        let (_, rest) = name.split_at_checked(1)?;
        let lower_or_title = !rest.bytes().any(|byte| byte.is_ascii_uppercase());
        let upper = !name.bytes().any(|byte| byte.is_ascii_lowercase());
        SPECS.iter().find(|spec| {
            let in_any_case = spec.name.eq_ignore_ascii_case(name);
            spec.name == name || in_any_case && (lower_or_title || upper)
        })
    }
}

impl Spec {
    pub(crate) fn takes(&self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Whether so many arguments look like a list of alternatives for the only one.
    pub(crate) fn is_list_of_one(&self, count: usize) -> bool {
        self.most == 1 && count > 1
    }

    pub(crate) fn arity(&self) -> &'static str {
        match (self.least, self.most) {
            (1, 1) => "1 argument",
            (1, _) => "1 or 2 arguments",
            _ => "2 arguments",
        }
    }

    pub(crate) fn usage(&self) -> String {
        format!("write for example {}", self.example)
    }

    /// Checks as many arguments as the matcher takes.
    pub(crate) fn build(
        &self,
        budget: &mut Budget,
        arguments: &[Argument],
    ) -> Result<Matcher, Problem> {
        match arguments.iter().find(|argument| argument.value.is_empty()) {
            Some(empty) => Err(empty.problem(Error::Empty)),
            None => (self.build)(arguments, budget),
        }
    }
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Argument {
    fn problem(&self, error: Error) -> Problem {
        Problem::new(self.at, &error, error.help())
    }

    fn utf8(&self) -> Result<&str, Problem> {
        str::from_utf8(&self.value).map_err(|_| self.problem(Error::NotUtf8))
    }
}

impl HostPattern {
    fn new(host: &str) -> HostPattern {
        if host == "*" {
            return HostPattern::Any;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        match host.strip_prefix("*.") {
            Some(parent) if !parent.is_empty() => HostPattern::Wildcard(parent.into()),
            _ => HostPattern::Exact(host.into()),
        }
    }
}

fn bytes(argument: &Argument) -> Box<[u8]> {
    argument.value.as_slice().into()
}

fn ascii(argument: &Argument) -> Result<&str, Problem> {
    match argument.utf8() {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(argument.problem(Error::NotAscii)),
    }
}

fn path(argument: &Argument) -> Result<Box<str>, Problem> {
    let path = argument.utf8()?;
    if !path.starts_with('/') {
        return Err(argument.problem(Error::NotAPath));
    }
    Ok(path.into())
}

/// Upper case as Go has it: character by character, so that `ß` stays.
fn upper(argument: &Argument) -> String {
    let text = String::from_utf8_lossy(&argument.value);
    let upper = text.chars().map(|c| {
        let mut mapped = c.to_uppercase();
        match (mapped.next(), mapped.next()) {
            (Some(one), None) => one,
            _ => c,
        }
    });
    upper.collect()
}

fn field(argument: &Argument) -> FieldName {
    FieldName::new(&argument.value).unwrap_or_else(|| FieldName::Never(bytes(argument)))
}

fn query(arguments: &[Argument]) -> Matcher {
    let value = arguments.get(1).map(bytes).unwrap_or_default();
    Matcher::Query(bytes(&arguments[0]), value)
}

fn regexp(argument: &Argument, budget: &mut Budget) -> Result<Regexp, Problem> {
    Regexp::new(argument.utf8()?, Extent::Part, budget).map_err(|error| {
        let mut problem = argument.problem(Error::Regexp(error.clone()));
        if argument.verbatim {
            problem.at += 1 + error.at;
        }
        problem
    })
}

/// Reads an address or a network as `ClientIP` does, by Go's rules: what is mapped from IPv4 is IPv4.
pub fn network(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()));
    };
    if !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let net = IpNet::new(address.parse().ok()?, length.parse().ok()?);
    Some(canonical_network(net.ok()?.trunc()))
}

/// A network as canonical addresses are in it: of IPv4, where all its addresses are mapped from there (RFC
/// 4291, section 2.5.5.2).
pub fn canonical_network(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    // A shorter prefix reaches beyond the mapped addresses; then no IPv4 address is in it.
    let mapped = v6
        .addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96))
        .and_then(|(v4, length)| Ipv4Net::new(v4, length).ok());
    mapped.map_or(network, IpNet::V4)
}
