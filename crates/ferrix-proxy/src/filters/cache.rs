//! Responses that are kept and used again: a shared cache (RFC 9111).
//!
//! ```text
//!  request ─► look_up ─┬─► fresh, or stale and good enough ─► filters of responses ─► client
//!                      ├─► somebody fetches it: wait, and look again
//!                      └─► Fetch ─► backend ─► on_response ─┬─► Copy of the body ─► kept, once it is whole
//!                                                           ├─► 304, or an error: what is kept answers
//!                                                           └─► not such as is kept
//! ```
//!
//! What is kept is what the backend has sent: filters of responses work on each answer anew.

use std::{sync::Arc, time::SystemTime};

use bytes::{Bytes, BytesMut};
use ferrix_http1::{Fields, Framing, RequestHead, ResponseHead, content_length};
use ferrix_table::{
    filters::cache::{Cache, CacheTerms},
    rules::Rule,
};
use http::{Method, StatusCode};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Arrival;
use crate::{clock, headers};

mod conditions;
mod freshness;
mod store;

use freshness::{Directives, Fetched, Freshness, Personal, Use};
pub(crate) use store::{Flight, Stored};
use store::{Found, Key, Landing, Lead, Store};

/// A field that says what caches have done (RFC 9211).
const CACHE_STATUS: &str = "Cache-Status";

/// A key of usual length is made without an allocation.
type KeyBuffer = SmallVec<[u8; 256]>;

/// A request that a cache may answer.
pub(crate) struct Question<'c> {
    cache: &'c Cache,
    store: Arc<Store>,
    key: KeyBuffer,
    asked: Directives,
    personal: Personal,
    purge: u64,
    is_get: bool,
}

/// Why a cache has no part in a request, in the words of RFC 9211, section 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// Its method.
    Method,
    /// What it asks for.
    Request,
    /// It cannot be answered by what is kept here: parts, conditions for changes, bodies, upgrades.
    Bypass,
    /// It is not there, and HEAD fetches nothing.
    Miss,
}

impl Forward {
    /// Says so on a response.
    pub(crate) fn tell(self, head: &mut ResponseHead) {
        let text: &[u8] = match self {
            Self::Method => b"ferrix; fwd=method",
            Self::Request => b"ferrix; fwd=request",
            Self::Bypass => b"ferrix; fwd=bypass",
            Self::Miss => b"ferrix; fwd=miss",
        };
        head.fields.append(CACHE_STATUS, text);
    }
}

/// What a cache has for a question.
pub(crate) enum LookedUp {
    /// The answer.
    Fresh(Arc<Stored>),
    /// The answer; and what is to be fetched meanwhile, where nobody else does.
    Stale(Arc<Stored>, Option<Box<Fetch>>),
    /// Somebody else fetches it.
    Wait(Arc<Flight>),
    /// It is to be fetched.
    Fetch(Box<Fetch>),
    /// It is not here, and may not be fetched for this request.
    Nothing(Forward),
    /// It is not here, and the request asks for no other (RFC 9111, section 5.2.1.7).
    OnlyIfCached,
}

impl<'c> Question<'c> {
    /// # Errors
    /// The cache has no part in it.
    pub(crate) fn of(
        cache: &'c Cache,
        head: &RequestHead,
        body: Framing,
        arrival: &Arrival,
        rule: &Rule,
    ) -> Result<Self, Forward> {
        let fields = &head.fields;
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Forward::Method);
        }
        let others = ["range", "if-match", "if-unmodified-since"];
        if body != Framing::Empty
            || others.iter().any(|name| fields.contains(name))
            || headers::wants_upgrade(head)
        {
            return Err(Forward::Bypass);
        }
        let asked = Directives::of(fields);
        if asked.no_store {
            return Err(Forward::Request);
        }
        let purge = cache.state.get().purge();
        Ok(Self {
            cache,
            store: store(cache, purge),
            key: key(cache, head, arrival, rule),
            asked,
            personal: Personal::of(fields),
            purge,
            is_get: head.method == Method::GET,
        })
    }

    /// The same of a request that was let pass by credentials, perhaps without having them any more.
    pub(crate) fn authenticated(mut self) -> Self {
        self.personal.credentials = true;
        self
    }

    /// What there is for it now. `alone`: whoever else fetches it is not waited for.
    pub(crate) fn look_up(&self, fields: &Fields, alone: bool) -> LookedUp {
        let now = clock::read();
        let (mut stored, mut alone) = (None, alone);
        match self.store.find(&self.key, fields, now) {
            Found::Kept(kept) => match kept.freshness.use_for(&self.asked, self.personal, now) {
                Use::Fresh => return LookedUp::Fresh(kept),
                Use::WhileRevalidated => return self.stale(kept, fields),
                Use::AfterValidation => stored = Some(kept),
                Use::No => alone = true,
            },
            Found::NotKept => alone = true,
            Found::Nothing => {}
        }
        if self.asked.only_if_cached {
            return LookedUp::OnlyIfCached;
        }
        if !self.is_get {
            return LookedUp::Nothing(Forward::Miss);
        }
        match alone {
            true => LookedUp::Fetch(Box::new(self.fetch(None, stored, fields))),
            false => match self.store.board(&self.key) {
                Ok(lead) => LookedUp::Fetch(Box::new(self.fetch(Some(lead), stored, fields))),
                Err(flight) => LookedUp::Wait(flight),
            },
        }
    }

    /// The first GET fetches it anew.
    fn stale(&self, kept: Arc<Stored>, fields: &Fields) -> LookedUp {
        let lead = self.is_get.then(|| self.store.board(&self.key).ok());
        let fetch = lead.flatten().map(|lead| {
            let stored = Some(Arc::clone(&kept));
            Box::new(self.fetch(Some(lead), stored, fields))
        });
        LookedUp::Stale(kept, fetch)
    }

    fn fetch(&self, lead: Option<Lead>, stored: Option<Arc<Stored>>, fields: &Fields) -> Fetch {
        Fetch {
            store: Arc::clone(&self.store),
            terms: self.cache.terms,
            key: Key::from(&*self.key),
            purge: self.purge,
            personal: self.personal,
            request: fields.clone(),
            asked: clock::read(),
            stored,
            lead,
        }
    }
}

/// What a cache keeps, as the table that names it says.
fn store(cache: &Cache, purge: u64) -> Arc<Store> {
    let (max_bytes, largest) = (cache.max_bytes, cache.terms.max_object_bytes);
    let state = cache.state.get();
    let store = state.kept(|| Store::new(max_bytes, largest, purge));
    store.follow(max_bytes, purge);
    store
}

/// Forgets what a request changes that is not safe, once it has succeeded (RFC 9111, section 4.4).
pub(crate) struct Invalidation {
    store: Arc<Store>,
    key: Key,
}

impl Invalidation {
    /// That of a request, if it may change anything.
    pub(crate) fn of(
        cache: &Cache,
        head: &RequestHead,
        arrival: &Arrival,
        rule: &Rule,
    ) -> Option<Box<Self>> {
        (!head.method.is_safe()).then(|| {
            Box::new(Self {
                store: store(cache, cache.state.get().purge()),
                key: Key::from(&*key(cache, head, arrival, rule)),
            })
        })
    }

    /// The response has come.
    pub(crate) fn on_response(&self, status: StatusCode) {
        if status.is_success() || status.is_redirection() {
            self.store.forget(&self.key);
        }
    }
}

/// Whatever two requests must have in common to have one answer. No part has a zero byte in it.
fn key(cache: &Cache, head: &RequestHead, arrival: &Arrival, rule: &Rule) -> KeyBuffer {
    let mut key = KeyBuffer::new();
    let mut add = |part: &[u8]| {
        key.extend_from_slice(part);
        key.push(0);
    };
    add(if arrival.secure { b"https" } else { b"http" });
    add(itoa::Buffer::new().format(arrival.port).as_bytes());
    let host = head.fields.get("host").unwrap_or_default();
    add(&host
        .iter()
        .map(u8::to_ascii_lowercase)
        .collect::<SmallVec<[u8; 64]>>());
    add(head.target());
    // Rules of one host and path may differ in headers, and go to different services.
    let route = &rule.route.key;
    for text in [
        &*route.namespace,
        &*route.name,
        rule.text().unwrap_or_default(),
    ] {
        add(text.as_bytes());
    }
    for name in &cache.key_headers {
        add(&store::normal(&head.fields, name));
    }
    key
}

/// The answer to a request by a response that is kept: the whole of it, or 304 where the client has it.
pub(crate) fn answer(stored: &Stored, request: &Fields, how: &str) -> (ResponseHead, Bytes) {
    let now = clock::read();
    let freshness = &stored.freshness;
    let (mut head, body) = match conditions::has_it(request, &stored.head) {
        true => (conditions::not_modified(&stored.head), Bytes::new()),
        false => (stored.head.clone(), stored.body.clone()),
    };
    let age = freshness.age(now).as_secs();
    head.fields
        .set("Age", itoa::Buffer::new().format(age).as_bytes());
    let status = format!("ferrix; {how}; ttl={}", freshness.ttl(now));
    head.fields.append(CACHE_STATUS, status.as_bytes());
    (head, body)
}

/// A response that is fetched for a cache.
pub(crate) struct Fetch {
    store: Arc<Store>,
    terms: CacheTerms,
    key: Key,
    purge: u64,
    personal: Personal,
    /// The fields of the request, before the backend is asked on behalf of all.
    request: Fields,
    asked: Instant,
    /// What is kept, and may be good still.
    stored: Option<Arc<Stored>>,
    /// Where others wait for it.
    lead: Option<Lead>,
}

/// What becomes of a response that was fetched.
pub(crate) enum Verdict {
    /// It goes to the client, and is not kept.
    Pass,
    /// It goes to the client, and a copy is made on the way.
    Keep(Box<Copy>),
    /// What is kept goes to the client instead.
    Instead(ResponseHead, Bytes),
}

impl Fetch {
    /// Makes a request one whose answer is good for all, or says whether what is kept still is (RFC 9111,
    /// section 4.3.1).
    pub(crate) fn prepare(&self, head: &mut RequestHead) {
        let fields = &mut head.fields;
        fields.remove("if-none-match");
        fields.remove("if-modified-since");
        let Some(stored) = &self.stored else {
            return;
        };
        let known = &stored.head.fields;
        for (condition, validator) in [
            ("If-None-Match", known.get("etag")),
            ("If-Modified-Since", known.get("last-modified")),
        ] {
            if let Some(validator) = validator {
                fields.append(condition, validator);
            }
        }
    }

    /// As much of a body as it has to see to know whether it is kept.
    pub(crate) fn wanted(&self) -> usize {
        usize::try_from(self.terms.max_object_bytes)
            .map_or(usize::MAX, |most| most.saturating_add(1))
    }

    /// Decides about a response, and has it say so. `whole`: its end can be told from a broken connection.
    pub(crate) fn on_response(self, head: &mut ResponseHead, whole: bool) -> Verdict {
        let now = clock::read();
        match &self.stored {
            Some(stored) if head.status == StatusCode::NOT_MODIFIED => {
                return self.renew(stored, head, now);
            }
            Some(stored) if is_error(head.status) && stored.freshness.helps_on_error(now) => {
                let how = format!("hit; fwd=stale; fwd-status={}", head.status.as_u16());
                let (head, body) = answer(stored, &self.request, &how);
                return Verdict::Instead(head, body);
            }
            _ => {}
        }
        let forwarded = match self.stored {
            Some(_) => "ferrix; fwd=stale",
            None => "ferrix; fwd=miss",
        };
        let freshness = self
            .freshness(head, now)
            .filter(|_| whole && self.fits(head));
        let Some(freshness) = freshness else {
            head.fields.append(CACHE_STATUS, forwarded.as_bytes());
            self.pass_by(now);
            return Verdict::Pass;
        };
        let mut kept = head.clone();
        kept.fields.remove("age");
        let length = content_length(&head.fields).ok().flatten();
        let room = length.and_then(|length| usize::try_from(length).ok());
        head.fields
            .append(CACHE_STATUS, format!("{forwarded}; stored").as_bytes());
        Verdict::Keep(Box::new(Copy {
            fetch: self,
            head: kept,
            body: BytesMut::with_capacity(room.unwrap_or(0)),
            freshness,
        }))
    }

    /// The answer where there is no response, if what is kept may be it.
    pub(crate) fn on_failure(&self) -> Option<(ResponseHead, Bytes)> {
        let stored = self.stored.as_ref()?;
        let helps = stored.freshness.helps_on_error(clock::read());
        helps.then(|| answer(stored, &self.request, "hit; fwd=stale"))
    }

    /// What is kept is good still, and what is said of it is new (RFC 9111, section 4.3.4).
    fn renew(&self, stored: &Stored, news: &ResponseHead, now: Instant) -> Verdict {
        let mut head = stored.head.clone();
        for (name, _) in news.fields.iter() {
            if let Some(name) = renewable(name) {
                head.fields.remove(name);
            }
        }
        for (name, value) in news.fields.iter() {
            if let Some(name) = renewable(name) {
                head.fields.append(name, value);
            }
        }
        let freshness = self.freshness(&head, now);
        head.fields.remove("age");
        let kept = freshness.unwrap_or(stored.freshness);
        let renewed = Stored::new(head, stored.body.clone(), kept, &self.request);
        let (head, body) = answer(&renewed, &self.request, "hit; fwd=stale; fwd-status=304");
        match freshness {
            Some(_) => self.keep(renewed),
            None => self.pass_by(now),
        }
        Verdict::Instead(head, body)
    }

    fn freshness(&self, head: &ResponseHead, now: Instant) -> Option<Freshness> {
        let fetched = Fetched {
            asked: self.asked,
            came: now,
            clock: SystemTime::now(),
        };
        Freshness::of(&self.terms, self.personal, head, fetched)
    }

    /// Whether a body may be kept, as far as its length is known.
    fn fits(&self, head: &ResponseHead) -> bool {
        let length = content_length(&head.fields).ok().flatten();
        length.is_none_or(|length| length <= self.terms.max_object_bytes)
    }

    fn keep(&self, stored: Stored) {
        if self.lead.as_ref().is_some_and(Lead::is_void) {
            return;
        }
        self.store.keep(&self.key, stored, self.purge);
        self.land(Landing::Kept);
    }

    /// Nothing of it is kept, and what was kept is no longer good.
    fn pass_by(&self, now: Instant) {
        self.store.pass_by(&self.key, self.stored.as_ref(), now);
        self.land(Landing::NotKept);
    }

    fn land(&self, landing: Landing) {
        if let Some(lead) = &self.lead {
            lead.land(landing);
        }
    }
}

/// Statuses in the place of which a stale response may be used (RFC 5861, section 4).
fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// The name of a field that a 304 may change in what is kept: not one of the body, which is as it was.
fn renewable(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let of_body = [
        "content-length",
        "content-encoding",
        "content-type",
        "content-range",
    ];
    (!of_body.iter().any(|it| name.eq_ignore_ascii_case(it))).then_some(name)
}

/// A response on its way to the client, and into the cache.
pub(crate) struct Copy {
    fetch: Fetch,
    head: ResponseHead,
    body: BytesMut,
    freshness: Freshness,
}

impl Copy {
    /// A piece of the body. Returns whether there is still a copy.
    pub(crate) fn data(&mut self, data: &[u8]) -> bool {
        let longest = usize::try_from(self.fetch.terms.max_object_bytes).unwrap_or(usize::MAX);
        if data.len() > longest.saturating_sub(self.body.len()) {
            self.fetch.pass_by(clock::read());
            return false;
        }
        self.body.extend_from_slice(data);
        true
    }

    /// The body is whole.
    pub(crate) fn finish(self) {
        let Self {
            fetch,
            head,
            body,
            freshness,
        } = self;
        // What is kept for long takes no more than it needs.
        let body = match body.capacity() > body.len() + body.len() / 8 {
            true => Bytes::copy_from_slice(&body),
            false => body.freeze(),
        };
        fetch.keep(Stored::new(head, body, freshness, &fetch.request));
    }
}

/// Keeps a response that has come as a whole: one that nobody waits for.
pub(crate) fn keep_whole(fetch: Fetch, head: ResponseHead, body: &[u8]) {
    let mut head = head;
    if let Verdict::Keep(mut copy) = fetch.on_response(&mut head, true)
        && copy.data(body)
    {
        copy.finish();
    }
}

#[cfg(test)]
mod tests;
