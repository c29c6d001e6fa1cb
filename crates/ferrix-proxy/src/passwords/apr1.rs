//! The hash of passwords by MD5 that Apache's `htpasswd` makes: 1,000 rounds of it.
//!
//! <https://httpd.apache.org/docs/2.4/misc/password_encryptions.html>; the code that all follow is that of
//! `apr_md5_encode`. It was made for the machines of 1994: bcrypt is what to use.

use md5::{Digest, Md5};

/// The characters of the result, by their values.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Which bytes of the digest come together, the first of them highest.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// What comes after `$apr1$SALT$`.
pub(super) fn digest(password: &[u8], salt: &[u8]) -> String {
    let mut state = beginning(password, salt);
    for round in 0..1000 {
        let odd = round % 2 == 1;
        let (first, last) = match odd {
            true => (password, &state[..]),
            false => (&state[..], password),
        };
        let mut parts = vec![first];
        if round % 3 != 0 {
            parts.push(salt);
        }
        if round % 7 != 0 {
            parts.push(password);
        }
        parts.push(last);
        state = md5(&parts);
    }
    let mut text = String::with_capacity(22);
    for [high, middle, low] in ORDER {
        let bytes = [0, state[high], state[middle], state[low]];
        write(u32::from_be_bytes(bytes), 4, &mut text);
    }
    write(state[11].into(), 2, &mut text);
    text
}

fn beginning(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let other = md5(&[password, salt, password]);
    let mut all = [password, b"$apr1$", salt].concat();
    all.extend(other.iter().cycle().take(password.len()));
    let mut rest = password.len();
    while rest > 0 {
        all.push(if rest % 2 == 1 { 0 } else { password[0] });
        rest /= 2;
    }
    md5(&[&all])
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Writes so many characters, six bits each, the lowest first.
fn write(value: u32, characters: u32, text: &mut String) {
    for place in 0..characters {
        let bits = value >> (6 * place) & 63;
        text.push(char::from(ALPHABET[bits as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `openssl passwd -apr1 -salt lZL6V/ci`.
    #[test]
    fn digests_are_those_of_others() {
        let long = "x".repeat(200);
        let umlauts = "ä".repeat(40);
        let cases = [
            ("", "SVU5DyKasLwxHneKr84nN."),
            ("a", "FziZ/OfnM9nrLicAFMl2d."),
            ("xxxxxxxxxxxxxxxxx", "ZNrMI4PkMYjUt1xDfT.uT/"),
            (&umlauts, "qFzIuwl5lCtEYo.zrt9tb/"),
            (&long, "CyceDMxMUkl5hLbv1KKw0/"),
        ];
        for (password, expected) in cases {
            assert_eq!(
                digest(password.as_bytes(), b"lZL6V/ci"),
                expected,
                "{password}"
            );
        }
    }
}
