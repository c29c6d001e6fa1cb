//! The host of a request: one spelling, and nothing that two servers read as two names.

use ferrix_fuzz::Corpus;
use ferrix_table::host::canonical;

const WORDS: &[&str] = &[
    ".",
    "..",
    ":",
    ":80",
    ":0",
    ":65536",
    "[",
    "]",
    "[::1]",
    "@",
    ",",
    "/",
    "\\",
    "?",
    "#",
    "*",
    "xn--",
    " ",
    "\t",
    "\r\n",
    "A",
    "ä",
    "_",
    "%41",
    "-",
    "127.0.0.1",
    "example.com",
];

#[test]
fn host() {
    fuzz!(Corpus::read("host", WORDS), property);
}

fn property(authority: &[u8]) {
    let Ok(one) = canonical(authority) else {
        return;
    };
    let host = &*one.host;
    assert!(!host.is_empty() && host.len() <= 255, "{host}");
    assert!(!host.ends_with('.') && !host.starts_with('.'), "{host}");
    let plain = |c: char| c.is_ascii_graphic() && !c.is_ascii_uppercase();
    assert!(host.chars().all(plain), "{host}");
    assert!(
        !host.contains(['/', '\\', '?', '#', '@', ',', '*', '[', ']']),
        "{host}"
    );
    assert_ne!(one.port, Some(0));

    let written = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let written = match one.port {
        Some(port) => format!("{written}:{port}"),
        None => written,
    };
    assert_eq!(canonical(written.as_bytes()), Ok(one.clone()), "{written}");
}
