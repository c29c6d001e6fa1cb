//! Ejection and checks, as they are written.

use std::time::Duration;

use ferrix_api::backendpolicy;
use ferrix_table::health::{Check, CheckKind, Ejection, Health};

use crate::{
    filters::{Faults, error_pages, policy},
    report::Reason,
};

/// The longest time of any kind here.
const LONGEST: Duration = Duration::from_secs(3600);

/// The shortest time between two checks.
const SHORTEST: Duration = Duration::from_millis(100);

const FIELD: &str = "spec.health";

/// The share that is left out at most, and that is left at least, where nothing else is said.
const HALF: u8 = 50;

pub(super) fn compile(written: &backendpolicy::Health, faults: &mut Faults) -> Health {
    // A field that is new belongs in here.
    let backendpolicy::Health {
        ejection,
        check,
        panic_threshold,
    } = written;
    if panic_threshold.is_some_and(|percent| percent > 100) {
        let message = "expected 0 to 100";
        let field = format!("{FIELD}.panicThreshold");
        faults.add(Reason::InvalidSpec, field, message);
    }
    Health {
        ejection: ejection.as_ref().map(|it| self::ejection(it, faults)),
        check: check.as_ref().and_then(|it| self::check(it, faults)),
        panic_threshold: panic_threshold.unwrap_or(HALF),
    }
}

fn ejection(written: &backendpolicy::Ejection, faults: &mut Faults) -> Ejection {
    // A field that is new belongs in here.
    let backendpolicy::Ejection {
        statuses,
        failures,
        time,
        max_percent,
    } = written;
    let field = format!("{FIELD}.ejection");
    if *failures == Some(0) {
        let message = "expected at least 1";
        faults.add(Reason::InvalidSpec, format!("{field}.failures"), message);
    }
    if max_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
        let message = "expected 1 to 100";
        faults.add(Reason::InvalidSpec, format!("{field}.maxPercent"), message);
    }
    let time = time.as_deref();
    let time = time.and_then(|text| between(text, &format!("{field}.time"), faults));
    let statuses = match statuses.is_empty() {
        true => [500..=599].into(),
        false => error_pages::statuses(statuses, &field, faults),
    };
    Ejection {
        statuses,
        failures: failures.unwrap_or(5),
        time: time.unwrap_or(Duration::from_secs(30)),
        max_percent: max_percent.unwrap_or(HALF),
    }
}

fn check(written: &backendpolicy::Check, faults: &mut Faults) -> Option<Check> {
    // A field that is new belongs in here.
    let backendpolicy::Check {
        http,
        grpc,
        tcp,
        port,
        interval,
        timeout,
        failures,
        successes,
    } = written;
    let field = format!("{FIELD}.check");
    let kinds = [
        http.as_ref().map(|it| self::http(it, &field, faults)),
        grpc.as_ref().map(|it| CheckKind::Grpc {
            service: it.service.as_deref().unwrap_or_default().into(),
        }),
        tcp.as_ref().map(|_| CheckKind::Tcp),
    ];
    let mut kinds = kinds.into_iter().flatten();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        let message = "expected exactly one of `http`, `grpc` and `tcp`";
        faults.add(Reason::InvalidSpec, field, message);
        return None;
    };
    let counts = [
        ("port", *port),
        ("failures", *failures),
        ("successes", *successes),
    ];
    for (name, _) in counts.into_iter().filter(|(_, count)| *count == Some(0)) {
        let message = "expected at least 1";
        faults.add(Reason::InvalidSpec, format!("{field}.{name}"), message);
    }
    let mut time = |text: &Option<String>, name: &str| {
        let text = text.as_deref()?;
        between(text, &format!("{field}.{name}"), faults)
    };
    Some(Check {
        kind,
        port: *port,
        interval: time(interval, "interval").unwrap_or(Duration::from_secs(10)),
        timeout: time(timeout, "timeout").unwrap_or(Duration::from_secs(2)),
        failures: failures.unwrap_or(3),
        successes: successes.unwrap_or(2),
    })
}

fn http(written: &backendpolicy::HttpCheck, field: &str, faults: &mut Faults) -> CheckKind {
    let path = written.path.as_deref().unwrap_or("/");
    if !path.starts_with('/') || !is_visible(path) {
        let message = format!("`{path}` is no path; expected such as `/healthz`");
        faults.add(Reason::InvalidSpec, format!("{field}.http.path"), message);
    }
    let host = written.host.as_deref();
    if let Some(host) = host.filter(|host| !is_visible(host)) {
        let message = format!("`{host}` is no host");
        faults.add(Reason::InvalidSpec, format!("{field}.http.host"), message);
    }
    CheckKind::Http {
        path: path.into(),
        host: host.map(Into::into),
    }
}

/// Whether a text may stand in a line of HTTP.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn between(text: &str, field: &str, faults: &mut Faults) -> Option<Duration> {
    let time = policy::duration(text, field, faults)?;
    if !(SHORTEST..=LONGEST).contains(&time) {
        let message = "expected a tenth of a second (`100ms`) at least and an hour (`1h`) at most";
        faults.add(Reason::InvalidSpec, field, message);
    }
    Some(time)
}
