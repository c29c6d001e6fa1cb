//! Whether a request is sent again after an attempt at it has broken, and what is kept for that.
//!
//! Decided by what broke, not by who asks: a pure function of both. What the backend may have acted
//! upon is repeated only where doing it twice is the same as doing it once, and only where the
//! likeliest reason is that the connection had been closed while it idled, or the rule asks for it.

use bytes::{Bytes, BytesMut};
use ferrix_http1::Framing;
use ferrix_table::{
    backend_policy::RetryBudget,
    services::Service,
    state::{Gauge, PolicyState},
};
use http::Method;

use crate::failure::Failure;

/// As much of a request's body is kept until the first byte of an answer. Documents of WebDAV and
/// JSON are far smaller; 10,000 requests that wait hold no more than 640 MB.
pub(crate) const KEPT: usize = 64 * 1024;

/// Pieces up to this size are kept as copies.
const COPIED: usize = 4 * 1024;

/// Why an attempt at a request came to nothing.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The exchange ended it: the client left or lied, something took too long or was too large,
    /// or the answer is one that must not be relayed.
    Exchange(Failure),
    /// The connection to the backend ended before the first byte of an answer.
    Unanswered(String),
    /// An answer had begun, and is cut or malformed; a reset stream counts as one.
    Answer(String),
    /// The backend has done nothing with the request: it cannot have it, or says so (RFC 9113,
    /// section 8.7).
    Untouched(String),
    /// The answer has a status for which the rule asks for another attempt.
    Refused(u16),
    /// The attempt took longer than the rule allows.
    Late,
}

/// An attempt at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Whether there may be another.
    pub(crate) more: bool,
    /// Whether its connection had carried a request before: the backend may close such a one at any
    /// time while it idles.
    pub(crate) reused: bool,
    /// Whether doing it twice is the same as doing it once: see [`is_idempotent`].
    pub(crate) idempotent: bool,
    /// Whether all that was sent of the body can be sent again.
    pub(crate) kept: bool,
    /// Whether the rule asks for further attempts.
    pub(crate) asked: bool,
}

impl Broken {
    /// Whether the request is to be sent again.
    pub(crate) fn is_repeated(&self, attempt: Attempt) -> bool {
        let Attempt {
            more,
            reused,
            idempotent,
            kept,
            asked,
        } = attempt;
        match self {
            Self::Exchange(_) => false,
            Self::Unanswered(_) => more && kept && idempotent && (reused || asked),
            // Of which the client has got nothing, or it would not be kept.
            Self::Answer(_) | Self::Refused(_) | Self::Late => more && kept && idempotent && asked,
            Self::Untouched(_) => more && kept,
        }
    }
}

impl From<Failure> for Broken {
    #[cold]
    fn from(failure: Failure) -> Self {
        Self::Exchange(failure)
    }
}

impl From<Broken> for Failure {
    #[cold]
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Exchange(failure) => failure,
            Broken::Unanswered(reason) | Broken::Answer(reason) | Broken::Untouched(reason) => {
                Failure::Upstream(reason)
            }
            Broken::Refused(status) => Failure::Upstream(format!("it answered {status}")),
            Broken::Late => Failure::UpstreamTimeout,
        }
    }
}

/// A request that is sent once more, counted as long as this lives.
pub(crate) struct Retrying<'s>(&'s Gauge);

impl<'s> Retrying<'s> {
    /// `None`: too many are sent once more already.
    pub(crate) fn begin(
        service: &Service,
        state: &'s PolicyState,
        budget: RetryBudget,
    ) -> Option<Self> {
        let count = |gauge: i64| u64::try_from(gauge).unwrap_or_default();
        let endpoints = service.endpoints.iter();
        let under_way = endpoints.map(|it| count(it.state.in_flight.get())).sum();
        // Counted first, so that of two that come at once one is seen by the other.
        let begun = Self(&state.retrying);
        let before = count(state.retrying.add(1));
        budget.allows(under_way, before).then_some(begun)
    }
}

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// Whether doing it twice is the same as doing it once: RFC 9110, section 9.2.2, and what the IANA
/// registry of methods says of all others (those of WebDAV and its extensions).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
        || matches!(
            method.as_str(),
            "ACL"
                | "BASELINE-CONTROL"
                | "BIND"
                | "CHECKIN"
                | "CHECKOUT"
                | "COPY"
                | "LABEL"
                | "LINK"
                | "MERGE"
                | "MKACTIVITY"
                | "MKCALENDAR"
                | "MKCOL"
                | "MKREDIRECTREF"
                | "MKWORKSPACE"
                | "MOVE"
                | "ORDERPATCH"
                | "PROPFIND"
                | "PROPPATCH"
                | "QUERY"
                | "REBIND"
                | "REPORT"
                | "SEARCH"
                | "UNBIND"
                | "UNCHECKOUT"
                | "UNLINK"
                | "UPDATE"
                | "UPDATEREDIRECTREF"
                | "VERSION-CONTROL"
        )
}

/// The beginning of a request's body, as far as it was sent. Without a body it costs nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pieces: Vec<Bytes>,
    /// After the pieces.
    last: BytesMut,
    /// Of all of it, in bytes.
    length: usize,
    whole: bool,
}

impl Kept {
    /// For a request with this body, where something can break so that it is sent again:
    /// `repeatable` for [`Broken::Unanswered`], `refusable` for [`Broken::Untouched`]. `None` also
    /// where the body is known to be too long.
    pub(crate) fn of(body: Framing, repeatable: bool, refusable: bool) -> Option<Self> {
        match body {
            Framing::Empty => Some(Self::default().ended()),
            Framing::Length(length) if length > KEPT as u64 => None,
            _ => (repeatable || refusable).then(Self::default),
        }
    }

    /// Adds a piece that is sent. `None` where that is too much to keep. It is copied, unless it is
    /// large and has memory of its `own`: others hold on to a buffer that may be much larger.
    pub(crate) fn with(mut self, piece: &Bytes, own: bool) -> Option<Self> {
        self.length += piece.len();
        if self.length > KEPT {
            return None;
        }
        if own && piece.len() > COPIED {
            if !self.last.is_empty() {
                self.pieces.push(self.last.split().freeze());
            }
            self.pieces.push(piece.clone());
        } else {
            self.last.extend_from_slice(piece);
        }
        Some(self)
    }

    /// The body has ended.
    pub(crate) fn ended(self) -> Self {
        Self {
            whole: true,
            ..self
        }
    }

    /// What was sent.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let last = Bytes::copy_from_slice(&self.last);
        self.pieces.iter().cloned().chain([last])
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether that is all of the body.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_decides() {
        let text = || "it broke".to_owned();
        let exchange = [
            Failure::ClientGone,
            Failure::UpstreamTimeout,
            Failure::BodyTimeout,
            Failure::BodyTooLarge,
            Failure::BadRequest("lied".into()),
            Failure::Upstream("it switched protocols unasked".into()),
        ];
        let mut broken: Vec<_> = exchange.map(Broken::Exchange).into();
        let never = broken.len();
        broken.push(Broken::Unanswered(text()));
        broken.push(Broken::Untouched(text()));
        broken.push(Broken::Answer(text()));
        broken.push(Broken::Refused(503));
        broken.push(Broken::Late);
        let mut ran = 0;
        for (index, broken) in broken.iter().enumerate() {
            for bits in 0..32_u8 {
                let bit = |place: u8| bits >> place & 1 == 1;
                let attempt = Attempt {
                    more: bit(0),
                    kept: bit(1),
                    reused: bit(2),
                    idempotent: bit(3),
                    asked: bit(4),
                };
                let expected = match index.checked_sub(never) {
                    None => false,
                    Some(0) => bits & 0b01011 == 0b01011 && bits & 0b10100 != 0,
                    Some(1) => bits & 0b11 == 0b11,
                    Some(_) => bits & 0b11011 == 0b11011,
                };
                assert_eq!(
                    broken.is_repeated(attempt),
                    expected,
                    "{broken:?} {attempt:?}"
                );
                ran += 1;
            }
        }
        assert_eq!(ran, 11 * 32);
    }

    #[test]
    fn methods_by_their_registry() {
        let cases = [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("PUT", true),
            ("DELETE", true),
            ("PROPFIND", true),
            ("REPORT", true),
            ("MKCOL", true),
            ("SEARCH", true),
            ("POST", false),
            ("PATCH", false),
            ("LOCK", false),
            ("CONNECT", false),
            ("propfind", false),
            ("PURGE", false),
        ];
        for (method, idempotent) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_idempotent(&method), idempotent, "{method}");
        }
        assert_eq!(cases.len(), 15);
    }

    #[test]
    fn bodies_are_kept_up_to_a_bound() {
        let (whole, much) = (
            Framing::Length(KEPT as u64),
            Framing::Length(KEPT as u64 + 1),
        );
        let cases = [
            (Framing::Empty, false, false, true),
            (Framing::Length(3), true, false, true),
            (Framing::Length(3), false, true, true),
            (Framing::Length(3), false, false, false),
            (whole, true, true, true),
            (much, true, true, false),
            (Framing::Chunked, true, false, true),
            (Framing::Chunked, false, false, false),
        ];
        for (body, repeatable, refusable, kept) in cases {
            let case = format!("{body:?} {repeatable} {refusable}");
            assert_eq!(
                Kept::of(body, repeatable, refusable).is_some(),
                kept,
                "{case}"
            );
        }
        assert_eq!(cases.len(), 8);
        let empty = Kept::of(Framing::Empty, false, false).unwrap();
        assert!(empty.is_whole() && empty.last.capacity() == 0);
        let kept = Kept::of(Framing::Chunked, true, true).unwrap();
        assert!(!kept.is_whole());
        let large = Bytes::from(vec![b'd'; KEPT - 3]);
        let kept = kept.with(&Bytes::from("ab"), true).unwrap();
        let kept = kept.with(&Bytes::new(), true).unwrap();
        let kept = kept.with(&large, true).unwrap();
        let kept = kept.with(&Bytes::from("e"), false).unwrap().ended();
        assert!(kept.is_whole());
        let pieces: Vec<_> = kept.pieces().collect();
        let bytes = pieces.concat();
        assert!(bytes.starts_with(b"abdd") && bytes.ends_with(b"de"));
        assert_eq!(bytes.len(), KEPT);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr(), "its own memory is kept");
        assert_eq!(kept.with(&Bytes::from("f"), true), None);
        let kept = Kept::default().with(&large, false).unwrap();
        assert_ne!(kept.pieces().next().unwrap().as_ptr(), large.as_ptr());
    }
}
