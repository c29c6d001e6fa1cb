//! `XBackendTrafficPolicy`: which requests to a Service are sent once more, and which stay together.
//!
//! It asks for what a BackendPolicy can ask for as well, and comes to the same in the table. Where a BackendPolicy of
//! the Service says it, that is in force; of several policies for one Service it is the oldest.

use std::{sync::Arc, time::Duration};

use ferrix_api::gateway::{BackendTrafficPolicySpec, RetryConstraint};
use ferrix_table::{
    backend_policy::{BackendPolicy, RetryBudget},
    policy::Session,
};

use crate::{
    filters::{Faults, policy},
    listeners::Fault,
    objects::ObjectName,
    report::Reason,
    verdict::Condition,
    version::Version,
    world::World,
};

/// One version of a policy.
pub(crate) type TrafficPolicy = Version<BackendTrafficPolicySpec>;

/// The longest time that a budget may be about, and the shortest.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// So many requests a policy may let be sent once more in any case.
const COUNTS: std::ops::RangeInclusive<i64> = 1..=1_000_000;

/// What a policy asks for of a Service.
#[derive(Debug, Default)]
struct Asked {
    retries: Option<RetryBudget>,
    session: Option<Session>,
}

/// What a Service has of all that is said of it. `own`: what a BackendPolicy says.
pub(crate) fn combined(
    world: &World,
    service: &ObjectName,
    own: Option<&Arc<BackendPolicy>>,
) -> Option<Arc<BackendPolicy>> {
    let of_service = of_service(world, service);
    let asked = of_service.and_then(|policy| Some((policy, check(policy, service).ok()?)));
    let Some((policy, asked)) = asked else {
        return own.cloned();
    };
    let named = || BackendPolicy::new(policy.key().object.clone());
    let mut combined = own.map_or_else(named, |own| BackendPolicy::clone(own));
    combined.retries = combined.retries.or(asked.retries);
    combined.session = combined.session.or(asked.session);
    Some(Arc::new(combined))
}

/// The policy of a Service.
fn of_service<'w>(world: &'w World, service: &'w ObjectName) -> Option<&'w TrafficPolicy> {
    let policies = world.traffic_policies_of(service);
    policies.min_by_key(|policy| policy.seniority())
}

/// What a policy asks for of one of its Services, or why nothing of it can be done.
fn check(policy: &TrafficPolicy, service: &ObjectName) -> Result<Asked, Fault> {
    let spec = &policy.spec;
    let mut faults = Faults::default();
    let retries = spec.retry_constraint.as_ref();
    let retries = retries.map(|it| budget(it, &mut faults));
    let session = spec.session_persistence.as_ref().and_then(|written| {
        if written.session_name.is_some() && spec.target_refs.len() > 1 {
            let message = "is for one Service: sessions of several would end each other";
            let field = "spec.sessionPersistence.sessionName";
            faults.add(Reason::InvalidSpec, field, message);
        }
        let of = format!("{} {service}", policy.key());
        policy::session(written, &of, None, "spec.sessionPersistence", &mut faults)
    });
    faults.or(Asked { retries, session }).map_err(|findings| {
        let first = findings.into_iter().next();
        let message = first.map(|it| format!("`{}`: {}.", it.field, it.message));
        Fault {
            reason: "Invalid",
            message: message.unwrap_or_default(),
        }
    })
}

/// Ferrix counts what is under way at once: the share is that of these requests, and so many are sent once more in
/// any case as may be in a second.
fn budget(written: &RetryConstraint, faults: &mut Faults) -> RetryBudget {
    let (budget, rate) = (&written.budget, &written.min_retry_rate);
    let mut interval = |text: &str, field: &str| {
        let parsed = policy::duration(text, field, faults)?;
        if !INTERVALS.contains(&parsed) {
            let message = format!("{text} is not within a second and an hour");
            faults.add(Reason::InvalidSpec, field, message);
        }
        Some(parsed)
    };
    interval(&budget.interval, "spec.retryConstraint.budget.interval");
    let per = interval(&rate.interval, "spec.retryConstraint.minRetryRate.interval");
    let percent = u8::try_from(budget.percent).ok().filter(|it| *it <= 100);
    if percent.is_none() {
        let message = format!("{} is no share; expected 0 to 100", budget.percent);
        let field = "spec.retryConstraint.budget.percent";
        faults.add(Reason::InvalidSpec, field, message);
    }
    let count = u32::try_from(rate.count).ok();
    let count = count.filter(|_| COUNTS.contains(&rate.count));
    if count.is_none() {
        let message = format!("{}: expected 1 to 1000000", rate.count);
        let field = "spec.retryConstraint.minRetryRate.count";
        faults.add(Reason::InvalidSpec, field, message);
    }
    let seconds = per.map_or(1, |per| per.as_secs().max(1));
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    RetryBudget {
        percent: percent.unwrap_or_default(),
        least: count.unwrap_or_default().div_ceil(seconds),
    }
}

/// `Accepted` of a policy, among all that is said of its Services. `services`: those, each with what its
/// BackendPolicy says, where they exist.
pub(crate) fn accepted(
    world: &World,
    policy: &TrafficPolicy,
    services: &[(ObjectName, Option<Arc<BackendPolicy>>)],
) -> Condition {
    let not = |reason, message| Condition::new("Accepted", false, reason, message);
    let Some((first, _)) = services.first() else {
        let message = "None of its targets is a Service that exists.".to_owned();
        return not("TargetNotFound", message);
    };
    if let Err(fault) = check(policy, first) {
        return not(fault.reason, fault.message);
    }
    let mut taken = Vec::new();
    let mut in_force = false;
    for (service, own) in services {
        let oldest = of_service(world, service);
        if let Some(older) = oldest.filter(|it| it.key() != policy.key()) {
            taken.push(format!(
                "{} is older, and for Service {service}",
                older.key()
            ));
            continue;
        }
        let members = [
            (
                "retryConstraint",
                policy.spec.retry_constraint.is_some(),
                own.as_ref().is_some_and(|own| own.retries.is_some()),
            ),
            (
                "sessionPersistence",
                policy.spec.session_persistence.is_some(),
                own.as_ref().is_some_and(|own| own.session.is_some()),
            ),
        ];
        for (name, _, is_taken) in members.into_iter().filter(|(_, is_asked, _)| *is_asked) {
            match (own, is_taken) {
                (Some(own), true) => {
                    let other = &own.name;
                    taken.push(format!(
                        "BackendPolicy {other} comes before its `{name}` for Service {service}"
                    ));
                }
                _ => in_force = true,
            }
        }
    }
    let taken = taken.join("; ");
    match (in_force, taken.is_empty()) {
        (true, true) => Condition::new("Accepted", true, "Accepted", "The policy is in force."),
        (true, false) => {
            let message = format!("The policy is in force, but for this: {taken}.");
            Condition::new("Accepted", true, "Accepted", message)
        }
        (false, false) => not("Conflicted", format!("Nothing of it is in force: {taken}.")),
        (false, true) => {
            let message = "It asks for nothing.";
            Condition::new("Accepted", true, "Accepted", message)
        }
    }
}
