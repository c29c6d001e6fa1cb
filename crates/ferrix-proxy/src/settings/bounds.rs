//! What the numbers of the settings may be, beyond what their types say.
//!
//! Some limits keep a value from breaking what it is used for: a duration that overflows the clock
//! or a socket option, a count that overflows a counter. Others only keep out what nobody can mean,
//! such as a limit that refuses every request.

use std::time::Duration;

use bytesize::ByteSize;

use super::Settings;

/// A number of some settings `S`, and what it may be.
#[derive(Debug)]
pub struct Bound<S> {
    /// Where it stands, such as `timeouts.connect`.
    pub key: &'static str,
    value: Value<S>,
    /// In nanoseconds, bytes, or as it is.
    least: u128,
    most: u128,
    /// Whether 0 is allowed beside these, and means that there is no limit.
    can_be_lifted: bool,
}

/// Where a number is found, and what it measures.
#[derive(Debug)]
enum Value<S> {
    Duration(fn(&S) -> Duration),
    Size(fn(&S) -> ByteSize),
    Count(fn(&S) -> usize),
}

/// A number that is not within its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, found {found}")]
pub struct OutOfBounds {
    /// Where it stands.
    pub key: &'static str,
    /// What it may be, in words.
    pub expected: String,
    /// What it is, and perhaps why that cannot be.
    pub found: String,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The clock of the runtime ends after two years.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest time between probes of a connection that Linux takes (tcp(7), `TCP_KEEPIDLE`).
const LONGEST_PROBE: Duration = Duration::from_secs(32_767);

/// The largest flow control window (RFC 9113, section 6.9.1).
const LARGEST_WINDOW: ByteSize = ByteSize::b((1 << 31) - 1);

/// Every bounded number of the data plane.
///
/// `upstream.tcp.user_timeout` is a socket option that counts milliseconds in 31 bits: 24 days. A
/// request counts its attempts in 8 bits. The codec holds 256 fields.
pub const BOUNDS: &[Bound<Settings>] = &[
    Bound::count("server.threads", 0, 1024, |it| it.server.threads),
    Bound::duration("server.drain_delay", Duration::ZERO, DAY, |it| {
        it.server.drain_delay
    }),
    Bound::duration("server.drain_timeout", Duration::ZERO, DAY, |it| {
        it.server.drain_timeout
    }),
    Bound::size(
        "limits.header_bytes",
        ByteSize::kib(1),
        ByteSize::mib(16),
        |it| it.limits.header_bytes,
    ),
    Bound::count("limits.header_count", 1, 256, |it| it.limits.header_count),
    Bound::size(
        "limits.uri_bytes",
        ByteSize::b(1),
        ByteSize::mib(16),
        |it| it.limits.uri_bytes,
    ),
    Bound::count("limits.udp_sessions", 1, 1 << 20, |it| {
        it.limits.udp_sessions
    }),
    Bound::duration("timeouts.header", MILLISECOND, HOUR, |it| {
        it.timeouts.header
    }),
    Bound::duration("timeouts.tls_handshake", MILLISECOND, HOUR, |it| {
        it.timeouts.tls_handshake
    }),
    Bound::duration("timeouts.keep_alive", MILLISECOND, YEAR, |it| {
        it.timeouts.keep_alive
    }),
    Bound::duration("timeouts.body", MILLISECOND, YEAR, |it| it.timeouts.body),
    Bound::duration("timeouts.body_grace", MILLISECOND, YEAR, |it| {
        it.timeouts.body_grace
    }),
    Bound::duration("timeouts.write", MILLISECOND, YEAR, |it| it.timeouts.write),
    Bound::duration("timeouts.connect", MILLISECOND, HOUR, |it| {
        it.timeouts.connect
    }),
    Bound::duration("timeouts.response", MILLISECOND, YEAR, |it: &Settings| {
        it.timeouts.response
    })
    .or_none(),
    Bound::duration("timeouts.upgraded", MILLISECOND, YEAR, |it| {
        it.timeouts.upgraded
    }),
    Bound::duration("timeouts.udp", MILLISECOND, HOUR, |it| it.timeouts.udp),
    Bound::count("http2.streams", 1, 100_000, |it| it.http2.streams as usize),
    Bound::size(
        "http2.stream_window",
        ByteSize::b(65_535),
        LARGEST_WINDOW,
        |it| it.http2.stream_window,
    ),
    Bound::size(
        "http2.connection_window",
        ByteSize::b(65_535),
        LARGEST_WINDOW,
        |it| it.http2.connection_window,
    ),
    Bound::size(
        "http2.header_list",
        ByteSize::kib(1),
        ByteSize::mib(16),
        |it| it.http2.header_list,
    ),
    Bound::size(
        "http2.request_headers",
        ByteSize::kib(1),
        ByteSize::gib(1),
        |it: &Settings| it.http2.request_headers,
    )
    .or_none(),
    Bound::duration("upstream.idle_timeout", Duration::ZERO, YEAR, |it| {
        it.upstream.idle_timeout
    }),
    Bound::count("upstream.attempts", 1, 100, |it| it.upstream.attempts),
    Bound::duration(
        "upstream.tcp.keep_alive_idle",
        SECOND,
        LONGEST_PROBE,
        |it| it.upstream.tcp.keep_alive_idle,
    ),
    Bound::duration(
        "upstream.tcp.keep_alive_interval",
        SECOND,
        LONGEST_PROBE,
        |it| it.upstream.tcp.keep_alive_interval,
    ),
    Bound::count("upstream.tcp.keep_alive_probes", 1, 127, |it| {
        it.upstream.tcp.keep_alive_probes
    }),
    Bound::duration(
        "upstream.tcp.user_timeout",
        MILLISECOND,
        DAY,
        |it: &Settings| it.upstream.tcp.user_timeout,
    )
    .or_none(),
    Bound::size(
        "upstream.tcp.receive_buffer",
        ByteSize::kib(1),
        ByteSize::gib(1),
        |it: &Settings| it.upstream.tcp.receive_buffer,
    )
    .or_none(),
    Bound::count("upstream.tcp.dscp", 0, 63, |it| it.upstream.tcp.dscp.into()),
];

impl Settings {
    /// Whether every number is within its bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        BOUNDS.iter().try_for_each(|bound| bound.check(self))
    }
}

impl<S> Bound<S> {
    /// A duration from `least` to `most`.
    pub const fn duration(
        key: &'static str,
        least: Duration,
        most: Duration,
        of: fn(&S) -> Duration,
    ) -> Self {
        let value = Value::Duration(of);
        Self::new(key, value, least.as_nanos(), most.as_nanos())
    }

    /// A size from `least` to `most`.
    pub const fn size(
        key: &'static str,
        least: ByteSize,
        most: ByteSize,
        of: fn(&S) -> ByteSize,
    ) -> Self {
        Self::new(key, Value::Size(of), least.0 as u128, most.0 as u128)
    }

    /// A number from `least` to `most`.
    pub const fn count(key: &'static str, least: usize, most: usize, of: fn(&S) -> usize) -> Self {
        Self::new(key, Value::Count(of), least as u128, most as u128)
    }

    const fn new(key: &'static str, value: Value<S>, least: u128, most: u128) -> Self {
        Self {
            key,
            value,
            least,
            most,
            can_be_lifted: false,
        }
    }

    /// The same, but 0 may stand for no limit.
    #[must_use]
    pub const fn or_none(self) -> Self {
        Self {
            can_be_lifted: true,
            ..self
        }
    }

    /// What the number may be, such as `a number from 1 to 256`.
    pub fn expected(&self) -> String {
        let kind = match self.value {
            Value::Duration(_) => "a duration such as 10s,",
            Value::Size(_) => "a size such as 64KiB,",
            Value::Count(_) => "a number",
        };
        let (least, most) = (self.text(self.least), self.text(self.most));
        let none = match self.can_be_lifted {
            true => format!("{}, or ", self.text(0)),
            false => String::new(),
        };
        format!("{none}{kind} from {least} to {most}")
    }

    /// Whether the number is what it may be.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn check(&self, settings: &S) -> Result<(), OutOfBounds> {
        let value = match self.value {
            Value::Duration(of) => of(settings).as_nanos(),
            Value::Size(of) => of(settings).as_u64().into(),
            Value::Count(of) => of(settings) as u128,
        };
        let lifted = value == 0 && self.can_be_lifted;
        if lifted || (self.least..=self.most).contains(&value) {
            return Ok(());
        }
        let reason = match value {
            0 => ": this limit cannot be lifted",
            _ => "",
        };
        Err(OutOfBounds {
            key: self.key,
            expected: self.expected(),
            found: self.text(value) + reason,
        })
    }

    /// A value as it is written in the settings, in the largest unit that leaves no fraction.
    fn text(&self, value: u128) -> String {
        const DURATIONS: &[(u128, &str)] = &[
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        const SIZES: &[(u128, &str)] = &[
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
            (1, "B"),
        ];
        let units = match self.value {
            Value::Duration(_) if value == 0 => return "0s".into(),
            Value::Size(_) if value == 0 => return "0".into(),
            Value::Duration(_) => DURATIONS,
            Value::Size(_) => SIZES,
            Value::Count(_) => return value.to_string(),
        };
        let whole = |(unit, _): &&(u128, &str)| value.is_multiple_of(*unit);
        match units.iter().find(whole) {
            Some((unit, name)) => format!("{}{name}", value / unit),
            None => value.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn the_least_and_the_most_are_allowed_and_nothing_beyond() {
        let bound = Bound::duration("it", MILLISECOND, HOUR, |it: &Duration| *it);
        let or_none = Bound::duration("it", MILLISECOND, HOUR, |it: &Duration| *it).or_none();
        let nanosecond = Duration::from_nanos(1);
        let cases = [
            (Duration::ZERO, false, true),
            (MILLISECOND - nanosecond, false, false),
            (MILLISECOND, true, true),
            (HOUR, true, true),
            (HOUR + nanosecond, false, false),
            (Duration::MAX, false, false),
        ];
        for (value, allowed, or_none_allowed) in cases {
            assert_eq!(bound.check(&value).is_ok(), allowed, "{value:?}");
            assert_eq!(or_none.check(&value).is_ok(), or_none_allowed, "{value:?}");
        }
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn messages_are_in_the_units_of_the_settings() {
        let duration = Bound::duration("it", MILLISECOND, YEAR, |it: &Duration| *it).or_none();
        let size = Bound::size("it", ByteSize::kib(1), LARGEST_WINDOW, |it: &ByteSize| *it);
        let count = Bound::count("it", 1, 256, |it: &usize| *it);
        let message = |result: Result<(), OutOfBounds>| result.unwrap_err().to_string();
        assert_eq!(
            message(duration.check(&Duration::from_secs(u64::MAX))),
            "it: expected 0s, or a duration such as 10s, from 1ms to 365d, found 18446744073709551615s"
        );
        assert_eq!(
            message(duration.check(&Duration::from_micros(20))),
            "it: expected 0s, or a duration such as 10s, from 1ms to 365d, found 20us"
        );
        assert_eq!(
            message(size.check(&ByteSize::gib(2))),
            "it: expected a size such as 64KiB, from 1KiB to 2147483647B, found 2GiB"
        );
        assert_eq!(
            message(count.check(&0)),
            "it: expected a number from 1 to 256, found 0: this limit cannot be lifted"
        );
    }
}
