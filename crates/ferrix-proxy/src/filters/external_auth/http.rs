//! How an authorisation service is asked by HTTP: a request whose answer is 200 where the other may pass.

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use http::{StatusCode, Version};

use super::Verdict;
use crate::{filters::credentials, headers, subrequest::Reply};

/// What an authorisation service gets of every request, beside method and path.
const ALWAYS: [&str; 2] = ["Host", "Authorization"];

/// What the service is asked: the request, with no more than what it is to know.
pub(super) fn question(
    head: &RequestHead,
    path_prefix: &str,
    allowed: &[Box<str>],
    length: usize,
) -> RequestHead {
    let path = match head.target() {
        b"*" => b"/",
        target => target,
    };
    let target = [path_prefix.as_bytes(), path].concat();
    let mut question = RequestHead::new(head.method.clone(), &target, Version::HTTP_11);
    let allowed = allowed.iter().map(|name| &**name);
    let allowed = allowed.filter(|name| !ALWAYS.iter().any(|it| it.eq_ignore_ascii_case(name)));
    for name in ALWAYS.into_iter().chain(allowed) {
        if headers::is_of_message(name) && name != "Host" {
            continue;
        }
        for value in head.fields.get_all(name) {
            question.fields.append(name, value);
        }
    }
    question
        .fields
        .append("Content-Length", length.to_string().as_bytes());
    question
}

/// What the service says. A request that passes gets what the answer has for it: these fields, or all.
pub(super) fn verdict(
    reply: &Reply,
    response_headers: &[Box<str>],
    head: &mut RequestHead,
) -> Verdict {
    match reply.head.status {
        StatusCode::OK => {
            take_over(response_headers, &reply.head, head);
            Verdict::Passed
        }
        _ => refusal(&reply.head, &reply.body),
    }
}

/// Gives the request what the answer has for it.
fn take_over(allowed: &[Box<str>], answer: &ResponseHead, head: &mut RequestHead) {
    let taken = |name: &str| match allowed {
        [] => !is_about_answer(name),
        allowed => allowed.iter().any(|it| it.eq_ignore_ascii_case(name)),
    };
    let fields = answer.fields.iter();
    let fields = fields.filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
    let fields: Vec<_> = fields
        .filter(|(name, _)| taken(name) && !headers::is_of_message(name))
        .collect();
    // What the client has said of them gives way, in any spelling, and also where the answer says nothing of one
    // that is allowed: it would pass for what the service has said. Several lines of the answer stay.
    let allowed = allowed.iter().map(|name| &**name);
    let allowed = allowed.filter(|name| !headers::is_of_message(name));
    for name in allowed.chain(fields.iter().map(|(name, _)| *name)) {
        credentials::take_out_identity(name, &mut head.fields);
    }
    for (name, value) in fields {
        head.fields.append(name, value);
    }
}

/// Fields that are about the answer itself, and would be wrong about the request.
fn is_about_answer(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("content-") || matches!(&*name, "date" | "server" | "vary" | "set-cookie")
}

/// A refusal as the service has worded it. One that makes no sense as a refusal is 403.
fn refusal(answer: &ResponseHead, body: &Bytes) -> Verdict {
    let status = match answer.status {
        status if status.is_redirection() || status.is_client_error() => status,
        _ => StatusCode::FORBIDDEN,
    };
    let mut refusal = ResponseHead::new(status);
    if status == answer.status {
        for (name, value) in answer.fields.iter() {
            if let Ok(name) = std::str::from_utf8(name)
                && !headers::is_of_message(name)
            {
                refusal.fields.append(name, value);
            }
        }
        return Verdict::Refused(refusal, body.clone());
    }
    Verdict::Refused(refusal, Bytes::new())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request() -> RequestHead {
        let mut head = RequestHead::new(Method::POST, b"/a?b", Version::HTTP_11);
        for (name, value) in [
            ("Host", "a.test"),
            ("Authorization", "Basic x"),
            ("Cookie", "c=d"),
            ("X-User", "forged"),
            ("Content-Length", "7"),
        ] {
            head.fields.append(name, value.as_bytes());
        }
        head
    }

    fn lines(head: &ferrix_http1::Fields) -> Vec<String> {
        let line = |(name, value): (&[u8], &[u8])| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            format!("{}: {}", text(name), text(value))
        };
        head.iter().map(line).collect()
    }

    #[test]
    fn a_question_tells_no_more_than_it_may() {
        let strict = question(&request(), "", &[], 0);
        assert_eq!(strict.target(), b"/a?b");
        let expected = [
            "Host: a.test",
            "Authorization: Basic x",
            "Content-Length: 0",
        ];
        assert_eq!(lines(&strict.fields), expected);
        let allowed = ["cookie".into(), "content-length".into(), "host".into()];
        let open = question(&request(), "/check", &allowed, 3);
        assert_eq!(open.target(), b"/check/a?b");
        let expected = [
            "Host: a.test",
            "Authorization: Basic x",
            "cookie: c=d",
            "Content-Length: 3",
        ];
        assert_eq!(lines(&open.fields), expected);
    }

    #[test]
    fn what_the_service_says_takes_the_place_of_what_the_client_says() {
        let mut answer = ResponseHead::new(StatusCode::OK);
        for (name, value) in [
            ("X-User", "alice"),
            ("Host", "evil.test"),
            ("Content-Length", "2"),
            ("Content-Type", "text/plain"),
            ("X-Other", "y"),
        ] {
            answer.fields.append(name, value.as_bytes());
        }
        let mut all = request();
        take_over(&[], &answer, &mut all);
        assert_eq!(all.fields.get_all("x-user").collect::<Vec<_>>(), [b"alice"]);
        assert_eq!(all.fields.get("host"), Some(&b"a.test"[..]));
        assert_eq!(all.fields.get("content-length"), Some(&b"7"[..]));
        assert!(all.fields.contains("x-other"));
        let mut some = request();
        take_over(&["x-other".into(), "host".into()], &answer, &mut some);
        assert_eq!(some.fields.get("x-user"), Some(&b"forged"[..]));
        assert_eq!(some.fields.get("host"), Some(&b"a.test"[..]));
        assert!(some.fields.contains("x-other"));
    }

    /// Whom the service does not name, nobody is.
    #[test]
    fn what_the_service_may_say_no_client_says() {
        let named = |name: &'static str| {
            let mut answer = ResponseHead::new(StatusCode::OK);
            answer.fields.append(name, b"alice");
            answer
        };
        let allowed: [Box<str>; 2] = ["X-User".into(), "Content-Length".into()];
        let cases = [
            (&allowed[..], named("X-Other"), None),
            (&allowed, named("x-user"), Some(&b"alice"[..])),
            (&[], named("X-User"), Some(b"alice")),
        ];
        for (allowed, answer, expected) in &cases {
            let mut head = request();
            for spelling in ["x-user", "X_User", "x.user", "X-User_"] {
                head.fields.append(spelling, b"forged");
            }
            take_over(allowed, answer, &mut head);
            assert_eq!(head.fields.get("x-user"), *expected);
            let lines = lines(&head.fields);
            assert!(!lines.iter().any(|it| it.contains("forged")), "{lines:?}");
            assert_eq!(head.fields.get("content-length"), Some(&b"7"[..]));
            // Nothing else goes.
            assert!(head.fields.contains("cookie") && head.fields.contains("authorization"));
        }
        assert_eq!(cases.len(), 3);
    }

    #[test]
    fn only_refusals_are_passed_on_as_they_are() {
        let cases = [
            (401, 401),
            (302, 302),
            (404, 404),
            (204, 403),
            (500, 403),
            (503, 403),
        ];
        for (said, told) in cases {
            let answer = ResponseHead::new(StatusCode::from_u16(said).unwrap());
            let Verdict::Refused(head, _) = refusal(&answer, &Bytes::new()) else {
                panic!("{said}")
            };
            assert_eq!(head.status, told, "{said}");
        }
        assert_eq!(cases.len(), 6);
    }
}
