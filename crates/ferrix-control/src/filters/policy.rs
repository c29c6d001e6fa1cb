//! The policy of a rule, as it is written: filters, timeouts, retries and sessions.

use std::{sync::Arc, time::Duration};

use ferrix_api::gateway::{self, HttpRouteFilter, SessionPersistence};
use ferrix_table::policy::{Policy, Retry, Session, SessionCarrier, Timeouts};

use super::{Faults, List, Place, compile, is_token};
use crate::{
    draft::DraftPolicy,
    report::{Finding, Reason},
};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a rule says beside which requests it takes and who answers them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WrittenPolicy<'w> {
    pub(crate) filters: &'w [HttpRouteFilter],
    pub(crate) timeouts: Option<&'w gateway::Timeouts>,
    pub(crate) retry: Option<&'w gateway::Retry>,
    pub(crate) session: Option<&'w SessionPersistence>,
}

/// Compiles the policy of a rule of an HTTPRoute or a GRPCRoute.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn of_rule(
    written: WrittenPolicy<'_>,
    place: Place<'_>,
) -> Result<Option<Arc<DraftPolicy>>, Vec<Finding>> {
    let (List::HttpRule(rule) | List::GrpcRule(rule)) = place.list else {
        return Ok(None);
    };
    let field = format!("spec.rules[{rule}]");
    let mut faults = Faults::default();
    let lists = compile(written.filters, place).unwrap_or_else(|found| {
        faults.0.extend(found);
        Box::default()
    });
    let policy = Policy {
        lists,
        timeouts: (written.timeouts)
            .map(|it| timeouts(it, &format!("{field}.timeouts"), &mut faults))
            .unwrap_or_default(),
        retry: (written.retry).map(|it| retry(it, &format!("{field}.retry"), &mut faults)),
        session: written.session.and_then(|it| {
            let name = format!("{} {rule}", place.object);
            let field = format!("{field}.sessionPersistence");
            session(it, &name, place.prefix, &field, &mut faults)
        }),
        body_bytes: None,
    };
    faults.or((!policy.is_empty()).then(|| Arc::new(policy)))
}

pub(crate) fn timeouts(written: &gateway::Timeouts, field: &str, faults: &mut Faults) -> Timeouts {
    let mut read = |text: &Option<String>, name: &str| {
        let text = text.as_deref()?;
        duration(text, &format!("{field}.{name}"), faults)
    };
    let timeouts = Timeouts {
        request: read(&written.request, "request"),
        backend_request: read(&written.backend_request, "backendRequest"),
    };
    if let (Some(request), Some(attempt)) = (timeouts.request, timeouts.backend_request)
        && !request.is_zero()
        && attempt > request
    {
        let message = "is longer than `request`, of which it is a part";
        faults.add(
            Reason::InvalidSpec,
            format!("{field}.backendRequest"),
            message,
        );
    }
    timeouts
}

pub(crate) fn retry(written: &gateway::Retry, field: &str, faults: &mut Faults) -> Retry {
    for (at, code) in written.codes.iter().enumerate() {
        if !(400..=599).contains(code) {
            let message = format!("{code} is no status of a failure; expected 400 to 599");
            faults.add(Reason::InvalidSpec, format!("{field}.codes[{at}]"), message);
        }
    }
    if written.attempts == Some(0) {
        let message = "expected at least 1";
        faults.add(Reason::InvalidSpec, format!("{field}.attempts"), message);
    }
    let pause = written.backoff.as_deref();
    let pause = pause.and_then(|text| duration(text, &format!("{field}.backoff"), faults));
    let backoff = pause.unwrap_or_default();
    if backoff > LONGEST_PAUSE {
        let message = "expected a minute at most";
        faults.add(Reason::InvalidSpec, format!("{field}.backoff"), message);
    }
    Retry {
        codes: written.codes.clone().into(),
        // No more fit into what attempts are counted by.
        attempts: written.attempts.map(|it| it.min(254) as u8),
        backoff,
    }
}

/// The sessions of a rule, or of a Service; named after what they are of where they have no name.
pub(crate) fn session(
    written: &SessionPersistence,
    of: &str,
    prefix: Option<&str>,
    field: &str,
    faults: &mut Faults,
) -> Option<Session> {
    let timeout = written.absolute_timeout.as_deref();
    let timeout = timeout.and_then(|it| duration(it, &format!("{field}.absoluteTimeout"), faults));
    let name: Arc<str> = match written.session_name.as_deref() {
        None => session_name(of),
        Some(name) if is_token(name) => name.into(),
        Some(name) => {
            let message = format!("`{name}` is no name of a cookie or a header");
            faults.add(Reason::InvalidSpec, format!("{field}.sessionName"), message);
            return None;
        }
    };
    let lifetime = written.cookie_config.as_ref();
    let lifetime = lifetime.map_or("Session", |it| it.lifetime_type.as_str());
    let carrier = match (written.kind.as_str(), lifetime) {
        ("Header", _) => SessionCarrier::Header(name),
        ("Cookie", "Session" | "Permanent") => SessionCarrier::Cookie {
            name,
            path: prefix
                .filter(|it| it.starts_with('/'))
                .unwrap_or("/")
                .into(),
            permanent: lifetime == "Permanent",
        },
        ("Cookie", other) => {
            let message = format!("`{other}` is unknown; expected Session or Permanent");
            let field = format!("{field}.cookieConfig.lifetimeType");
            faults.add(Reason::UnsupportedValue, field, message);
            return None;
        }
        (other, _) => {
            let message = format!("`{other}` is unknown; expected Cookie or Header");
            faults.add(Reason::UnsupportedValue, format!("{field}.type"), message);
            return None;
        }
    };
    if timeout.is_none()
        && matches!(
            carrier,
            SessionCarrier::Cookie {
                permanent: true,
                ..
            }
        )
    {
        let message = "a permanent cookie needs `absoluteTimeout`";
        faults.add(Reason::InvalidSpec, field, message);
    }
    Some(Session {
        carrier,
        absolute_timeout: timeout.filter(|timeout| !timeout.is_zero()),
    })
}

/// The name of the cookie or the header of sessions that have none, by what they are of.
pub(crate) fn session_name(of: &str) -> Arc<str> {
    format!("ferrix-{:08x}", digest(of)).into()
}

/// FNV-1a: the same on every replica and in every release.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Reads a duration of the Gateway API (GEP-2257): up to four numbers of up to five digits, with `h`,
/// `m`, `s` or `ms`.
pub(crate) fn duration(text: &str, field: &str, faults: &mut Faults) -> Option<Duration> {
    let parsed = parse_duration(text);
    if parsed.is_none() {
        let message =
            format!("`{text}` is no duration; expected such as `10s`, `1m30s` or `250ms`");
        faults.add(Reason::InvalidSpec, field, message);
    }
    parsed
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().ok().filter(|_| digits <= 5)?;
        let (milliseconds, after) = match unit {
            unit if unit.starts_with("ms") => (1, &unit[2..]),
            unit if unit.starts_with('h') => (3_600_000, &unit[1..]),
            unit if unit.starts_with('m') => (60_000, &unit[1..]),
            unit if unit.starts_with('s') => (1000, &unit[1..]),
            _ => return None,
        };
        sum += Duration::from_millis(number * milliseconds);
        rest = after;
        if rest.is_empty() {
            return Some(sum);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("10s", Some(10_000)),
            ("0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("1m30s", Some(90_000)),
            ("250ms", Some(250)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("", None),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("10d", None),
            ("1s ", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        assert_eq!(cases.len(), 15);
    }
}
