//! What a filter reads of a request without asking anybody, for fuzz targets.

use ferrix_http1::RequestHead;
use ferrix_table::filters::oidc::Oidc;
use http::{Method, Version};

use super::{
    cookies::Cookies,
    login::{Login, Returned},
};
use crate::filters::origin::Origin;

/// What a filter reads of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// The user of the session that the request has.
    pub subject: Option<String>,
    /// Whether it comes back from a login that the browser has begun, by this time in seconds since 1970.
    pub returns: bool,
    /// Where a browser would go after a login that begins with it.
    pub way_back: String,
    /// The cookies that services get.
    pub cookies: Vec<Vec<u8>>,
}

/// Reads a request for `http://example.com`. `None`: the filter has no Secret.
pub fn read(oidc: &Oidc, target: &[u8], cookie: &[u8], now: u64) -> Option<Reading> {
    let mut head = RequestHead::new(Method::GET, target, Version::HTTP_11);
    head.fields.append("Host", b"example.com");
    head.fields.append("Cookie", cookie);
    let origin = Origin::of(&head, false).ok()?;
    let cookies = Cookies::new(oidc, oidc.secrets.held.as_ref().ok()?, &origin)?;
    let session = cookies.session(&head.fields);
    let login = Returned::of(target).ok();
    let login = login.and_then(|it| cookies.login(&it.state, &head.fields, now));
    let (state, begun) = Login::begin(target, now);
    // Logins give way to one more.
    let given = cookies.begin(&state, &begun, &head.fields, now);
    debug_assert!(!given.is_empty());
    cookies.take_out(&mut head.fields);
    let left = head.fields.get_all("cookie");
    let left = left.flat_map(|value| value.split(|byte| *byte == b';'));
    Some(Reading {
        subject: session.map(|it| it.subject),
        returns: login.is_some(),
        way_back: begun.target,
        cookies: left.map(|it| it.trim_ascii().to_vec()).collect(),
    })
}
