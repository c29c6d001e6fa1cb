//! Differences as text for people, and as JSON for programs.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
};

use ferrix_rule::Sample;
use serde::Serialize;

use super::{
    Asked, Difference, Differences, Requests, State,
    outcome::{Answer, Outcome, Part, Served, Share},
};
use crate::{
    check::counted,
    colour::{self, PLACE, RIGHT, WRONG},
};

/// How differences are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A paragraph for each, for people.
    #[default]
    Text,
    /// One object, for programs.
    Json,
}

/// All that there is to say, as JSON.
#[derive(Serialize)]
struct Compared<'d> {
    before: &'d str,
    after: &'d str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    withheld: Vec<&'d str>,
    requests: usize,
    differing: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    untried_rules: &'d [String],
    #[serde(skip_serializing_if = "is_zero")]
    unread_lines: usize,
    differences: Vec<Paragraph<'d>>,
}

/// One difference, as JSON.
#[derive(Serialize)]
struct Paragraph<'d> {
    count: usize,
    request: RequestView<'d>,
    before: &'d Served,
    after: &'d Served,
}

/// The first request of a difference, as JSON.
#[derive(Serialize)]
struct RequestView<'d> {
    entry_point: &'d str,
    method: &'d str,
    host: &'d str,
    target: String,
    headers: Vec<String>,
    client: IpAddr,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Differences {
    /// All that there is to say. A text has colours.
    pub fn print(
        &self,
        before: &State,
        after: &State,
        requests: &Requests,
        output: Output,
    ) -> Result<String, serde_json::Error> {
        match output {
            Output::Text => Ok(self.text(before, after, requests)),
            Output::Json => self.json(before, after, requests),
        }
    }

    fn text(&self, before: &State, after: &State, requests: &Requests) -> String {
        let mut text = String::new();
        for reason in before.withheld.iter().chain(&after.withheld) {
            text += &format!("{}\n", colour::in_style(WRONG, reason));
        }
        for difference in &self.all {
            text += &format!("{difference}\n");
        }
        for rule in &requests.untried {
            text += &format!("not compared, as no request for it was found: {rule}\n");
        }
        if requests.unread > 0 {
            let lines = counted(requests.unread, "line");
            text += &format!("not compared, as they are no requests: {lines} of the log\n");
        }
        let (before, after) = (&before.name, &after.name);
        let compared = counted(self.requests, "request");
        text += &match self.differing {
            0 => format!("{before}, {after}: no difference in {compared}\n"),
            count => format!("{before}, {after}: {count} of {compared} served differently\n"),
        };
        text
    }

    fn json(
        &self,
        before: &State,
        after: &State,
        requests: &Requests,
    ) -> Result<String, serde_json::Error> {
        let withheld = before.withheld.iter().chain(&after.withheld);
        let compared = Compared {
            before: &before.name,
            after: &after.name,
            withheld: withheld.map(String::as_str).collect(),
            requests: self.requests,
            differing: self.differing,
            untried_rules: &requests.untried,
            unread_lines: requests.unread,
            differences: self.all.iter().map(Paragraph::of).collect(),
        };
        Ok(serde_json::to_string_pretty(&compared)? + "\n")
    }
}

impl<'d> Paragraph<'d> {
    fn of(difference: &'d Difference) -> Self {
        let Asked {
            entry_point,
            sample,
        } = &difference.example;
        Self {
            count: difference.count,
            request: RequestView {
                entry_point,
                method: sample.method.as_str(),
                host: &sample.host,
                target: target(sample),
                headers: fields(sample).collect(),
                client: sample.client,
            },
            before: &difference.before,
            after: &difference.after,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sample = &self.example.sample;
        let line = format!("{} {}{}", sample.method, sample.host, target(sample));
        write!(f, "{}", colour::in_style(PLACE, &line))?;
        if self.count > 1 {
            write!(f, ", and {} like it", self.count - 1)?;
        }
        write!(f, "\n  at entry point {}", self.example.entry_point)?;
        if self.example.is_from_elsewhere() {
            write!(f, " from {}", sample.client)?;
        }
        writeln!(f)?;
        for field in fields(sample) {
            writeln!(f, "  with {field}")?;
        }
        for (when, style, served) in [
            ("before", WRONG, &self.before),
            ("after", RIGHT, &self.after),
        ] {
            let when = colour::in_style(style, &format!("{when}:"));
            writeln!(f, "  {when} {served}")?;
        }
        self.policies(f)
    }
}

impl Difference {
    /// What only one of both asks for, where both forward.
    fn policies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (&self.before.outcome, &self.after.outcome);
        let (before, after) = (before.asked_for(), after.asked_for());
        let sides = [(&before, &after, WRONG, "-"), (&after, &before, RIGHT, "+")];
        for (these, others, style, sign) in sides {
            for (at, part) in these.iter().filter(|it| !others.contains(it)) {
                let part = part.beside(others.iter().map(|(_, it)| it));
                writeln!(f, "  {} {part}{at}", colour::in_style(style, sign))?;
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// Filters and the like, of the rule and of its destinations, and what policies of services say, each with
    /// where that is.
    fn asked_for(&self) -> Vec<(String, Part)> {
        let shares = match &self.answer {
            Answer::Services(shares) => &shares[..],
            _ => &[],
        };
        let of_share = |share: &Share| {
            let service = share.service.clone().unwrap_or_default();
            let filters = share.filters.iter().chain(&share.asks);
            let filters = filters.map(move |it| (format!(" at {service}"), it.clone()));
            filters.collect::<Vec<_>>()
        };
        let of_shares = shares.iter().flat_map(of_share);
        let of_rule = self.policy.iter().map(|it| (String::new(), it.clone()));
        of_rule.chain(of_shares).collect()
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(rule), Some(position)) = (&self.outcome.rule, self.position) {
            write!(f, "rule {position} of {}, ", rule.route)?;
        }
        match &self.outcome.answer {
            Answer::Services(shares) => services(shares, f),
            Answer::Filter => f.write_str("answered by a filter"),
            Answer::NoRule => f.write_str("404, no rule takes it"),
            Answer::Unresolved => f.write_str("500, a reference leads nowhere"),
            Answer::Unavailable => f.write_str("503, every service has weight 0"),
            Answer::NoCertificate => f.write_str("no certificate, the TLS handshake fails"),
            Answer::NoEntryPoint => f.write_str("nothing listens there"),
        }
    }
}

fn services(shares: &[Share], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("to ")?;
    for (place, share) in shares.iter().enumerate() {
        if place > 0 {
            f.write_str(" and ")?;
        }
        let service = share.service.as_deref();
        f.write_str(service.unwrap_or("500 for a reference that leads nowhere"))?;
        if shares.len() > 1 {
            write!(f, " ({})", share.weight)?;
        }
    }
    Ok(())
}

fn fields(sample: &Sample) -> impl Iterator<Item = String> {
    let fields = sample.headers.iter();
    fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
}

/// What a client sends for the path and the query.
pub(super) fn target(sample: &Sample) -> String {
    let mut target = String::new();
    for byte in sample.path.bytes() {
        // What a routing path keeps of encodings stands in it with its `%`.
        if byte.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&byte) {
            target.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
    if !sample.query.is_empty() {
        target.push('?');
        target += &sample.query;
    }
    target
}
