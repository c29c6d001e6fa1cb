//! Redirects: answers with another place to go to.

use std::fmt;

use super::path_change::PathChange;

/// An answer with another place to go to (Gateway API, `HTTPRequestRedirectFilter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `None`: that of the request.
    pub scheme: Option<RedirectScheme>,
    /// `None`: that of the request.
    pub host: Option<RedirectHost>,
    /// `None`: the default of [`Self::scheme`]; without one, that of the listener.
    pub port: Option<u16>,
    /// `None`: the path of the request.
    pub path: Option<PathChange>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The host of the place to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectHost {
    /// This one, in canonical form.
    To(Box<str>),
    /// That of the request, with `www.` before it.
    WithWww,
    /// That of the request, without.
    WithoutWww,
}

/// The scheme of the place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectScheme {
    /// `http`, by default on port 80.
    Http,
    /// `https`, by default on port 443.
    Https,
}

impl Redirect {
    /// Whether it answers only requests that it leads to another place: those that it is not about go on.
    pub fn is_conditional(&self) -> bool {
        let host = matches!(
            self.host,
            Some(RedirectHost::WithWww | RedirectHost::WithoutWww)
        );
        host || self.path.as_ref().is_some_and(PathChange::is_conditional)
    }
}

/// `301, scheme https, host example.com`.
impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match self.scheme {
            Some(RedirectScheme::Http) => f.write_str(", scheme http")?,
            Some(RedirectScheme::Https) => f.write_str(", scheme https")?,
            None => {}
        }
        match &self.host {
            Some(RedirectHost::To(host)) => write!(f, ", host {host}")?,
            Some(RedirectHost::WithWww) => f.write_str(", host with www.")?,
            Some(RedirectHost::WithoutWww) => f.write_str(", host without www.")?,
            None => {}
        }
        if let Some(port) = self.port {
            write!(f, ", port {port}")?;
        }
        match &self.path {
            Some(path) => write!(f, ", {path}"),
            None => Ok(()),
        }
    }
}
