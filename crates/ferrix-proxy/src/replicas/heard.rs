//! What a replica knows of the others: who was heard, and which of their messages are old.

use std::collections::HashMap;

/// Messages that come this much later than those after them are taken for old, and so lost.
const WINDOW: u64 = 128;

/// Who was not heard for so long is silent: in nanoseconds.
const SILENT: u64 = 500_000_000;

/// Who is silent for so long is forgotten. By then its messages are too old to be replayed.
const GONE: u64 = 120 * SILENT;

/// The other replicas that have been heard lately, by what they call themselves.
#[derive(Debug, Default)]
pub(super) struct Heard(HashMap<u64, Peer>);

#[derive(Debug)]
struct Peer {
    /// The highest sequence number so far.
    newest: u64,
    /// Those before it that have come, from the newest at the lowest bit on.
    seen: u128,
    /// When it was heard last, in nanoseconds of one clock.
    heard: u64,
    /// Whether it was heard in this round.
    in_round: bool,
}

impl Heard {
    /// A message has come. Returns whether it is new.
    pub(super) fn hear(&mut self, sender: u64, sequence: u64, now: u64) -> bool {
        let peer = self.0.entry(sender).or_insert(Peer {
            newest: sequence,
            seen: 0,
            heard: now,
            in_round: false,
        });
        let is_new = peer.see(sequence);
        if is_new {
            peer.heard = now;
            peer.in_round = true;
        }
        is_new
    }

    /// Ends a round, where all of the others have been heard in it. Returns whether it has ended.
    pub(super) fn end_round(&mut self, others: usize) -> bool {
        let ended = self.0.values().filter(|peer| peer.in_round).count() >= others;
        if ended {
            self.0.values_mut().for_each(|peer| peer.in_round = false);
        }
        ended
    }

    /// How many have been heard lately.
    pub(super) fn heard(&mut self, now: u64) -> usize {
        self.0
            .retain(|_, peer| now.saturating_sub(peer.heard) < GONE);
        let heard = |peer: &&Peer| now.saturating_sub(peer.heard) < SILENT;
        self.0.values().filter(heard).count()
    }
}

impl Peer {
    /// Takes note of a sequence number. Returns whether it is new (RFC 6479 has the same for IPsec).
    fn see(&mut self, sequence: u64) -> bool {
        if sequence > self.newest {
            let shift = u32::try_from(sequence - self.newest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0);
            self.newest = sequence;
        }
        let age = self.newest - sequence;
        let bit = match age < WINDOW {
            true => 1 << age,
            false => return false,
        };
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_new_once() {
        let mut peers = Heard::default();
        let cases = [
            (10, true),
            (10, false),
            (11, true),
            (13, true),
            (12, true),
            (12, false),
            (9, true),
            (140, true),
            (13, false),
            (12, false),
            (20, true),
            (1000, true),
            (140, false),
            (u64::MAX, true),
            (u64::MAX, false),
        ];
        for (sequence, is_new) in cases {
            assert_eq!(peers.hear(1, sequence, 0), is_new, "{sequence}");
        }
        assert!(peers.hear(2, 10, 0), "another has numbers of its own");
    }

    #[test]
    fn a_round_ends_when_all_others_were_heard() {
        let mut peers = Heard::default();
        assert!(peers.end_round(0), "alone");
        peers.hear(1, 1, 0);
        assert!(!peers.end_round(2));
        peers.hear(2, 1, 0);
        assert!(peers.end_round(2));
        assert!(!peers.end_round(2));
        // What is old tells nothing.
        peers.hear(1, 1, 0);
        peers.hear(2, 2, 0);
        assert!(!peers.end_round(2));
        // Another in the place of one.
        peers.hear(3, 1, 0);
        assert!(peers.end_round(2));
        assert_eq!(peers.heard(SILENT - 1), 3);
        assert!(peers.hear(3, 2, SILENT));
        assert_eq!(peers.heard(SILENT), 1);
        assert!(!peers.hear(1, 1, SILENT), "who is silent is known still");
        assert_eq!(peers.heard(SILENT + GONE), 0);
        assert!(peers.hear(1, 1, SILENT + GONE));
    }
}
