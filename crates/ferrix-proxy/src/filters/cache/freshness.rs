//! Which responses may be kept, and for how long they are good (RFC 9111, sections 3, 4.2 and 5.2; RFC 5861).

use std::time::{Duration, SystemTime};

use ferrix_http1::{Fields, ResponseHead};
use ferrix_table::filters::cache::CacheTerms;
use tokio::time::Instant;

/// Statuses that are kept where the response says how long it is fresh.
const UNDERSTOOD: [u16; 15] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 501,
];

/// Statuses that are kept where it does not.
const BY_DEFAULT: [u16; 4] = [200, 203, 301, 308];

/// Longer than this is for ever (RFC 9111, section 1.2.2).
const FOR_EVER: u64 = 1 << 31;

/// What a request brings that not every response is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Personal {
    /// `Authorization`.
    pub(super) credentials: bool,
    /// `Cookie`.
    pub(super) cookies: bool,
}

impl Personal {
    pub(super) fn of(fields: &Fields) -> Self {
        Self {
            credentials: fields.contains("authorization"),
            cookies: fields.contains("cookie"),
        }
    }
}

/// Directives of `Cache-Control`, of requests and of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_cache: bool,
    pub(super) no_store: bool,
    pub(super) only_if_cached: bool,
    private: bool,
    public: bool,
    must_revalidate: bool,
    max_age: Option<u64>,
    s_maxage: Option<u64>,
    min_fresh: Option<u64>,
    stale_while_revalidate: Option<u64>,
    stale_if_error: Option<u64>,
}

impl Directives {
    /// What is said several times counts with its smallest value, and what makes no sense is zero.
    pub(super) fn of(fields: &Fields) -> Self {
        let mut all = Self::default();
        for value in fields.get_all("cache-control") {
            for directive in elements(value) {
                all.take(directive);
            }
        }
        if !fields.contains("cache-control") {
            // RFC 9111, section 5.4.
            let mut pragma = fields.get_all("pragma").flat_map(elements);
            all.no_cache = pragma.any(|it| it.eq_ignore_ascii_case(b"no-cache"));
        }
        all
    }

    fn take(&mut self, directive: &[u8]) {
        let mut parts = directive.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next().map(unquoted);
        let least = |slot: &mut Option<u64>| {
            let seconds = seconds(value.unwrap_or_default());
            *slot = Some(slot.map_or(seconds, |before| before.min(seconds)));
        };
        match &*name.to_ascii_lowercase() {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
            b"max-age" => least(&mut self.max_age),
            b"s-maxage" => least(&mut self.s_maxage),
            b"min-fresh" => least(&mut self.min_fresh),
            b"stale-while-revalidate" => least(&mut self.stale_while_revalidate),
            b"stale-if-error" => least(&mut self.stale_if_error),
            _ => {}
        }
    }
}

/// Elements of a list, of which some are quoted, and may have commas in them.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let elements = value.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    elements.map(<[u8]>::trim_ascii).filter(|it| !it.is_empty())
}

fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|it| it.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// Too many are for ever; what is no number is none.
fn seconds(text: &[u8]) -> u64 {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    text.iter().fold(0, |sum: u64, digit| {
        FOR_EVER.min(sum * 10 + u64::from(digit - b'0'))
    })
}

/// When a response was asked for and came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetched {
    pub(super) asked: Instant,
    pub(super) came: Instant,
    /// When it came, by the clock.
    pub(super) clock: SystemTime,
}

/// How long a response that is kept is good for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    came: Instant,
    /// How old it was then.
    age: Duration,
    lifetime: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    /// Whether requests with cookies may have it: it says itself how long it is fresh.
    said: bool,
    /// Whether requests with credentials may have it (RFC 9111, section 3.5).
    shared: bool,
}

/// What may be done with a response for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is the answer.
    Fresh,
    /// It is the answer, and is to be fetched anew meanwhile.
    WhileRevalidated,
    /// It is to be fetched anew first.
    AfterValidation,
    /// It is not for this request.
    No,
}

impl Freshness {
    /// That of a response to a request; `None`: it may not be kept, or would be good for nothing.
    pub(super) fn of(
        terms: &CacheTerms,
        personal: Personal,
        head: &ResponseHead,
        fetched: Fetched,
    ) -> Option<Self> {
        let fields = &head.fields;
        let said = Directives::of(fields);
        let refused = said.no_store
            || said.no_cache
            || said.private
            || fields.contains("set-cookie")
            || fields
                .get_all("vary")
                .flat_map(elements)
                .any(|it| it == b"*");
        if refused || !UNDERSTOOD.contains(&head.status.as_u16()) {
            return None;
        }
        let shared = said.public || said.must_revalidate || said.s_maxage.is_some();
        let explicit = lifetime(&said, fields, fetched.clock);
        let by_default = || {
            let usual = BY_DEFAULT.contains(&head.status.as_u16()) && !personal.cookies;
            Some(terms.default_ttl).filter(|ttl| usual && !ttl.is_zero())
        };
        let lifetime = explicit.or_else(by_default)?;
        if personal.credentials && !shared {
            return None;
        }
        let stale = |said_for: Option<u64>, unless_said: Duration| match said_for {
            _ if said.must_revalidate => Duration::ZERO,
            Some(seconds) => Duration::from_secs(seconds),
            // It is as good as `proxy-revalidate` (RFC 9111, section 5.2.2.10).
            None if said.s_maxage.is_some() => Duration::ZERO,
            None => unless_said,
        };
        let freshness = Self {
            came: fetched.came,
            age: age(fields, fetched),
            lifetime,
            stale_while_revalidate: stale(
                said.stale_while_revalidate,
                terms.stale_while_revalidate,
            ),
            stale_if_error: stale(said.stale_if_error, terms.stale_if_error),
            said: explicit.is_some(),
            shared,
        };
        let longest = freshness
            .stale_while_revalidate
            .max(freshness.stale_if_error);
        (freshness.age < lifetime + longest).then_some(freshness)
    }

    /// How old the response is (RFC 9111, section 4.2.3).
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.came)
    }

    /// For how long it is fresh from now on, in seconds; negative: since when it is stale.
    pub(super) fn ttl(&self, now: Instant) -> i64 {
        let seconds = |it: Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }

    /// What may be done with it for a request that asks for this.
    pub(super) fn use_for(&self, asked: &Directives, personal: Personal, now: Instant) -> Use {
        if personal.credentials && !self.shared || personal.cookies && !self.said {
            return Use::No;
        }
        let age = self.age(now);
        let within = |limit: Option<u64>, is: Duration| {
            limit.is_none_or(|limit| is <= Duration::from_secs(limit))
        };
        let needed = Duration::from_secs(asked.min_fresh.unwrap_or(0));
        if asked.no_cache || !within(asked.max_age, age) {
            return Use::AfterValidation;
        }
        match age.checked_sub(self.lifetime) {
            None if age + needed <= self.lifetime => Use::Fresh,
            Some(stale) if stale < self.stale_while_revalidate && needed.is_zero() => {
                Use::WhileRevalidated
            }
            _ => Use::AfterValidation,
        }
    }

    /// Whether it may answer a request that cannot be answered otherwise.
    pub(super) fn helps_on_error(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime + self.stale_if_error
    }
}

/// How long a response says that it is fresh (RFC 9111, section 4.2.1).
fn lifetime(said: &Directives, fields: &Fields, came: SystemTime) -> Option<Duration> {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some(Duration::from_secs(seconds));
    }
    let expires = fields.get("expires")?;
    // What is no date is in the past (RFC 9111, section 5.3).
    let Some(expires) = date(expires) else {
        return Some(Duration::ZERO);
    };
    let dated = fields.get("date").and_then(date).unwrap_or(came);
    Some(expires.duration_since(dated).unwrap_or_default())
}

/// How old a response was when it came (RFC 9111, section 4.2.3).
fn age(fields: &Fields, fetched: Fetched) -> Duration {
    let dated = fields.get("date").and_then(date);
    let apparent = dated.and_then(|dated| fetched.clock.duration_since(dated).ok());
    let told = Duration::from_secs(fields.get("age").map_or(0, |it| seconds(it.trim_ascii())));
    let delay = fetched.came.saturating_duration_since(fetched.asked);
    apparent.unwrap_or_default().max(told + delay)
}

/// A date of HTTP in any of its forms.
pub(super) fn date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
