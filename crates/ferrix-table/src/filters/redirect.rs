//! Redirects: answers with another place to go to.

use std::fmt;

use super::path_change::PathChange;

/// An answer with another place to go to (Gateway API, `HTTPRequestRedirectFilter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `None`: that of the request.
    pub scheme: Option<RedirectScheme>,
    /// In canonical form. `None`: that of the request.
    pub host: Option<Box<str>>,
    /// `None`: the default of [`Self::scheme`]; without one, that of the listener.
    pub port: Option<u16>,
    /// `None`: the path of the request.
    pub path: Option<PathChange>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The scheme of the place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectScheme {
    /// `http`, by default on port 80.
    Http,
    /// `https`, by default on port 443.
    Https,
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
        if let Some(host) = &self.host {
            write!(f, ", host {host}")?;
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
