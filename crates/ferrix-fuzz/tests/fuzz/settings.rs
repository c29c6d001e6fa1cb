//! The settings file: any text is settings that can be used, or an error that names a place.

use std::time::Instant;

use ferrix::Settings;
use ferrix_fuzz::Corpus;

const WORDS: &[&str] = &[
    ": ",
    "\n",
    "\n  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    "\"",
    "'",
    "#",
    "null",
    "0",
    "-1",
    "0s",
    "25d",
    "18446744073709551615s",
    "18446744073709551616",
    "1e400",
    ".nan",
    "64KiB",
    "9EiB",
    "true",
    "name: ",
    "port: ",
    "timeouts: {",
    "limits: {",
    "entry_points:\n",
    "header: ",
    "response: ",
    "connections: ",
    "::",
    "10.0.0.0/8",
    "<<: ",
    "---\n",
];

#[test]
fn settings() {
    fuzz!(Corpus::read("settings", WORDS), property);
}

fn property(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Settings::parse("ferrix.yaml", text) {
        Ok(settings) => usable(&settings),
        Err(error) => {
            assert!(error.to_string().starts_with("ferrix.yaml"), "{error}");
            assert!(!error.message.is_empty());
            let lines = text.split(['\n', '\r']).count();
            assert!(
                error
                    .line
                    .is_none_or(|line| (1..=lines + 1).contains(&line)),
                "{error}"
            );
        }
    }
}

/// No deadline overflows, and no queue is larger than a machine.
fn usable(settings: &Settings) {
    assert!(settings.check().is_ok());
    let timeouts = &settings.proxy.timeouts;
    let server = &settings.proxy.server;
    let durations = [
        timeouts.header,
        timeouts.tls_handshake,
        timeouts.keep_alive,
        timeouts.body,
        timeouts.write,
        timeouts.connect,
        timeouts.response,
        timeouts.upgraded,
        timeouts.udp,
        settings.proxy.upstream.idle_timeout,
        server.drain_delay + server.drain_timeout,
    ];
    let now = Instant::now();
    for duration in durations {
        assert!(now.checked_add(duration).is_some(), "{duration:?}");
    }
    assert!(timeouts.connect.as_millis() <= i32::MAX as u128);
    assert!(settings.access_log.buffer <= 1 << 30);
    assert!(u8::try_from(settings.proxy.upstream.attempts).is_ok());
}
