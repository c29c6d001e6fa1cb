//! One public and one protected route on one host, and every way to spell the protected path.
//!
//! What is matched is what is forwarded: a path that reached the public backend must not be one
//! that a backend resolves to what the protected one guards.

use ferrix_e2e::{
    Backend, Gateway, Routes,
    frames::{END_HEADERS, END_STREAM, Frames, block, frame, kind},
};
use ferrix_table::services::Protocol;

/// What has to come of a spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The protected route took it and forwarded this.
    Protected(&'static str),
    /// The public route took it and forwarded this.
    Public(&'static str),
    /// 400.
    Refused,
}

use Outcome::{Protected, Public, Refused};

/// Spelling, and its outcome where encoded slashes are kept. Where they are refused, every
/// spelling with one is.
fn cases() -> Vec<(&'static str, Outcome)> {
    vec![
        ("/admin", Protected("/admin")),
        ("/admin/", Protected("/admin/")),
        ("/admin/users", Protected("/admin/users")),
        ("/admin?", Protected("/admin?")),
        ("/admin?x=/../public", Protected("/admin?x=/../public")),
        ("/./admin", Protected("/admin")),
        ("/.//admin", Protected("/admin")),
        ("//admin", Protected("/admin")),
        ("///admin", Protected("/admin")),
        ("/public/../admin", Protected("/admin")),
        ("/public/./../admin", Protected("/admin")),
        ("/public//../admin", Protected("/admin")),
        ("/public/..//admin", Protected("/admin")),
        ("/a/b/../../admin", Protected("/admin")),
        ("/admin/.", Protected("/admin/")),
        ("/admin/x/..", Protected("/admin/")),
        ("/%61dmin", Protected("/admin")),
        ("/%61%64%6d%69%6e", Protected("/admin")),
        ("/%61%64%6D%69%6E", Protected("/admin")),
        ("/admi%6e", Protected("/admin")),
        ("/a/%2e%2e/admin", Protected("/admin")),
        ("/a/%2E%2E/admin", Protected("/admin")),
        ("/a/.%2e/admin", Protected("/admin")),
        ("/a/%2e./admin", Protected("/admin")),
        ("/%2e/admin", Protected("/admin")),
        ("/admin%20", Protected("/admin%20")),
        ("/admin;x", Protected("/admin;x")),
        ("/admin;x=1/users", Protected("/admin;x=1/users")),
        ("/admin%3Bx", Protected("/admin%3Bx")),
        ("/admin%3fx", Protected("/admin%3Fx")),
        ("/admin%23x", Protected("/admin%23x")),
        ("/admin%2f", Protected("/admin%2F")),
        ("/admin%2fusers", Protected("/admin%2Fusers")),
        ("/admin%5cusers", Protected("/admin%5Cusers")),
        ("/admin..", Protected("/admin..")),
        ("/administration", Protected("/administration")),
        ("/public", Public("/public")),
        ("/admin/../public", Public("/public")),
        ("/admin/%2e%2e/public", Public("/public")),
        ("/public/admin", Public("/public/admin")),
        ("/public?/admin", Public("/public?/admin")),
        ("/Admin", Public("/Admin")),
        ("/%41dmin", Public("/Admin")),
        ("/api../admin", Public("/api../admin")),
        ("/..api/admin", Public("/..api/admin")),
        ("/.../admin", Public("/.../admin")),
        ("/public%2fadmin", Public("/public%2Fadmin")),
        ("/public/%2f/x", Public("/public/%2F/x")),
        ("/public%2f%2fadmin", Public("/public%2F%2Fadmin")),
        ("/%252fadmin", Public("/%252fadmin")),
        ("/%252e%252e/admin", Public("/%252e%252e/admin")),
        ("/a/%252e%252e/admin", Public("/a/%252e%252e/admin")),
        ("/%2561dmin", Public("/%2561dmin")),
        ("/%20admin", Public("/%20admin")),
        ("/%c3%a4dmin", Public("/%C3%A4dmin")),
        ("/ädmin", Public("/%C3%A4dmin")),
        ("/admin/ä?ä", Protected("/admin/%C3%A4?%C3%A4")),
        ("/%2fx", Refused),
        ("/%2fadmin", Refused),
        ("/%2Fadmin", Refused),
        ("/%2f", Refused),
        ("/%5cadmin", Refused),
        ("/%2f%2fadmin", Refused),
        ("/%2f/admin", Refused),
        ("//%2fadmin", Refused),
        ("/./%2fadmin", Refused),
        ("/public/../%2fadmin", Refused),
        ("/public/..%2f", Refused),
        ("/a%2f..%2fadmin", Refused),
        ("/a%2F..%2Fadmin", Refused),
        ("/a%2f../admin", Refused),
        ("/a/..%2fadmin", Refused),
        ("/..%2fadmin", Refused),
        ("/a%2f%2e%2e%2fadmin", Refused),
        ("/a%5c..%5cadmin", Refused),
        ("/..%5cadmin", Refused),
        ("/a/.%2fadmin", Refused),
        ("/a\\..\\admin", Refused),
        ("/\\admin", Refused),
        ("\\admin", Refused),
        ("/a/..\\admin", Refused),
        ("/a/..;/admin", Refused),
        ("/a/..;x=1/admin", Refused),
        ("/a/.;/admin", Refused),
        ("/;/admin", Refused),
        ("/;x/admin", Refused),
        ("/a/%2e%2e;/admin", Refused),
        ("/a/..%3b/admin", Refused),
        ("/admin%00", Refused),
        ("/%00admin", Refused),
        ("/public%00/../admin", Refused),
        ("/admin%0a", Refused),
        ("/admin%0d%0a", Refused),
        ("/admin%7f", Refused),
        ("/admin#x", Refused),
        ("/#/admin", Refused),
        ("/public#/../admin", Refused),
        ("/..", Refused),
        ("/../admin", Refused),
        ("/a/../../admin", Refused),
        ("/%2e%2e/admin", Refused),
        ("/admin%", Refused),
        ("/admin%2", Refused),
        ("/admin%zz", Refused),
        ("/%u002e%u002e/admin", Refused),
        ("admin", Refused),
        ("?/admin", Refused),
        ("", Refused),
    ]
}

/// The path as a backend could resolve it that decodes and folds all it knows.
fn resolved(target: &str) -> String {
    let mut decoded = target.split('?').next().unwrap().to_owned();
    for (from, to) in [
        ("%2F", "/"),
        ("%5C", "/"),
        ("%3B", ";"),
        ("%20", " "),
        ("\\", "/"),
    ] {
        decoded = decoded.replace(from, to);
    }
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.to_owned()),
        }
    }
    format!("/{}", segments.join("/"))
}

struct House {
    public: Backend,
    protected: Backend,
    gateway: Gateway,
}

impl House {
    async fn build(settings: &str) -> Self {
        let public = Backend::hello("public").await;
        let protected = Backend::hello("protected").await;
        let routes = Routes::new()
            .service("public", Protocol::Http1, &[public.address()])
            .service("protected", Protocol::Http1, &[protected.address()])
            .rule("example.com", "PathPrefix(`/`)", &[("public", 1)])
            .rule("example.com", "PathPrefix(`/admin`)", &[("protected", 1)]);
        let gateway = Gateway::start_with(settings, routes);
        Self {
            public,
            protected,
            gateway,
        }
    }

    /// What arrived, and where, since the last call.
    fn arrived(&self, before: [usize; 2]) -> Option<(bool, String)> {
        let now = [self.public.requests(), self.protected.requests()];
        for (index, requests) in now.iter().enumerate() {
            if let Some(request) = requests.get(before[index]) {
                return Some((index == 1, request.target().to_owned()));
            }
        }
        None
    }

    fn counts(&self) -> [usize; 2] {
        [
            self.public.requests().len(),
            self.protected.requests().len(),
        ]
    }

    async fn http1(&self, target: &str) -> (u16, Option<(bool, String)>) {
        let before = self.counts();
        let request = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let status = self.gateway.client().await.exchange(request).await.status;
        (status, self.arrived(before))
    }

    /// Status 0: the stream was reset.
    async fn http2(&self, target: &str) -> (u16, Option<(bool, String)>) {
        let before = self.counts();
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "example.com"),
            (":path", target),
        ];
        let mut frames = Frames::connect(self.gateway.web, &[]).await;
        frames
            .send(&frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &block(&fields),
            ))
            .await;
        let status = loop {
            match frames.next().await {
                Some(frame) if frame.kind == kind::HEADERS => match frame.payload[0] {
                    0x88 => break 200,
                    0x8c => break 400,
                    other => panic!("another status: {other:#x}"),
                },
                Some(frame) if [kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind) => break 0,
                Some(_) => {}
                None => break 0,
            }
        };
        (status, self.arrived(before))
    }
}

fn judge(
    spelling: &str,
    expected: &Outcome,
    got: &(u16, Option<(bool, String)>),
) -> Option<String> {
    let (status, arrived) = got;
    let fits = match (expected, arrived) {
        (Protected(path), Some((true, target))) => target == path && *status == 200,
        (Public(path), Some((false, target))) => target == path && *status == 200,
        (Refused, None) => *status == 400 || *status == 0,
        _ => false,
    };
    if let Some((false, target)) = arrived
        && resolved(target).starts_with("/admin")
    {
        return Some(format!("{spelling}: the public backend got {target}"));
    }
    (!fits).then(|| format!("{spelling}: {got:?} instead of {expected:?}"))
}

#[tokio::test]
async fn no_spelling_of_the_protected_path_is_public() {
    let house = House::build("{}").await;
    let cases = cases();
    assert_eq!(cases.len(), 108);
    let mut wrong = Vec::new();
    for (spelling, expected) in &cases {
        wrong.extend(judge(spelling, expected, &house.http1(spelling).await));
        let got = house.http2(spelling).await;
        wrong.extend(judge(spelling, expected, &got).map(|it| format!("HTTP/2: {it}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The codec cuts it off; it is refused all the same, and so is what later requests of its connection could
/// refer to. Others before it are served.
#[tokio::test]
async fn a_fragment_over_http2_is_refused() {
    let house = House::build("{}").await;
    let before = house.counts();
    let fields = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.com"),
    ]);
    // `/public#/admin` in Huffman's code, to be kept in the table, in two frames.
    let path = b"\x44\x8B\x62\xBB\x63\xA0\xC4\xFF\xA6\x07\x25\x26\xAB";
    let written = [&fields[..], path].concat();
    let (first, rest) = written.split_at(fields.len() + 5);
    let ends = END_HEADERS | END_STREAM;
    let requests = [
        frame(kind::HEADERS, ends, 1, &[&fields[..], b"\x84"].concat()),
        frame(kind::HEADERS, END_STREAM, 3, first),
        frame(kind::CONTINUATION, END_HEADERS, 3, rest),
        // By its place in the table.
        frame(kind::HEADERS, ends, 5, &[&fields[..], b"\xBE"].concat()),
    ];
    let mut frames = Frames::connect(house.gateway.web, &[]).await;
    frames.send(&requests.concat()).await;
    let mut statuses = Vec::new();
    while statuses.len() < 3 {
        let answer = frames.next_of(kind::HEADERS).await.expect("an answer");
        statuses.push((answer.stream, answer.payload[0]));
    }
    statuses.sort_unstable();
    // 200 and 400 of the static table (RFC 7541, appendix A).
    assert_eq!(statuses, [(1, 0x88), (3, 0x8C), (5, 0x8C)]);
    assert_eq!(house.arrived(before), Some((false, "/".to_owned())));
}

#[tokio::test]
async fn encoded_slashes_can_be_refused() {
    let house = House::build("paths: {refuse_encoded_slashes: true}").await;
    let mut wrong = Vec::new();
    let mut encoded = 0;
    for (spelling, expected) in cases() {
        let lower = spelling.to_lowercase();
        let holds_one = lower.contains("%2f") || lower.contains("%5c");
        encoded += u32::from(holds_one);
        let expected = if holds_one { Refused } else { expected };
        wrong.extend(judge(spelling, &expected, &house.http1(spelling).await));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(encoded, 26);
}

#[tokio::test]
async fn double_slashes_can_be_kept() {
    let house = House::build("paths: {merge_slashes: false}").await;
    let cases = [
        ("//x", Public("//x")),
        ("/admin//x", Protected("/admin//x")),
        ("/public//x/", Public("/public//x/")),
        ("/a/../admin", Protected("/admin")),
    ];
    for (spelling, expected) in &cases {
        assert_eq!(
            judge(spelling, expected, &house.http1(spelling).await),
            None
        );
    }
}

#[tokio::test]
async fn absolute_form_is_the_same_path() {
    let house = House::build("{}").await;
    let cases = [
        ("http://example.com/admin", Protected("/admin")),
        ("http://example.com/a/../admin", Protected("/admin")),
        ("http://example.com//admin", Protected("/admin")),
        ("http://example.com/%61dmin", Protected("/admin")),
        ("http://example.com/public?x", Public("/public?x")),
        ("http://example.com", Public("/")),
        ("http://example.com?x", Refused),
        ("http://example.com\\admin", Refused),
        ("http://example.com#/admin", Refused),
        ("http:/admin", Refused),
        ("http:///admin", Refused),
        ("//example.com/admin", Public("/example.com/admin")),
    ];
    let mut wrong = Vec::new();
    for (spelling, expected) in &cases {
        wrong.extend(judge(spelling, expected, &house.http1(spelling).await));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn bytes_that_no_target_may_hold() {
    let house = House::build("{}").await;
    let control = ["\x01", "\x1f", "\x7f", "\t", "\0"];
    let other = ["\"", "<", ">", "`", "|", "{", "}", "^", "ä"];
    for text in control.iter().chain(&other) {
        for place in ["/x", "/x?y"] {
            let before = house.counts();
            let request = format!("GET {place}{text} HTTP/1.1\r\nHost: example.com\r\n\r\n");
            let response = house.gateway.client().await.exchange(request).await;
            let what = format!("{text:?} after {place}");
            match house.arrived(before) {
                // What is passed on is written as it should have been. In a query the codec does
                // that for control bytes too.
                Some((false, target)) => {
                    assert!(!control.contains(text) || place.contains('?'), "{what}");
                    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                    let kept = place.contains('?') && text.is_ascii();
                    let as_it_was = kept && target == format!("{place}{text}");
                    assert!(
                        target == format!("{place}{encoded}") || as_it_was,
                        "{what}: {target}"
                    );
                }
                arrived => assert_eq!((response.status, arrived), (400, None), "{what}"),
            }
        }
    }
    let before = house.counts();
    assert_eq!(house.http1("/ä").await.0, 200);
    assert_eq!(house.arrived(before), Some((false, "/%C3%A4".to_owned())));
}
