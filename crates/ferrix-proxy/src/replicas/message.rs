//! Messages between replicas: what each has let pass, signed with the key that they share.
//!
//! ```text
//!  "FXR1" │ sender │ sequence │ time │ filter, key, requests │ … │ tag
//!     4   │    8   │     8    │   8  │    8       8      4    │   │  16
//! ```
//!
//! All numbers are big-endian. The tag is the first half of HMAC-SHA-256 (RFC 2104, section 5) over all that
//! comes before it, so that nobody without the key can count for others, or read whom a count is for: keys of
//! clients are digests with a secret. The time, in milliseconds since 1970, bounds for how long a message can
//! be replayed to a replica that has been started anew; within that, its sequence number tells it is old.

use aws_lc_rs::hmac;

/// Bytes of a message at most: it fits any network without being split (RFC 8200, section 5, less headers).
const MOST: usize = 1200;

const MAGIC: [u8; 4] = *b"FXR1";
const HEAD: usize = MAGIC.len() + 3 * 8;
const COUNT: usize = 8 + 8 + 4;
const TAG: usize = 16;

/// Counts in a message at most.
pub(super) const COUNTS: usize = (MOST - HEAD - TAG) / COUNT;

/// A message as it comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// A replica, for as long as its process lives.
    pub(super) sender: u64,
    pub(super) sequence: u64,
    /// In milliseconds since 1970.
    pub(super) time: u64,
    pub(super) counts: Vec<Count>,
}

/// What a replica has let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// Which filter: a digest of its identity.
    pub(super) filter: u64,
    /// For whom: a digest.
    pub(super) key: u64,
    pub(super) requests: u32,
}

impl Message {
    /// Writes and signs a message; it has [`COUNTS`] counts at most.
    pub(super) fn write(&self, key: &hmac::Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + COUNT * self.counts.len() + TAG);
        bytes.extend_from_slice(&MAGIC);
        for number in [self.sender, self.sequence, self.time] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for count in &self.counts {
            bytes.extend_from_slice(&count.filter.to_be_bytes());
            bytes.extend_from_slice(&count.key.to_be_bytes());
            bytes.extend_from_slice(&count.requests.to_be_bytes());
        }
        let tag = hmac::sign(key, &bytes);
        bytes.extend_from_slice(&tag.as_ref()[..TAG]);
        bytes
    }

    /// Reads a message. `None`: it is none, or signed by somebody without the key.
    pub(super) fn read(bytes: &[u8], key: &hmac::Key) -> Option<Self> {
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        let expected = hmac::sign(key, signed);
        if !is_same(&expected.as_ref()[..TAG], tag) {
            return None;
        }
        let rest = signed.strip_prefix(&MAGIC)?;
        let (sender, rest) = number(rest)?;
        let (sequence, rest) = number(rest)?;
        let (time, rest) = number(rest)?;
        let counts = rest.chunks(COUNT).map(|bytes| {
            let (filter, rest) = number(bytes)?;
            let (key, rest) = number(rest)?;
            let requests = u32::from_be_bytes(rest.try_into().ok()?);
            Some(Count {
                filter,
                key,
                requests,
            })
        });
        Some(Self {
            sender,
            sequence,
            time,
            counts: counts.collect::<Option<_>>()?,
        })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, secret)
    }

    fn message(counts: usize) -> Message {
        let count = |nth: usize| Count {
            filter: 1,
            key: u64::MAX - nth as u64,
            requests: 3,
        };
        Message {
            sender: 7,
            sequence: 8,
            time: 9,
            counts: (0..counts).map(count).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let key = key(b"secret");
        for counts in [0, 1, COUNTS] {
            let bytes = message(counts).write(&key);
            assert!(bytes.len() <= MOST);
            assert_eq!(Message::read(&bytes, &key), Some(message(counts)));
        }
    }

    #[test]
    fn what_is_not_signed_with_the_key_is_not_read() {
        let bytes = message(2).write(&key(b"secret"));
        assert_eq!(Message::read(&bytes, &key(b"another")), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Message::read(&changed, &key(b"secret")), None, "{at}");
            assert_eq!(Message::read(&bytes[..at], &key(b"secret")), None, "{at}");
        }
        // Signed, but of another form.
        let mut odd = bytes[..bytes.len() - TAG - 1].to_vec();
        let tag = hmac::sign(&key(b"secret"), &odd);
        odd.extend_from_slice(&tag.as_ref()[..TAG]);
        assert_eq!(Message::read(&odd, &key(b"secret")), None);
    }
}
