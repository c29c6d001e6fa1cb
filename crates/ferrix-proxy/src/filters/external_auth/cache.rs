//! Answers of authorisation services that are kept: those that let a request pass, for others that are like it.

use std::{sync::Arc, time::Instant};

use ferrix_http1::RequestHead;
use ferrix_table::filters::external_auth::{AuthProtocol, VerdictCache};
use quick_cache::sync::Cache;

use crate::{
    secret_digest::{self, SecretDigest},
    subrequest::Reply,
};

/// Answers that are kept for one filter…
const MOST: usize = 2048;

/// …and the bytes of the longest of them, with what they have for the request.
const LONGEST: usize = 4096;

/// Answers by digests of what requests have in common, each with its end.
struct Kept(Cache<SecretDigest, (Arc<Reply>, Instant)>);

/// What requests have in common that an answer is for: whatever the service gets by its name is among it.
pub(super) fn key(
    verdicts: &VerdictCache,
    protocol: &AuthProtocol,
    head: &RequestHead,
) -> SecretDigest {
    let mut parts: Vec<&[u8]> = Vec::new();
    if !verdicts.headers_alone {
        let host = head.fields.get("host").unwrap_or_default();
        parts.extend([head.method.as_str().as_bytes(), host, head.target()]);
    }
    let names = verdicts
        .key_headers
        .iter()
        .chain(protocol.request_headers());
    let names = names.map(|name| &**name);
    for name in ["authorization"].into_iter().chain(names) {
        let before = parts.len();
        parts.extend(head.fields.get_all(name));
        // Ends the values of the name: no field has this.
        let count = parts.len() - before;
        parts.push(if count == 0 { b"\0\0" } else { b"\0" });
    }
    secret_digest::of(&parts)
}

/// An answer that is good still.
pub(super) fn get(verdicts: &VerdictCache, key: &SecretDigest) -> Option<Arc<Reply>> {
    let kept = kept(verdicts)?;
    let (reply, until) = kept.0.get(key)?;
    match Instant::now() < until {
        true => Some(reply),
        false => {
            kept.0.remove(key);
            None
        }
    }
}

/// Keeps an answer, unless it is long.
pub(super) fn keep(verdicts: &VerdictCache, key: SecretDigest, reply: Arc<Reply>) {
    let fields = reply.head.fields.iter();
    let length: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    if length + reply.body.len() > LONGEST {
        return;
    }
    if let Some(kept) = kept(verdicts) {
        kept.0.insert(key, (reply, Instant::now() + verdicts.ttl));
    }
}

fn kept(verdicts: &VerdictCache) -> Option<Arc<Kept>> {
    verdicts.kept.get_or_make(|| Kept(Cache::new(MOST)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use ferrix_http1::ResponseHead;
    use ferrix_table::verification::Prepared;
    use http::{Method, StatusCode, Version};

    use super::*;

    fn verdicts(ttl: Duration, headers_alone: bool) -> VerdictCache {
        VerdictCache {
            ttl,
            key_headers: ["X-Tenant".into()].into(),
            headers_alone,
            kept: Prepared::default(),
        }
    }

    fn request(method: Method, target: &str, fields: &[(&'static str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(method, target.as_bytes(), Version::HTTP_11);
        head.fields.append("Host", b"a.test");
        for (name, value) in fields {
            head.fields.append(name, value.as_bytes());
        }
        head
    }

    fn reply(body: usize) -> Arc<Reply> {
        Arc::new(Reply {
            head: ResponseHead::new(StatusCode::OK),
            body: Bytes::from(vec![0; body]),
            trailers: None,
        })
    }

    /// Which gets cookies.
    fn protocols() -> [AuthProtocol; 2] {
        let request_headers: Box<[Box<str>]> = ["Cookie".into()].into();
        [
            AuthProtocol::Http {
                path_prefix: Box::default(),
                request_headers: request_headers.clone(),
                response_headers: Box::default(),
            },
            AuthProtocol::Grpc { request_headers },
        ]
    }

    #[test]
    fn requests_are_alike_by_what_is_said() {
        let base = || request(Method::GET, "/a?b", &[("Cookie", "c=d")]);
        let other_host = {
            let mut head = base();
            head.fields.set("Host", b"b.test");
            head
        };
        // Of the request, whether it is alike, and whether it is where headers alone count.
        let cases = [
            (base(), true, true),
            (
                request(Method::GET, "/a?b", &[("Cookie", "c=d"), ("X-Other", "1")]),
                true,
                true,
            ),
            (
                request(Method::POST, "/a?b", &[("Cookie", "c=d")]),
                false,
                true,
            ),
            (
                request(Method::GET, "/a?c", &[("Cookie", "c=d")]),
                false,
                true,
            ),
            (other_host, false, true),
            (
                request(Method::GET, "/a?b", &[("Cookie", "c=e")]),
                false,
                false,
            ),
            (request(Method::GET, "/a?b", &[]), false, false),
            (
                request(Method::GET, "/a?b", &[("Cookie", "")]),
                false,
                false,
            ),
            (
                request(Method::GET, "/a?b", &[("X-Tenant", "c=d")]),
                false,
                false,
            ),
            (
                request(Method::GET, "/a?b", &[("Cookie", "c=d"), ("Cookie", "c=d")]),
                false,
                false,
            ),
            (
                request(
                    Method::GET,
                    "/a?b",
                    &[("Cookie", "c=d"), ("Authorization", "x")],
                ),
                false,
                false,
            ),
        ];
        for (head, alike, alike_by_headers) in &cases {
            for (headers_alone, expected) in [(false, alike), (true, alike_by_headers)] {
                let verdicts = verdicts(Duration::from_secs(60), headers_alone);
                for protocol in &protocols() {
                    let key = |head| key(&verdicts, protocol, head);
                    let is_alike = key(head) == key(&base());
                    assert_eq!(is_alike, *expected, "{head:?} {headers_alone}");
                }
            }
        }
        assert_eq!(cases.len(), 11);
    }

    #[test]
    fn answers_end_and_long_ones_are_not_kept() {
        let lasting = verdicts(Duration::from_secs(60), false);
        let (one, other) = ([1; 32], [2; 32]);
        keep(&lasting, one, reply(10));
        keep(&lasting, other, reply(LONGEST + 1));
        assert!(get(&lasting, &one).is_some());
        assert!(get(&lasting, &other).is_none());
        let over = verdicts(Duration::ZERO, false);
        keep(&over, one, reply(10));
        assert!(get(&over, &one).is_none());
        for number in 0..3 * MOST {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            keep(&lasting, key, reply(10));
        }
        assert!(kept(&lasting).unwrap().0.len() <= MOST);
    }
}
