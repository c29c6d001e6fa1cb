//! What becomes of a request in one state of the objects.

use ferrix_table::{
    Table,
    filters::{Filter, Reference},
    ids::EntryPointIndex,
    policy::Policy,
    rules::{Action, Destination, Rule},
};
use serde::{Serialize, Serializer};

use super::Asked;

/// How a request is served.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Served {
    /// The rule's place in its object. Not compared: it moves when another rule comes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u32>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What two states are compared by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    #[serde(flatten)]
    pub(super) rule: Option<RuleName>,
    pub(super) answer: Answer,
    /// Each filter, and whatever else the rule asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) policy: Vec<Part>,
}

/// A filter, or something else that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// As `ferrix explain` has it, which may leave something out, and names the Filter that it is from.
    said: String,
    /// All of it, by which it is compared.
    whole: String,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.whole == other.whole
    }
}

impl Eq for Part {}

/// A rule, as it is known in both states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RuleName {
    /// The object.
    pub(super) route: String,
    /// The hosts that it is for.
    host: String,
    /// What else it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<String>,
}

/// Where the answer comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Backends.
    Services(Vec<Share>),
    /// A filter of the rule.
    Filter,
    /// 404: no rule takes it.
    NoRule,
    /// 500: a reference of the rule leads nowhere.
    Unresolved,
    /// 503: no service of the rule has a weight.
    Unavailable,
    /// None: there is no certificate for the host, so that the TLS handshake fails.
    NoCertificate,
    /// None: nothing listens there.
    NoEntryPoint,
}

/// A share of the requests of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    /// `None`: 500, the reference leads nowhere.
    pub(super) service: Option<String>,
    /// Weights without a common factor, so that 2 to 2 is as 1 to 1.
    pub(super) weight: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) filters: Vec<Part>,
    /// What the policy of the service asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) asks: Vec<Part>,
}

pub(super) fn served(table: &Table, asked: &Asked) -> Served {
    let nothing = |answer| Served {
        position: None,
        outcome: Outcome {
            rule: None,
            answer,
            policy: Vec::new(),
        },
    };
    let host = &asked.sample.host;
    let Some(entry_point) = entry_point(table, asked) else {
        return nothing(Answer::NoEntryPoint);
    };
    let secure = table
        .entry_points
        .get(entry_point)
        .is_some_and(|it| it.is_secure());
    if secure && table.certificates.find(entry_point, Some(host)).is_none() {
        return nothing(Answer::NoCertificate);
    }
    match table.rules.lookup(entry_point, &asked.sample.request()) {
        None => nothing(Answer::NoRule),
        Some(rule) => Served {
            position: Some(rule.position),
            outcome: Outcome {
                rule: Some(RuleName::of(rule)),
                answer: answer(table, &rule.action),
                policy: policy(table, rule),
            },
        },
    }
}

/// The entry point of that name, unless another one of its socket is for the host.
fn entry_point(table: &Table, asked: &Asked) -> Option<EntryPointIndex> {
    let named = table.entry_points.find(&asked.entry_point)?;
    let (socket, _) = table.entry_points.socket_of(named)?;
    table.entry_points.choose(socket, &asked.sample.host)
}

impl RuleName {
    fn of(rule: &Rule) -> Self {
        Self {
            route: rule.route.to_string(),
            host: rule.host.to_string(),
            matches: rule.text().map(str::to_owned),
        }
    }
}

fn answer(table: &Table, action: &Action) -> Answer {
    match action {
        Action::Unresolved(_) => Answer::Unresolved,
        Action::Unavailable => Answer::Unavailable,
        Action::Answered => Answer::Filter,
        Action::Forward(split) => {
            let weights = split.weights();
            let factor = weights.map(|(_, weight)| weight).fold(0, common_factor);
            let share = |(destination, weight): (&Destination, u64)| Share {
                service: service(table, &destination.service),
                weight: weight / factor.max(1),
                filters: parts(
                    table.filter_lines(destination),
                    of_share(table, destination),
                ),
                asks: asks(table, &destination.service),
            };
            Answer::Services(split.weights().map(share).collect())
        }
    }
}

fn common_factor(one: u64, other: u64) -> u64 {
    match other {
        0 => one,
        _ => common_factor(other, one % other),
    }
}

/// The service by its name, as indices say nothing in another table.
fn service(table: &Table, reference: &Reference) -> Option<String> {
    let id = &table.service(*reference.as_ref().ok()?)?.id;
    Some(format!("{}://{id}", id.scheme.as_str()))
}

/// What is asked for, as it is said and as a whole, in the same order.
fn parts(said: Vec<String>, whole: Vec<String>) -> Vec<Part> {
    let both = said.into_iter().zip(whole);
    both.map(|(said, whole)| Part { said, whole }).collect()
}

fn of_share(table: &Table, destination: &Destination) -> Vec<String> {
    filters(table, destination.filters.iter().flat_map(|it| it.iter()))
}

/// What the policy of a service asks for, whatever it is called.
fn asks(table: &Table, reference: &Reference) -> Vec<Part> {
    let service = reference.as_ref().ok().and_then(|it| table.service(*it));
    let policy = service.and_then(|service| service.policy.as_ref());
    let lines = policy.map_or_else(Vec::new, |policy| policy.lines());
    parts(lines.clone(), lines)
}

fn filters<'f>(table: &Table, filters: impl IntoIterator<Item = &'f Filter>) -> Vec<String> {
    let filters = filters.into_iter();
    let named = filters.map(|it| it.with_service(|reference| service(table, reference)));
    named.map(|it| format!("{it:?}")).collect()
}

fn policy(table: &Table, rule: &Rule) -> Vec<Part> {
    let Some(policy) = &rule.policy else {
        return Vec::new();
    };
    // A field that is new belongs in here, in the place that it has among the lines for people.
    let Policy {
        lists: _,
        timeouts,
        retry,
        session,
        body_bytes,
    } = &**policy;
    let mut whole = filters(table, policy.filters());
    whole.extend(timeouts.request.map(|it| format!("{it:?}")));
    whole.extend(timeouts.backend_request.map(|it| format!("{it:?}")));
    whole.extend(retry.as_ref().map(|it| format!("{it:?}")));
    whole.extend(session.as_ref().map(|it| format!("{it:?}")));
    whole.extend(body_bytes.map(|it| it.to_string()));
    parts(table.policy_lines(rule), whole)
}

impl Part {
    /// What tells it from others.
    pub(super) fn beside<'o>(&self, mut others: impl Iterator<Item = &'o Part>) -> &str {
        match others.any(|it| it.said == self.said) {
            true => &self.whole,
            false => &self.said,
        }
    }
}

/// As it is said.
impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.said)
    }
}
