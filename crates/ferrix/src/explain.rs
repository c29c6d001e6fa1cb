//! `ferrix explain`: what a request would get from a folder of manifests, and why.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::Arc,
};

use ferrix_control::{
    Report,
    objects::Kind,
    report::{Entry, Reason},
};
use ferrix_table::{
    Request, Table,
    entry_points::EntryPoint,
    host::{self, HostError},
    ids::EntryPointIndex,
    path::{self, CanonicalTarget, PathError, PathOptions},
    rules::{Action, Destination, Split},
    services::Service,
    sockets::Layer,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::{Settings, colour, spelling};

mod place;

/// How many objects are named that may not have the host.
const MOST_REFUSED: usize = 10;

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Header fields. `Host` stands for another host than that of the URL.
    pub headers: HeaderMap,
    /// Who asks.
    pub client: IpAddr,
    /// Where it comes in; absent: what fits the URL.
    pub entry_point: Option<String>,
}

impl Question {
    /// A plain GET from this machine.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            entry_point: None,
        }
    }
}

/// The parts of a URL as a client would send them, well formed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    authority: String,
    target: String,
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected http://HOST/PATH or https://HOST/PATH";
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(EXPECTED),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err(EXPECTED);
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            secure,
            authority: authority.into(),
            target: format!("{slash}{target}"),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

/// Reads `Name: value`, as curl does.
pub fn header_field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    let name = HeaderName::from_str(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// Why there is no explanation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The question names one that does not exist.
    #[error("there is no entry point {name:?}; the entry points are {known}")]
    EntryPoint {
        /// As asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// None speaks the scheme of the URL.
    #[error("no entry point {} TLS, as the URL asks; name one with --entry-point", if *.0 { "ends" } else { "is without" })]
    Scheme(bool),
}

/// What `question` would get from `table`, and why, for a person. `report`: that of the same objects.
pub fn explain(
    settings: &Settings,
    table: &Table,
    report: &Report,
    question: &Question,
) -> Result<String, Error> {
    let index = place::find(settings, table, question)?;
    let mut text = String::new();
    let made = Made {
        table,
        report,
        is_stream: false,
    };
    // Writing to a String cannot fail.
    let _ = write(settings, made, question, index, &mut text);
    Ok(text)
}

/// An explanation with what decides in colours.
pub(crate) fn coloured(explanation: &str) -> String {
    let style = |line: &str| match line {
        line if line.starts_with("served by no rule") => Some(colour::WRONG),
        line if line.starts_with("served by ") => Some(colour::RIGHT),
        line if line.starts_with("answer: from ") || line == "answer: by weight, one of" => {
            Some(colour::RIGHT)
        }
        line if line.starts_with("answer: ") => Some(colour::WRONG),
        _ => None,
    };
    let mut text = String::new();
    for line in explanation.lines() {
        match style(line) {
            Some(style) => text += &colour::in_style(style, line),
            None => text += line,
        }
        text.push('\n');
    }
    text
}

/// What was made of the objects.
#[derive(Clone, Copy)]
struct Made<'m> {
    table: &'m Table,
    report: &'m Report,
    /// Whether it is asked about a connection that is handed on as bytes.
    is_stream: bool,
}

impl Made<'_> {
    /// What becomes of what is not forwarded.
    fn refusal(&self, status: &'static str) -> &'static str {
        match self.is_stream {
            true => "none, the connection is closed",
            false => status,
        }
    }
}

fn write(
    settings: &Settings,
    made: Made<'_>,
    question: &Question,
    index: EntryPointIndex,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let table = made.table;
    let url = &question.url;
    let asked = Asked::new(settings, question);
    let is_of_tls = |it: &Arc<EntryPoint>| it.protocol.layer() == Layer::Tls;
    let over_tls = table.entry_points.get(index).is_some_and(is_of_tls);
    let here = match &asked {
        Ok(asked) if over_tls => place::of_host(table, index, &asked.server_name),
        Ok(asked) => place::of_host(table, index, &asked.host),
        Err(_) => Some(index),
    };
    let Some(entry_point) = table.entry_points.get(here.unwrap_or(index)) else {
        return Ok(());
    };
    writeln!(out, "{} {url}", question.method)?;
    writeln!(
        out,
        "at entry point {} from {}",
        entry_point.name, question.client
    )?;

    let uri_bytes = settings.proxy.limits.uri_bytes;
    if url.target.len() as u64 > uri_bytes.as_u64() {
        return writeln!(out, "\nanswer: 414, the target is longer than {uri_bytes}");
    }
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return writeln!(out, "\nanswer: 400, {refusal}"),
    };
    writeln!(
        out,
        "host {}, path {}",
        asked.host, asked.target.routing_path
    )?;
    let Some(index) = here else {
        return match over_tls {
            true => writeln!(
                out,
                "\nanswer: none, the TLS handshake fails: no listener of its address is for {}",
                asked.server_name
            ),
            false => writeln!(
                out,
                "\nanswer: 404, no listener of its address is for {}",
                asked.host
            ),
        };
    };
    let made = Made {
        is_stream: !entry_point.protocol.takes_requests(),
        ..made
    };

    if entry_point.protocol.ends_tls() {
        let certificates = &table.certificates;
        let presented = certificates.find(index, Some(&asked.server_name));
        let Some(presented) = presented else {
            return writeln!(
                out,
                "\nanswer: none, the TLS handshake fails: there is no certificate for {} and no \
                 default one",
                asked.server_name,
            )
            .and_then(|()| refused(made.report, &asked.server_name, out))
            .and_then(|()| nearest(table, &asked.server_name, out));
        };
        writeln!(
            out,
            "certificate {} for the server name {}",
            presented.id, asked.server_name
        )?;
    }
    if entry_point.is_secure() {
        let certificates = &table.certificates;
        if place::of_host(table, index, &asked.host) != Some(index) {
            return writeln!(
                out,
                "\nanswer: 421, the connection is for {}; {} is another listener's",
                asked.server_name, asked.host,
            );
        }
        if !certificates.share_connection(index, &asked.server_name, &asked.host) {
            return writeln!(
                out,
                "\nanswer: 421, the connection is for {}; {} has another certificate",
                asked.server_name, asked.host,
            );
        }
    }

    let mut headers = question.headers.clone();
    headers.remove(header::HOST);
    let request = Request {
        method: &question.method,
        // Of a stream nothing but the server name is read.
        host: if made.is_stream {
            &asked.server_name
        } else {
            &asked.host
        },
        path: &asked.target.routing_path,
        query: asked.target.query(),
        headers: &headers,
        client: question.client,
    };
    let explanation = table.explain(index, &request);
    writeln!(out, "\n{explanation}")?;
    if let Some(rule) = explanation.winner {
        policy(&table.policy_lines(rule), out)?;
    }
    write!(out, "answer: ")?;
    match explanation.winner.map(|rule| &rule.action) {
        None if explanation.others.is_empty() && explanation.dry_runs.is_empty() => {
            unknown_host(made, &asked.host, out)
        }
        None => {
            writeln!(out, "{}, no rule takes it", made.refusal("404"))?;
            refused(made.report, &asked.host, out)
        }
        Some(Action::Unresolved(reason)) => writeln!(out, "{}, {reason}", made.refusal("500")),
        Some(Action::Answered) => writeln!(out, "by a filter of the rule"),
        Some(Action::Unavailable) => {
            let refusal = made.refusal("503");
            writeln!(out, "{refusal}, every service of the rule has weight 0")
        }
        Some(Action::Forward(split)) => forward(made, split, out),
    }
}

/// What a request passes on its way, in this order.
fn policy(lines: &[String], out: &mut impl fmt::Write) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "on its way:")?;
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    writeln!(out)
}

fn unknown_host(made: Made<'_>, host: &str, out: &mut impl fmt::Write) -> fmt::Result {
    writeln!(out, "{}, no rule is for {host}", made.refusal("404"))?;
    refused(made.report, host, out)?;
    nearest(made.table, host, out)
}

/// The objects that ask for a host and may not have it, where nobody else takes the request.
fn refused(report: &Report, host: &str, out: &mut impl fmt::Write) -> fmt::Result {
    let asks = |entry: &&Arc<Entry>| entry.refused_hosts.iter().any(|it| it.takes(host));
    for entry in report.entries().iter().filter(asks).take(MOST_REFUSED) {
        let findings = entry.findings.iter();
        for finding in findings.filter(|it| it.reason == Reason::HostNotAllowed) {
            write!(out, "\nNot by {}: {}\n", entry.key, finding.message)?;
        }
    }
    Ok(())
}

/// The hosts that may have been meant, where no rule takes this one.
fn nearest(table: &Table, host: &str, out: &mut impl fmt::Write) -> fmt::Result {
    if table.rules.iter().any(|rule| rule.host.takes(host)) {
        return Ok(());
    }
    let hosts: BTreeSet<String> = table
        .rules
        .iter()
        .map(|rule| rule.host.to_string())
        .collect();
    match spelling::nearest_hosts(host, hosts.iter().map(String::as_str)).as_slice() {
        [] => Ok(()),
        nearest => writeln!(out, "\nThe most like it: {}", nearest.join(", ")),
    }
}

fn forward(made: Made<'_>, split: &Split, out: &mut impl fmt::Write) -> fmt::Result {
    let destinations: Vec<_> = split.weights().collect();
    if let [(only, _)] = destinations[..] {
        return share(made, only, out);
    }
    let total: u64 = destinations.iter().map(|(_, weight)| weight).sum();
    writeln!(out, "by weight, one of")?;
    for (destination, weight) in destinations {
        write!(out, "  {weight} of {total}: ")?;
        share(made, destination, out)?;
    }
    Ok(())
}

fn share(made: Made<'_>, destination: &Destination, out: &mut impl fmt::Write) -> fmt::Result {
    match &destination.service {
        Err(reason) => writeln!(out, "{}, {reason}", made.refusal("500")),
        Ok(index) => match made.table.service(*index) {
            Some(service) => endpoints(made, service, out),
            None => Ok(()),
        },
    }?;
    for line in made.table.filter_lines(destination) {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

fn endpoints(made: Made<'_>, service: &Service, out: &mut impl fmt::Write) -> fmt::Result {
    let id = &service.id;
    let object = made.report.get(&id.service.key(Kind::Service));
    let mut findings = object.iter().flat_map(|entry| &entry.findings);
    if let Some(finding) = findings.find(|it| it.reason == Reason::NotLookedUp) {
        return writeln!(out, "from service {id}: {}", finding.message);
    }
    if service.endpoints.is_empty() {
        let refusal = made.refusal("503");
        return writeln!(out, "{refusal}, service {id} has no endpoint that is ready");
    }
    let addresses: Vec<_> = service
        .endpoints
        .iter()
        .map(|it| it.address.to_string())
        .collect();
    let addresses = addresses.join(", ");
    let Some(policy) = &service.policy else {
        return writeln!(out, "from service {id}, {addresses} in turn");
    };
    let name = &policy.name;
    writeln!(
        out,
        "from service {id}, {addresses} by BackendPolicy {name}"
    )?;
    for line in policy.lines() {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

/// The question in canonical form.
struct Asked<'q> {
    /// What the TLS handshake names.
    server_name: String,
    /// What the request names.
    host: String,
    target: CanonicalTarget<'q>,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("the Host field is not text")]
    HostBytes,
    #[error(transparent)]
    Path(#[from] PathError),
}

impl<'q> Asked<'q> {
    fn new(settings: &Settings, question: &'q Question) -> Result<Self, Refusal> {
        let server_name = host::canonical(&question.url.authority)?.host.into_owned();
        let host = match question.headers.get(header::HOST) {
            Some(host) => {
                let text = host.to_str().map_err(|_| Refusal::HostBytes)?;
                host::canonical(text)?.host.into_owned()
            }
            None => server_name.clone(),
        };
        let options = PathOptions {
            merge_slashes: settings.proxy.paths.merge_slashes,
            refuse_encoded_slashes: settings.proxy.paths.refuse_encoded_slashes,
        };
        let target = path::canonical(&question.url.target, &options)?;
        Ok(Self {
            server_name,
            host,
            target,
        })
    }
}

#[cfg(test)]
mod tests;
