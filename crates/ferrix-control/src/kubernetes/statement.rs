//! What a status says: what came of an object, how many replicas serve it, and since when.
//!
//! Pure. Whether it is due, the ledger decides.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{census::Count, seen::Seen};
use crate::{
    gateway_status,
    objects::ObjectName,
    report::{ConditionType, Entry, Reason, Serving},
    status::{self, Part, PartOf, Status},
    verdict::{self, Verdict},
};

/// The status of a route; without a count, that which it has where every replica serves it.
pub(super) fn status(
    entry: &Entry,
    count: Option<&Count>,
    seen: &Seen,
    installation: Option<&str>,
) -> Status {
    if is_of_gateway_api(entry) {
        return verdict(entry, count, seen, installation);
    }
    let behind = count.filter(|count| !count.is_whole());
    let conditions = entry.conditions.iter().map(|condition| {
        let mut status = condition.status;
        let mut reason = condition.reason;
        let mut message = condition.message.to_string();
        let waits = matches!(
            condition.condition,
            ConditionType::Programmed | ConditionType::Ready
        );
        if let Some(count) = behind
            && waits
            && status
        {
            status = false;
            reason = Reason::Pending;
            message = count.pending();
        } else if !status
            && says_what_serves(entry, condition.condition)
            && let Some(exceptions) = behind.and_then(Count::exceptions)
        {
            message.push('\n');
            message.push_str(&exceptions);
        }
        let type_ = condition.condition.as_str();
        let status = if status { "True" } else { "False" };
        let since = seen.since(None, type_, status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            observed_generation: condition.observed_generation,
            last_transition_time: Time(since.unwrap_or_else(Timestamp::now)),
        }
    });
    Status {
        installation: installation.map(str::to_owned),
        entry_points: entry.entry_points.to_vec(),
        replicas: count.filter(|_| is_programmed(entry)).map(Count::to_string),
        conditions: conditions.collect(),
        used_by: match entry.verdict.as_deref() {
            Some(Verdict::Filter(used_by)) => Some(used_by.clone()),
            _ => None,
        },
        ..Status::default()
    }
}

/// Whether the status is told in the words of the Gateway API.
fn is_of_gateway_api(entry: &Entry) -> bool {
    !matches!(entry.verdict.as_deref(), None | Some(Verdict::Filter(_)))
}

/// The same of an object of the Gateway API.
fn verdict(
    entry: &Entry,
    count: Option<&Count>,
    seen: &Seen,
    installation: Option<&str>,
) -> Status {
    let mut status = gateway_status::of(entry);
    if is_programmed(entry) {
        for part in &mut status.parts {
            if let Some(programmed) = programmed(part, count, entry.observed_generation) {
                part.conditions.push(programmed);
            }
        }
        status.replicas = count.filter(|_| has_parents(entry)).map(Count::to_string);
    }
    let Status {
        conditions, parts, ..
    } = &mut status;
    let own = conditions.iter_mut().map(|it| (None, it));
    let of_parts = parts.iter_mut().flat_map(|Part { of, conditions }| {
        let of = &*of;
        conditions.iter_mut().map(move |it| (Some(of), it))
    });
    for (part, condition) in own.chain(of_parts) {
        if let Some(count) = count.filter(|count| !count.is_whole())
            && condition.type_ == ConditionType::Programmed.as_str()
            && condition.status == "True"
        {
            condition.status = "False".to_owned();
            condition.reason = Reason::Pending.as_str().to_owned();
            condition.message = count.pending();
        }
        let since = seen.since(part, &condition.type_, &condition.status);
        condition.last_transition_time = Time(since.unwrap_or_else(Timestamp::now));
    }
    status.foreign = seen.foreign.to_vec();
    status.installation = installation.map(str::to_owned);
    status
}

/// How many replicas serve what a route asks for at a parent that has accepted it.
fn programmed(part: &Part, count: Option<&Count>, generation: Option<i64>) -> Option<Condition> {
    let mut conditions = part.conditions.iter();
    let is_accepted = conditions.any(|it| it.type_ == "Accepted" && it.status == "True");
    let (PartOf::Parent(_), true) = (&part.of, is_accepted) else {
        return None;
    };
    let (status, reason, message) = match count {
        Some(count) if !count.is_whole() => (false, Reason::Pending, count.pending()),
        count => {
            let all = count.map(Count::to_string).unwrap_or_default();
            (true, Reason::Programmed, gateway_status::served_by(&all))
        }
    };
    let condition = (gateway_status::PROGRAMMED, status);
    Some(status::timeless(
        condition,
        reason.as_str(),
        message,
        generation,
    ))
}

/// Adds that Filters are gone which requests passed through: to a route, or to what is told of it at each of
/// its parents.
pub(super) fn add_loss(
    status: &mut Status,
    lost: &BTreeSet<ObjectName>,
    generation: Option<i64>,
    seen: &Seen,
) {
    let made = |part: Option<&PartOf>| {
        let (condition, reason) = ((gateway_status::FILTER_LOST, true), Reason::FilterLost);
        let mut made = status::timeless(condition, reason.as_str(), loss(lost), generation);
        let since = seen.since(part, gateway_status::FILTER_LOST, "True");
        made.last_transition_time = Time(since.unwrap_or_else(Timestamp::now));
        made
    };
    for Part { of, conditions } in &mut status.parts {
        conditions.push(made(Some(of)));
    }
    if !status.conditions.is_empty() {
        status.conditions.push(made(None));
    }
}

/// What is lost with Filters, for people.
fn loss(lost: &BTreeSet<ObjectName>) -> String {
    let names: Vec<_> = lost.iter().map(ObjectName::to_string).collect();
    format!(
        "Requests passed through what is gone, and go on without it: Filter {}.",
        names.join(", Filter ")
    )
}

/// The status that takes back what was written before.
pub(super) fn nothing(seen: &Seen) -> Status {
    Status {
        foreign: seen.foreign.to_vec(),
        ..Status::default()
    }
}

/// Whether there is anything to tell of an object in its status.
pub(super) fn tells(entry: &Entry) -> bool {
    match entry.verdict.as_deref() {
        None | Some(Verdict::Filter(_)) => !entry.conditions.is_empty(),
        Some(Verdict::Route(parents) | Verdict::Policy(parents)) => !parents.is_empty(),
        Some(Verdict::Gateway(_) | Verdict::GatewayClass(_) | Verdict::ListenerSet(_)) => true,
    }
}

/// Whether it is of a route that attaches to Gateways.
fn has_parents(entry: &Entry) -> bool {
    matches!(entry.verdict.as_deref(), Some(Verdict::Route(_)))
}

/// Whether the message of a condition that is false tells what is served all the same.
fn says_what_serves(entry: &Entry, condition: ConditionType) -> bool {
    match condition {
        ConditionType::Accepted => matches!(entry.serving, Serving::LastGood { .. }),
        ConditionType::Programmed => true,
        ConditionType::Ready | ConditionType::ResolvedRefs | ConditionType::Verified => false,
    }
}

/// Whether a replica that has come so far serves the newest version.
pub(super) fn is_programmed(entry: &Entry) -> bool {
    let is = |conditions: &[verdict::Condition], condition| {
        let mut conditions = conditions.iter();
        conditions.any(|it| it.condition == condition && it.status)
    };
    match entry.verdict.as_deref() {
        None | Some(Verdict::Filter(_)) => {}
        Some(Verdict::Gateway(told)) => return is(&told.conditions, "Programmed"),
        Some(Verdict::ListenerSet(told)) => return is(&told.conditions, "Programmed"),
        Some(Verdict::Route(parents)) => {
            let mut parents = parents.iter();
            return parents.any(|it| is(&it.conditions, "Accepted"));
        }
        Some(Verdict::GatewayClass(_) | Verdict::Policy(_)) => return false,
    }
    let mut conditions = entry.conditions.iter();
    conditions.all(|it| it.condition != ConditionType::Programmed || it.status)
}

/// Whether something that serves it can no longer be seen.
pub(super) fn is_no_longer_seen(entry: &Entry) -> bool {
    let mut findings = entry.findings.iter();
    findings.any(|it| it.reason == Reason::NoLongerSeen)
}

/// Whether endpoints are all that is missing, as far as the status says that, which passes in a moment where pods are replaced.
pub(super) fn lacks_endpoints(entry: &Entry) -> bool {
    if is_of_gateway_api(entry) {
        return false;
    }
    let ready = entry.condition(ConditionType::Ready);
    ready.is_some_and(|it| it.reason == Reason::NoEndpoints)
}

/// What is wrong with a route, and a hash of it; nothing of an object of the Gateway API, whose status says
/// all.
pub(super) fn problems(
    entry: &Entry,
    lost: Option<&BTreeSet<ObjectName>>,
) -> (u64, Vec<(Reason, String)>) {
    let conditions = entry.conditions.iter();
    let wrong = conditions.filter(|it| !it.status && !is_of_gateway_api(entry));
    // That a route is not programmed follows from what else is wrong, and what sums up or is about
    // another condition repeats it.
    let first = wrong.filter(|it| {
        it.condition != ConditionType::Programmed && it.reason.condition() == Some(it.condition)
    });
    let problems: Vec<_> = first
        .map(|condition| (condition.reason, condition.message.to_string()))
        .chain(lost.map(|lost| (Reason::FilterLost, loss(lost))))
        .collect();
    let mut hasher = DefaultHasher::new();
    problems.hash(&mut hasher);
    (hasher.finish(), problems)
}
