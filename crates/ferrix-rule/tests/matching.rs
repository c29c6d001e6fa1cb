//! What every matcher takes and what it does not, and how that is told.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, and so may what it calls"
)]

use std::net::IpAddr;

use ferrix_rule::{HostConstraint, PathConstraint, Request, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A request in one line: `METHOD host path?query`, then ` | Name: value` for every header field
/// and ` | client ADDRESS`. A host of `-` is none.
fn check(rule: &str, request: &str, expect: bool) {
    let parsed = Rule::parse(rule).unwrap_or_else(|error| panic!("{error}"));
    with_request(request, |request| {
        assert_eq!(parsed.matches(request), expect, "{rule} on {request:?}");
        assert_eq!(
            parsed.mismatch(request).is_none(),
            expect,
            "{rule} on {request:?}"
        );
    });
}

fn with_request<R>(line: &str, then: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut parts = line.split(" | ");
    let words: Vec<_> = parts.next().unwrap().splitn(3, ' ').collect();
    let [method, host, target] = words[..] else {
        panic!("{line}")
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    let mut client: IpAddr = "192.0.2.1".parse().unwrap();
    for part in parts {
        if let Some(address) = part.strip_prefix("client ") {
            client = address.parse().unwrap();
        } else {
            let (name, value) = part.split_once(": ").unwrap();
            // Latin-1, so that a case can have bytes that are not UTF-8.
            let value: Vec<u8> = value
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap())
                .collect();
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(&value).unwrap(),
            );
        }
    }
    then(&Request {
        method: &Method::from_bytes(method.as_bytes()).unwrap(),
        host: if host == "-" { "" } else { host },
        path,
        query,
        headers: &headers,
        client,
    })
}

/// Every case is a rule, a request, and whether it matches.
const CASES: &[(&str, &str, bool)] = &[
    // Host: any case, one dot at the end, `*` for one label or for everything.
    ("Host(`example.com`)", "GET example.com /", true),
    ("Host(`EXAMPLE.com`)", "GET example.com /", true),
    ("Host(`example.com.`)", "GET example.com /", true),
    ("Host(`example.com..`)", "GET example.com /", false),
    ("Host(`example.com`)", "GET www.example.com /", false),
    ("Host(`example.com`)", "GET example.org /", false),
    ("Host(`example.com`)", "GET - /", false),
    ("Host(`.`)", "GET - /", false),
    ("Host(`::1`)", "GET ::1 /", true),
    ("Host(`*`)", "GET example.com /", true),
    ("Host(`*`)", "GET - /", true),
    ("Host(`*.`)", "GET example.com /", false),
    ("Host(`*.`)", "GET - /", false),
    ("Host(`*.example.com`)", "GET www.example.com /", true),
    ("Host(`*.Example.com.`)", "GET www.example.com /", true),
    ("Host(`*.example.com`)", "GET example.com /", false),
    ("Host(`*.example.com`)", "GET a.b.example.com /", false),
    ("Host(`*.example.com`)", "GET .example.com /", false),
    ("Host(`*.example.com`)", "GET *.example.com /", true),
    ("Host(`*.com`)", "GET example.com /", true),
    ("Host(`*example.com`)", "GET wexample.com /", false),
    ("Host(`www.*.com`)", "GET www.example.com /", false),
    ("Host(`*.example.com`)", "GET - /", false),
    // HostRegexp: anywhere in the host, which is lower case.
    ("HostRegexp(`example`)", "GET www.example.com /", true),
    ("HostRegexp(`^example`)", "GET www.example.com /", false),
    (
        r"HostRegexp(`^[a-z]+\.example\.com$`)",
        "GET www.example.com /",
        true,
    ),
    (
        r"HostRegexp(`^[a-z]+\.example\.com$`)",
        "GET www1.example.com /",
        false,
    ),
    ("HostRegexp(`EXAMPLE`)", "GET example.com /", false),
    ("HostRegexp(`(?i)EXAMPLE`)", "GET example.com /", true),
    ("HostRegexp(`^$`)", "GET - /", true),
    // Path and PathPrefix: byte by byte, whatever a segment is.
    ("Path(`/api`)", "GET a /api", true),
    ("Path(`/api`)", "GET a /api/", false),
    ("Path(`/api`)", "GET a /API", false),
    ("Path(`/api`)", "GET a /api?x=/api", true),
    ("Path(`/foo bar`)", "GET a /foo bar", true),
    ("Path(`/a%2Fb`)", "GET a /a%2Fb", true),
    ("Path(`/a/b`)", "GET a /a%2Fb", false),
    ("Path(`/é`)", "GET a /é", true),
    ("Path(\"/\\u00e9\")", "GET a /é", true),
    ("Path(\"/\\xc3\\xa9\")", "GET a /é", true),
    ("PathPrefix(`/`)", "GET a /", true),
    ("PathPrefix(`/`)", "OPTIONS a *", false),
    ("PathPrefix(`/api`)", "GET a /api", true),
    ("PathPrefix(`/api`)", "GET a /api/x", true),
    ("PathPrefix(`/api`)", "GET a /apiary", true),
    ("PathPrefix(`/api/`)", "GET a /api", false),
    ("PathPrefix(`/api`)", "GET a /v1/api", false),
    ("PathRegexp(`/v[0-9]+/`)", "GET a /api/v12/x", true),
    ("PathRegexp(`^/v[0-9]+/`)", "GET a /api/v12/x", false),
    ("PathRegexp(`api$`)", "GET a /x/api", true),
    // Method: the argument in any case, the request's as it is.
    ("Method(`GET`)", "GET a /", true),
    ("Method(`get`)", "GET a /", true),
    ("Method(`GET`)", "get a /", false),
    ("Method(`GET`)", "POST a /", false),
    ("Method(`purge`)", "PURGE a /", true),
    ("Method(`straße`)", "STRASSE a /", false),
    ("Method(`poſt`)", "POST a /", true),
    // Header: a whole field line, its case and all; the name in any case.
    ("Header(`X-Version`, `2`)", "GET a / | X-Version: 2", true),
    ("Header(`x-version`, `2`)", "GET a / | X-Version: 2", true),
    (
        "Header(`X-Version`, `2`)",
        "GET a / | X-Version: 1 | X-Version: 2",
        true,
    ),
    (
        "Header(`X-Version`, `2`)",
        "GET a / | X-Version: 1, 2",
        false,
    ),
    (
        "Header(`X-Version`, `1, 2`)",
        "GET a / | X-Version: 1, 2",
        true,
    ),
    ("Header(`X-Version`, `a`)", "GET a / | X-Version: A", false),
    ("Header(`X-Version`, `2`)", "GET a /", false),
    ("Header(`Host`, `a`)", "GET a / | Host: a", false),
    (
        "Header(`transfer-encoding`, `chunked`)",
        "GET a / | Transfer-Encoding: chunked",
        false,
    ),
    ("Header(`X Version`, `2`)", "GET a / | X-Version: 2", false),
    ("Header(`X`, \"\\xe9\")", "GET a / | X: é", true),
    ("Header(`X`, `é`)", "GET a / | X: é", false),
    (
        "HeaderRegexp(`X-Version`, `^[12]$`)",
        "GET a / | X-Version: 2",
        true,
    ),
    (
        "HeaderRegexp(`X-Version`, `^[12]$`)",
        "GET a / | X-Version: 3 | X-Version: 1",
        true,
    ),
    (
        "HeaderRegexp(`X-Version`, `^[12]$`)",
        "GET a / | X-Version: 22",
        false,
    ),
    ("HeaderRegexp(`X-Version`, `.*`)", "GET a /", false),
    ("HeaderRegexp(`Host`, `.*`)", "GET a / | Host: a", false),
    ("HeaderRegexp(`X`, `^.{2}$`)", "GET a / | X: éé", true),
    (r"HeaderRegexp(`X`, `^\x{fffd}$`)", "GET a / | X: é", true),
    // Query: one argument is a key with an empty value.
    ("Query(`debug`)", "GET a /?debug", true),
    ("Query(`debug`)", "GET a /?debug=", true),
    ("Query(`debug`)", "GET a /?debug=1", false),
    ("Query(`debug`)", "GET a /?debug=1&debug", true),
    ("Query(`debug`)", "GET a /?Debug", false),
    ("Query(`debug`)", "GET a /", false),
    ("Query(`debug`)", "GET a /?&&x&;debug", true),
    ("Query(`v`, `2`)", "GET a /?v=2", true),
    ("Query(`v`, `2`)", "GET a /?v=1&v=2", true),
    ("Query(`v`, `2`)", "GET a /?v=22", false),
    ("Query(`v`, `22`)", "GET a /?v=2", false),
    ("Query(`v`, `2`)", "GET a /?w=2", false),
    ("Query(`v`, `2`)", "GET a /?v", false),
    ("Query(`v`, `2=3`)", "GET a /?v=2=3", true),
    ("Query(`v`, `2`)", "GET a /?a=1;v=2", true),
    ("Query(`v`, `a b`)", "GET a /?v=a+b", true),
    ("Query(`v`, `a b`)", "GET a /?v=a%20b", true),
    ("Query(`v`, `a+b`)", "GET a /?v=a+b", false),
    ("Query(`v`, `a+b`)", "GET a /?v=a%2Bb", true),
    ("Query(`v`, `a+b`)", "GET a /?v=a%2bb", true),
    ("Query(`v`, `a&b`)", "GET a /?v=a%26b", true),
    ("Query(`a b`, `é`)", "GET a /?a+b=%C3%A9", true),
    ("Query(`a b`, `é`)", "GET a /?a%20b=é", true),
    ("Query(`v`, \"\\xff\")", "GET a /?v=%ff", true),
    ("Query(`v`, `%`)", "GET a /?v=%", false),
    ("Query(`v`, `%4`)", "GET a /?v=%4", false),
    ("Query(`v`, `%zz`)", "GET a /?v=%zz", false),
    ("Query(`v`, `%+1`)", "GET a /?v=%+1", false),
    ("Query(`v`)", "GET a /?v=%", false),
    ("Query(`v`, `2`)", "GET a /?v%=2&v=%&v=2", true),
    ("Query(`v`, `2`)", "GET a /?v=2%", false),
    ("Query(`v%`, `2`)", "GET a /?v%=2", false),
    ("QueryRegexp(`v`)", "GET a /?v", true),
    ("QueryRegexp(`v`)", "GET a /?v=1", false),
    ("QueryRegexp(`v`, `^[0-9]+$`)", "GET a /?v=12", true),
    ("QueryRegexp(`v`, `^[0-9]+$`)", "GET a /?v=x&v=12", true),
    ("QueryRegexp(`v`, `^[0-9]+$`)", "GET a /?v=1x", false),
    ("QueryRegexp(`v`, `^$`)", "GET a /?v", true),
    ("QueryRegexp(`v`, `.*`)", "GET a /?w=1", false),
    ("QueryRegexp(`v`, `^a b$`)", "GET a /?v=a+b", true),
    ("QueryRegexp(`v`, `^a b$`)", "GET a /?v=%61%20b", true),
    ("QueryRegexp(`v`, `.*`)", "GET a /?v=%4", false),
    ("QueryRegexp(`v`, `^..$`)", "GET a /?v=%ff%fe", true),
    // ClientIP: an address or a network; what is mapped from IPv4 is IPv4.
    ("ClientIP(`10.1.2.3`)", "GET a / | client 10.1.2.3", true),
    ("ClientIP(`10.1.2.3`)", "GET a / | client 10.1.2.4", false),
    ("ClientIP(`10.0.0.0/8`)", "GET a / | client 10.1.2.3", true),
    ("ClientIP(`10.9.9.9/8`)", "GET a / | client 10.1.2.3", true),
    ("ClientIP(`10.0.0.0/08`)", "GET a / | client 10.1.2.3", true),
    ("ClientIP(`10.0.0.0/8`)", "GET a / | client 11.1.2.3", false),
    ("ClientIP(`0.0.0.0/0`)", "GET a / | client 11.1.2.3", true),
    ("ClientIP(`0.0.0.0/0`)", "GET a / | client ::1", false),
    ("ClientIP(`::/0`)", "GET a / | client ::1", true),
    ("ClientIP(`::/0`)", "GET a / | client 10.1.2.3", false),
    (
        "ClientIP(`10.0.0.0/8`)",
        "GET a / | client ::ffff:10.1.2.3",
        true,
    ),
    (
        "ClientIP(`10.1.2.3`)",
        "GET a / | client ::ffff:10.1.2.3",
        true,
    ),
    (
        "ClientIP(`::ffff:10.1.2.3`)",
        "GET a / | client 10.1.2.3",
        true,
    ),
    (
        "ClientIP(`::ffff:10.0.0.0/104`)",
        "GET a / | client 10.1.2.3",
        true,
    ),
    (
        "ClientIP(`::ffff:10.0.0.0/104`)",
        "GET a / | client 11.1.2.3",
        false,
    ),
    (
        "ClientIP(`::ffff:10.0.0.0/90`)",
        "GET a / | client 10.1.2.3",
        false,
    ),
    ("ClientIP(`fd00::/8`)", "GET a / | client fd12::1", true),
    ("ClientIP(`fd00::/8`)", "GET a / | client fe12::1", false),
    ("ClientIP(`FD00:0::1`)", "GET a / | client fd00::1", true),
    // The four spellings, and strings.
    ("pathprefix(`/api`)", "GET a /api", true),
    ("PATHPREFIX(`/api`)", "GET a /api", true),
    ("Pathprefix(`/api`)", "GET a /api", true),
    (
        "clientip(`::1`) || CLIENTIP(`::1`) || Clientip(`192.0.2.1`)",
        "GET a /",
        true,
    ),
    (
        "hostregexp(`a`) && HOSTREGEXP(`a`) && Hostregexp(`a`)",
        "GET a /",
        true,
    ),
    ("Path(`/a\r\nb`)", "GET a /a\nb", true),
    (r"Path(`/a\b`)", r"GET a /a\b", true),
    (r#"PathRegexp("^/\\d$")"#, "GET a /1", true),
    // Operators.
    ("Host(`a`) && Path(`/`)", "GET a /", true),
    ("Host(`a`) && Path(`/`)", "GET b /", false),
    ("Host(`a`) || Path(`/`)", "GET b /", true),
    ("Host(`b`) || Path(`/`) && Method(`PUT`)", "GET b /", true),
    (
        "(Host(`b`) || Path(`/`)) && Method(`PUT`)",
        "GET b /",
        false,
    ),
    ("!Host(`a`)", "GET a /", false),
    ("!Host(`a`)", "GET - /", true),
    ("!!Host(`a`)", "GET a /", true),
    ("!Header(`Host`, `a`)", "GET a / | Host: a", true),
    ("!(Host(`a`) && Path(`/`))", "GET a /x", true),
    ("!(Host(`a`) || Path(`/`))", "GET a /x", false),
    (
        "Host(`a`)\n  && Path(`/`) // both\n  || /* or */ Method(`PUT`)",
        "GET a /",
        true,
    ),
];

#[test]
fn matchers_take_what_traefik_takes() {
    for (rule, request, expect) in CASES {
        check(rule, request, *expect);
    }
    assert_eq!(CASES.len(), 158);
}

#[test]
fn long_values_are_decoded_too() {
    for length in [1, 511, 512, 513, 5000] {
        let value = "%61".repeat(length);
        check(
            &format!("QueryRegexp(`v`, `^(?:a{{{}}})+$`)", length.min(50)),
            &format!("GET a /?v={value}"),
            length <= 50 || length % 50 == 0,
        );
        check(
            "QueryRegexp(`v`, `^a+$`)",
            &format!("GET a /?v={value}"),
            true,
        );
        check(
            "QueryRegexp(`v`, `^a+$`)",
            &format!("GET a /?v={value}b"),
            false,
        );
        check(
            "QueryRegexp(`v`, `^a+$`)",
            &format!("GET a /?v={value}%"),
            false,
        );
    }
}

/// Every case is a rule, a request that does not match, and the sentence.
const MISMATCHES: &[(&str, &str, &str)] = &[
    ("Host(`b`)", "GET a /", "Host(`b`) is not the host a"),
    (
        "host(\"B.\")",
        "GET - /",
        "Host(`b`) needs a host, and the request has none",
    ),
    (
        "HostRegexp(`^b`)",
        "GET a /",
        "HostRegexp(`^b`) does not match the host a",
    ),
    (
        "Path(`/api`)",
        "GET a /apx",
        "Path(`/api`) is not the path /apx",
    ),
    (
        "PathPrefix(`/api`)",
        "GET a /x",
        "PathPrefix(`/api`) does not begin the path /x",
    ),
    (
        "PathRegexp(`b`)",
        "GET a /x",
        "PathRegexp(`b`) does not match the path /x",
    ),
    (
        "Method(`get`)",
        "PUT a /",
        "Method(`GET`) is not the method PUT",
    ),
    (
        "Header(`x-v`, `1`)",
        "GET a / | X-V: 2 | X-V: 3",
        "Header(`X-V`, `1`) is not in the header's values: 2, 3",
    ),
    (
        "Header(`x-v`, `1`)",
        "GET a /",
        "Header(`X-V`, `1`) needs the header X-V, and the request has none",
    ),
    (
        "HeaderRegexp(`x-v`, `1`)",
        "GET a / | X-V: 2",
        "HeaderRegexp(`X-V`, `1`) does not match the header's values: 2",
    ),
    (
        "Query(`v`)",
        "GET a /?v=1",
        "Query(`v`) is not in the query v=1",
    ),
    (
        "Query(`v`, `1`)",
        "GET a /",
        "Query(`v`, `1`) needs a query, and the request has none",
    ),
    (
        "QueryRegexp(`v`, `1`)",
        "GET a /?v=2",
        "QueryRegexp(`v`, `1`) does not match the query v=2",
    ),
    (
        "ClientIP(`10.9.0.0/8`)",
        "GET a /",
        "ClientIP(`10.0.0.0/8`) does not contain the client address 192.0.2.1",
    ),
    ("!Host(`*`)", "GET a /", "!Host(`*`) refuses the host a"),
    (
        "!Host(`*`)",
        "GET - /",
        "!Host(`*`) refuses a request without a host",
    ),
    (
        "!(Path(`/a`) || Method(`GET`))",
        "GET a /b",
        "!Method(`GET`) refuses the method GET",
    ),
    (
        "Host(`a`) && Path(`/a`) && Method(`PUT`)",
        "GET a /b",
        "Path(`/a`) is not the path /b",
    ),
    (
        "Path(`/a`) || Host(`a`) && Method(`PUT`)",
        "GET a /b",
        "Path(`/a`) is not the path /b; Method(`PUT`) is not the method GET",
    ),
];

#[test]
fn mismatches_are_told_in_words() {
    for (rule, request, expect) in MISMATCHES {
        let rule = Rule::parse(rule).unwrap();
        with_request(request, |request| {
            assert_eq!(rule.mismatch(request).as_deref(), Some(*expect));
        });
    }
    assert_eq!(MISMATCHES.len(), 19);
}

#[test]
fn mismatches_are_bounded() {
    let rule = vec!["Path(`/a`)"; 1000].join("||");
    let rule = Rule::parse(&rule).unwrap();
    let path = format!("GET a /\u{7}{}", "x".repeat(10_000));
    let sentence = with_request(&path, |request| rule.mismatch(request)).unwrap();
    assert!(sentence.len() < 3000, "{sentence}");
    assert!(
        sentence.starts_with("Path(`/a`) is not the path /\\u{7}xxx"),
        "{sentence}"
    );
    assert!(
        sentence.ends_with("…; nor do 992 other alternatives match"),
        "{sentence}"
    );
}

/// Every case is a rule, its hosts and its paths. A list in words: `-` is none, `.x` for `*.x`,
/// `/x*` for a prefix, and `!` a list with nothing in it.
const CONSTRAINTS: &[(&str, &str, &str)] = &[
    ("Host(`A.com.`)", "a.com", "-"),
    ("Host(`*.a.com`)", ".a.com", "-"),
    ("Host(`*`)", "-", "-"),
    ("Host(`.`)", "!", "!"),
    ("!Host(`*`)", "!", "!"),
    ("!Host(`a.com`)", "-", "-"),
    ("!!Host(`a.com`)", "a.com", "-"),
    ("HostRegexp(`^a$`)", "-", "-"),
    ("Path(`/a`)", "-", "/a"),
    ("PathPrefix(`/a`)", "-", "/a*"),
    ("PathRegexp(`^/a$`)", "-", "-"),
    ("Method(`GET`)", "-", "-"),
    ("Host(`a`) && Path(`/a`)", "a", "/a"),
    ("Host(`a`) && Host(`b`)", "!", "!"),
    ("Host(`a`) || Host(`b`)", "a b", "-"),
    ("Host(`a`) || Method(`GET`)", "-", "-"),
    ("Host(`a`) || Path(`/a`)", "-", "-"),
    (
        "Host(`a`) && Path(`/a`) || Host(`b`) && PathPrefix(`/b`)",
        "a b",
        "/a /b*",
    ),
    ("Host(`b`, ) || Host(`a`) || Host(`b`)", "a b", "-"),
    ("Host(`x.a`) && Host(`*.a`)", "x.a", "-"),
    ("Host(`x.a`) || Host(`*.a`)", ".a", "-"),
    ("Host(`x.y.a`) && Host(`*.a`)", "!", "!"),
    ("Host(`*.b.a`) && Host(`*.a`)", "!", "!"),
    ("Path(`/a/b`) && PathPrefix(`/a`)", "-", "/a/b"),
    ("Path(`/a/b`) || PathPrefix(`/a`)", "-", "/a*"),
    ("PathPrefix(`/a`) && PathPrefix(`/a/b`)", "-", "/a/b*"),
    ("PathPrefix(`/a`) && PathPrefix(`/b`)", "!", "!"),
    (
        "(PathPrefix(`/a`) || Path(`/b`)) && (Path(`/a/x`) || Path(`/b`) || Path(`/c`))",
        "-",
        "/a/x /b",
    ),
    ("PathPrefix(`/a`) && !Path(`/a/b`)", "-", "/a*"),
    ("!(!Host(`a`) || !Path(`/a`))", "a", "/a"),
    ("!(!Host(`a`) && !Host(`b`))", "a b", "-"),
    (
        "Host(`a`) && (Host(`b`) && Path(`/x`) || Path(`/y`))",
        "a",
        "/x /y",
    ),
    (
        "Host(`a`) && Host(`b`) && Path(`/x`) || Host(`c`) && Path(`/y`)",
        "c",
        "/y",
    ),
    ("Host(`*`) && Host(`a`)", "a", "-"),
    ("Host(`*`) || Host(`a`)", "-", "-"),
];

#[test]
fn constraints_are_exact_for_the_usual_forms() {
    for (rule, hosts, paths) in CONSTRAINTS {
        let hosts = listed(hosts, |host| match host.strip_prefix('.') {
            Some(parent) => HostConstraint::Wildcard(parent.to_owned()),
            None => HostConstraint::Exact(host.to_owned()),
        });
        let paths = listed(paths, |path| match path.strip_suffix('*') {
            Some(prefix) => PathConstraint::Prefix(prefix.to_owned()),
            None => PathConstraint::Exact(path.to_owned()),
        });
        let found = Rule::parse(rule).unwrap().constraints();
        assert_eq!((found.hosts, found.paths), (hosts, paths), "{rule}");
    }
    assert_eq!(CONSTRAINTS.len(), 35);
}

#[test]
fn rules_that_ask_for_nothing_beyond_their_constraints() {
    let cases = [
        ("Host(`a`)", true),
        ("Path(`/x`) && Host(`a`)", true),
        ("Host(`*`) && PathPrefix(`/x`)", true),
        ("Path(`/x`) || PathPrefix(`/x/`)", true),
        (
            "(Host(`a`) || Host(`b`)) && (Path(`/x`) || Path(`/y`))",
            true,
        ),
        ("Host(`a`) && Path(`/x`) || Host(`b`) && Path(`/x`)", true),
        ("Host(`a`) && Host(`b`)", true),
        ("Host(`*`) || Path(`/x`)", true),
        ("Host(`a`) && Path(`/x`) || Host(`b`) && Path(`/y`)", false),
        ("Host(`a`) || Path(`/x`)", false),
        ("!Host(`a`)", false),
        ("Path(`/x`) && Method(`GET`)", false),
        ("Path(`/x`) || PathRegexp(`x`)", false),
        // True, but not seen.
        ("Host(`*.a`) || Host(`x.a`) && Path(`/x`)", false),
    ];
    for (rule, whole) in cases {
        assert_eq!(
            Rule::parse(rule).unwrap().constraints().whole,
            whole,
            "{rule}"
        );
    }
    assert_eq!(cases.len(), 14);
}

fn listed<T>(words: &str, item: impl Fn(&str) -> T) -> Option<Vec<T>> {
    match words {
        "-" => None,
        "!" => Some(Vec::new()),
        words => Some(words.split(' ').map(item).collect()),
    }
}

/// Every case is a rule and its canonical text.
const CANONICAL: &[(&str, &str)] = &[
    ("HOST( \"Example.COM.\" ,)", "Host(`example.com`)"),
    (
        "Host(`*`)||Host(`*.`)||Host(`.`)||Host(`a..`)",
        "Host(`*`) || Host(`*.`) || Host(`.`) || Host(`a..`)",
    ),
    ("((Path(`/a`)))", "Path(`/a`)"),
    (
        "Path(`/a`)&&(Path(`/b`)&&Path(`/c`))",
        "Path(`/a`) && Path(`/b`) && Path(`/c`)",
    ),
    (
        "Path(`/a`)&&(Path(`/b`)||Path(`/c`))",
        "Path(`/a`) && (Path(`/b`) || Path(`/c`))",
    ),
    (
        "Path(`/a`)||(Path(`/b`)&&Path(`/c`))",
        "Path(`/a`) || Path(`/b`) && Path(`/c`)",
    ),
    ("!!!Path(`/a`)", "!Path(`/a`)"),
    (
        "!(Path(`/a`)||Path(`/b`)&&!Path(`/c`))",
        "!Path(`/a`) && (!Path(`/b`) || Path(`/c`))",
    ),
    ("Path(\"/`\\\\\\\"\\n\\r\")", r#"Path("/`\\\"\n\r")"#),
    ("Path(\"/\\\\\\\"\\n\")", "Path(`/\\\"\n`)"),
    ("Query(\"a\\xff\", \"`\")", r#"Query("a\xff", "`")"#),
    ("QueryRegexp(`a`)", "Query(`a`)"),
    (
        "header(`x-forwarded-for`, `A`)",
        "Header(`X-Forwarded-For`, `A`)",
    ),
    ("header(`host`, `A`)", "Header(`host`, `A`)"),
    (
        "HeaderRegexp(`x-a`, `(?i)A`)",
        "HeaderRegexp(`X-A`, `(?i)A`)",
    ),
    ("Method(`get`)", "Method(`GET`)"),
    ("ClientIP(`10.1.2.3/8`)", "ClientIP(`10.0.0.0/8`)"),
    ("ClientIP(`10.1.2.3/32`)", "ClientIP(`10.1.2.3`)"),
    ("ClientIP(`::FFFF:10.1.2.3`)", "ClientIP(`10.1.2.3`)"),
    ("ClientIP(`FD00::1/8`)", "ClientIP(`fd00::/8`)"),
];

#[test]
fn rules_print_in_canonical_text() {
    for (text, expect) in CANONICAL {
        let rule = Rule::parse(text).unwrap();
        assert_eq!(rule.to_string(), *expect);
        assert_eq!(rule.text(), Some(*text));
        assert_eq!(Rule::parse(expect).unwrap(), rule);
    }
    assert_eq!(CANONICAL.len(), 20);
}

#[test]
fn rules_are_equal_by_meaning_not_by_text() {
    let rule = |text| Rule::parse(text).unwrap();
    assert_eq!(rule("Host(`a`)"), rule(" host(\"A\") "));
    assert_ne!(rule("Host(`a`)"), rule("Host(`b`)"));
    assert_ne!(rule("Host(`a`)"), rule("!Host(`a`)"));
    assert_eq!(format!("{:?}", rule("Host(`a`)")), "Rule(\"Host(`a`)\")");
}

#[test]
fn a_rule_can_be_shared_between_threads() {
    fn shareable<T: Clone + Send + Sync + 'static>() {}
    shareable::<Rule>();
}
