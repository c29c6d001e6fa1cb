//! The one canonical host of a request.
//!
//! A host that two servers could read as two names is refused, so that what routes, what is
//! compared with the certificate and what the application reads are one name.

use std::{borrow::Cow, hint::cold_path, net::Ipv6Addr};

/// A canonical host and the port beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalHost<'a> {
    /// Lower case, without port, brackets or a trailing dot. Borrowed where the client sent it so.
    pub host: Cow<'a, str>,
    /// The port that the client named. Routing ignores it.
    pub port: Option<u16>,
}

/// Why an authority is refused. The answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Whether a request may do without a host is for its protocol to say.
    #[error("the host is empty")]
    Empty,
    /// Where a name is expected.
    #[error("the host is an IP address")]
    Address,
    /// No DNS name is longer than 255 bytes.
    #[error("the host is longer than 255 bytes")]
    TooLong,
    /// Two fields joined, or an attempt at it.
    #[error("the host is a list")]
    List,
    /// `user@host`.
    #[error("the host holds user information (`@`)")]
    UserInfo,
    /// `/`, `\`, `?` or `#`.
    #[error("the host holds part of a path or query (`{0}`)")]
    Path(char),
    /// NUL, another control byte or DEL.
    #[error("the host holds the control byte 0x{0:02X}")]
    Control(u8),
    /// Anywhere.
    #[error("the host holds a space")]
    Space,
    /// Names beyond ASCII travel as `xn--…`.
    #[error("the host holds the byte 0x{0:02X}, which is not ASCII")]
    NonAscii(u8),
    /// Only routes have wildcards.
    #[error("the host is a wildcard")]
    Wildcard,
    /// Any other character that no host name has.
    #[error("the host holds `{0}`")]
    Character(char),
    /// A leading dot, two dots in a row, or two at the end.
    #[error("the host holds an empty label")]
    EmptyLabel,
    /// Empty, not a number, 0 or above 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// `::1` for `[::1]`.
    #[error("an IPv6 address needs brackets")]
    BareIpv6,
    /// Brackets without an IPv6 address between them and at most a port behind them.
    #[error("the brackets do not hold an IPv6 address")]
    Brackets,
    /// Only for hosts of routes: see [`crate::rules::HostPattern::parse`].
    #[error("a route's host has no port")]
    UnexpectedPort,
}

const MAXIMUM_LENGTH: usize = 255;

/// The canonical form of a `Host` field or an `:authority`.
///
/// Allocates only where there are upper-case letters.
pub fn canonical<'a, T>(authority: &'a T) -> Result<CanonicalHost<'a>, HostError>
where
    T: AsRef<[u8]> + ?Sized,
{
    let authority = authority.as_ref();
    if let Some(plain) = plain(authority) {
        return Ok(plain);
    }
    cold_path();
    let (host, port) = split(ascii(authority)?)?;
    let port = port.map(|port| parse_port(port.as_bytes()).ok_or(HostError::Port));
    let port = port.transpose()?;
    Ok(CanonicalHost {
        host: lower_case(host),
        port,
    })
}

/// A name that is canonical as it stands, and a port where there is one, as in nearly all requests, at one
/// look. `None` means only that it takes a closer one.
fn plain(authority: &[u8]) -> Option<CanonicalHost<'_>> {
    let (mut label, mut end) = (0, authority.len());
    for (place, &byte) in authority.iter().enumerate() {
        label = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label + 1,
            b'.' if label > 0 => 0,
            b':' => {
                end = place;
                break;
            }
            _ => return None,
        };
    }
    if label == 0 || authority.len() > MAXIMUM_LENGTH {
        return None;
    }
    let (name, port) = authority.split_at(end);
    let port = match port {
        [] => None,
        [_, digits @ ..] => Some(parse_port(digits)?),
    };
    let host = Cow::Borrowed(std::str::from_utf8(name).ok()?);
    Some(CanonicalHost { host, port })
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    let port = digits.iter().try_fold(0_u16, |port, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        port.checked_mul(10)?.checked_add(u16::from(digit))
    });
    port.filter(|port| *port != 0)
}

/// Refuses what no authority may hold, whatever its structure.
fn ascii(authority: &[u8]) -> Result<&str, HostError> {
    if authority.is_empty() {
        return Err(HostError::Empty);
    }
    if authority.len() > MAXIMUM_LENGTH {
        return Err(HostError::TooLong);
    }
    for &byte in authority {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {}
            b':' | b'[' | b']' => {}
            b',' => return Err(HostError::List),
            b'@' => return Err(HostError::UserInfo),
            b'/' | b'\\' | b'?' | b'#' => return Err(HostError::Path(char::from(byte))),
            b' ' => return Err(HostError::Space),
            b'*' => return Err(HostError::Wildcard),
            byte if byte.is_ascii_control() => return Err(HostError::Control(byte)),
            byte if !byte.is_ascii() => return Err(HostError::NonAscii(byte)),
            byte => return Err(HostError::Character(char::from(byte))),
        }
    }
    // The loop has seen to it that this cannot fail.
    std::str::from_utf8(authority).map_err(|_| HostError::NonAscii(authority[0]))
}

/// Host, without brackets or a trailing dot, and the text of the port.
fn split(authority: &str) -> Result<(&str, Option<&str>), HostError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(HostError::Brackets)?;
        let _: Ipv6Addr = address.parse().map_err(|_| HostError::Brackets)?;
        return match rest.strip_prefix(':') {
            None if !rest.is_empty() => Err(HostError::Brackets),
            port => Ok((address, port)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(HostError::BareIpv6),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.contains(['[', ']']) {
        return Err(HostError::Brackets);
    }
    Ok((name(host)?, port))
}

fn name(host: &str) -> Result<&str, HostError> {
    if host.is_empty() {
        return Err(HostError::Empty);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(HostError::EmptyLabel);
    }
    Ok(name)
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests;
