//! The rule language: any text is a rule or an error that points into it.

use ferrix_fuzz::Corpus;
use ferrix_rule::{MAX_TEXT, Request, Rule};
use http::{HeaderMap, HeaderValue, Method};

const WORDS: &[&str] = &[
    "Host(`a.com`)",
    "HostRegexp(`^.+$`)",
    "Path(`/a`)",
    "PathPrefix(`/`)",
    "PathRegexp(`(a|b)*c`)",
    "Method(`GET`)",
    "Header(`A`, `b`)",
    "HeaderRegexp(`A`, `.`)",
    "Query(`a`, `b`)",
    "QueryRegexp(`a`, `[0-9]{1,9}`)",
    "ClientIP(`10.0.0.0/8`)",
    " && ",
    " || ",
    "!",
    "(",
    ")",
    "((((((((",
    "`",
    "\"",
    "'",
    "\\",
    "\\u{1}",
    ",",
    "*",
    "{1000}",
    "(?i)",
    "[^a]",
    "\n",
    "ä",
    "\0",
];

#[test]
fn rule() {
    fuzz!(Corpus::read("rule", WORDS), property);
}

fn property(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let rule = match Rule::parse(text) {
        Ok(rule) => rule,
        Err(error) => {
            let line = text.lines().nth(error.line - 1).unwrap_or_default();
            assert!(error.column >= 1, "{error}");
            assert!(error.column <= line.chars().count() + 1, "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(rule.text(), Some(text));
    let written = rule.to_string();
    let again = match Rule::parse(&written) {
        Ok(again) => again,
        Err(_) if written.len() > MAX_TEXT => return,
        Err(error) => panic!("{written}\n{error}"),
    };
    assert_eq!(again, rule, "{written}");
    assert_eq!(again.to_string(), written);
    matches_within_its_constraints(&rule);
}

fn matches_within_its_constraints(rule: &Rule) {
    let mut headers = HeaderMap::new();
    headers.insert("a", HeaderValue::from_static("b"));
    let constraints = rule.constraints();
    for host in ["a.com", "x.a.com", ""] {
        for path in ["/", "/a", "/a/b/c", "*"] {
            let request = Request {
                method: &Method::GET,
                host,
                path,
                query: "a=b&c=%ff",
                headers: &headers,
                client: [10, 0, 0, 1].into(),
            };
            let matches = rule.matches(&request);
            assert_eq!(rule.mismatch(&request).is_none(), matches, "{rule}");
            if !matches {
                continue;
            }
            let hosts = constraints.hosts.as_ref();
            assert!(
                hosts.is_none_or(|it| it.iter().any(|it| it.admits(host))),
                "{rule}"
            );
            let paths = constraints.paths.as_ref();
            assert!(
                paths.is_none_or(|it| it.iter().any(|it| it.admits(path))),
                "{rule}"
            );
        }
    }
}
