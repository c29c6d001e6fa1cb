//! Request targets that are not UTF-8.

/// The same header section with all bytes above 0x7F of the target percent-encoded, and how much
/// longer it is. `None`: there are none, or they spell ASCII in a way that only careless decoders
/// read.
///
/// Old clients send paths in other encodings; what a byte means is between them and the server.
pub(crate) fn encoded(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte))?;
    let start = start + bytes[start..].iter().position(|byte| *byte == b' ')? + 1;
    let ends = |byte: &u8| byte.is_ascii_whitespace();
    let length = bytes[start..].iter().position(ends);
    let end = length.map_or(bytes.len(), |length| start + length);
    let target = &bytes[start..end];
    if target.is_ascii() || target.windows(2).any(is_overlong) {
        return None;
    }
    let mut out = bytes[..start].to_vec();
    for byte in target {
        match byte.is_ascii() {
            true => out.push(*byte),
            false => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[end..]);
    let longer = out.len() - bytes.len();
    Some((out, longer))
}

/// Whether two bytes begin a character that has a shorter spelling (RFC 3629, section 3).
fn is_overlong(pair: &[u8]) -> bool {
    matches!(
        pair,
        [0xC0 | 0xC1, 0x80..=0xBF] | [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]
    )
}
