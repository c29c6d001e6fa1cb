//! A number for each of many keys, in bounded memory: what limits count in.
//!
//! Known keys are found without a lock and without an allocation. A key is 64 bits of a hash with a secret
//! ([`Digests`](super::limit_key::Digests)), so that nobody can choose which keys meet. It leads to a set of eight places, which are two lines of the
//! processor's cache. A number that is not above the *idle* one says no more than none at all, so that the
//! place of an idle key is free for another, the one idle for longest first.
//!
//! ```text
//!  key ─► set ─► its place?                       yes: that
//!                a place that is idle?            that, which is the key's from now on
//!                larger sets of places possible?  there
//!                                                 the place with the least number, which both share
//! ```
//!
//! So what is full forgets nobody: who comes shares the place of whoever is nearest to idle, with what that
//! one has counted. A flood of keys cannot free one that has used up what it had, and all keys together
//! never get more than so many places have. Who comes new during such a flood pays for it.
//!
//! Threads that take places of one set for several keys at once may count a request for the wrong key, and so
//! may one that counts while the place of its key goes to another. Nothing is ever counted for nobody.

use std::{
    iter::repeat_with,
    sync::{
        OnceLock,
        atomic::Ordering::{Acquire, Relaxed},
    },
};

use crate::sync::AtomicU64;

/// Places of a set: their keys fill one line of the cache, and their numbers another.
const WAYS: usize = 8;

/// Sets of each level. All of them are 64 bytes times two: 1 KiB at first, and 4.6 MiB in the end, for
/// 262,144 keys that are not idle. The next level comes when a set of the last is full.
const LEVELS: [usize; 5] = [8, 64, 512, 4096, 32_768];

/// Numbers by keys.
#[derive(Debug, Default)]
pub struct Places {
    levels: [OnceLock<Box<[Set]>>; LEVELS.len()],
}

/// Where the number of a key is, for as long as that is not idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    level: u8,
    way: u8,
    set: u32,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Set {
    /// 0: no key has had this place.
    keys: [AtomicU64; WAYS],
    numbers: [AtomicU64; WAYS],
}

impl Places {
    /// The place of a key. A new key begins with a number that is idle.
    pub fn find(&self, key: u64, idle: u64) -> Place {
        // 0 is that of nobody.
        let key = key.max(1);
        let mut newest = None;
        let levels = self.levels.iter().enumerate().rev();
        for (level, sets) in levels.filter_map(|(level, sets)| Some((level, sets.get()?))) {
            // In an older level only what is not idle has its place still.
            let is_newest = newest.is_none();
            newest.get_or_insert(level);
            let set = index(key, sets);
            let found = sets[set].find(key);
            let lasts = |way: &usize| is_newest || sets[set].numbers[*way].load(Relaxed) > idle;
            if let Some(way) = found.filter(lasts) {
                return Place::new(level, set, way);
            }
        }
        self.take(key, idle, newest.unwrap_or(0))
    }

    /// The number at a place. It is changed with `Release`, so that whoever sees the number sees its key.
    pub fn number(&self, place: Place) -> &AtomicU64 {
        let sets = self.level(place.level.into());
        &sets[place.set as usize].numbers[usize::from(place.way)]
    }

    /// Every key with a number that is not 0, and that number.
    pub fn each(&self, mut each: impl FnMut(u64, &AtomicU64)) {
        let sets = self.levels.iter().filter_map(OnceLock::get);
        for set in sets.flat_map(|sets| &**sets) {
            for (key, number) in set.keys.iter().zip(&set.numbers) {
                if number.load(Acquire) != 0 {
                    each(key.load(Relaxed), number);
                }
            }
        }
    }

    /// Bytes of all levels so far.
    pub fn bytes(&self) -> usize {
        let sets = self.levels.iter().filter_map(OnceLock::get);
        sets.map(|sets| size_of_val(&**sets)).sum()
    }

    /// Gives a key a place in this level, or in the next.
    fn take(&self, key: u64, idle: u64, level: usize) -> Place {
        let sets = self.level(level);
        let set = index(key, sets);
        let is_last = level + 1 == LEVELS.len();
        match sets[set].take(key, idle, is_last) {
            Some(way) => Place::new(level, set, way),
            None => self.take(key, idle, level + 1),
        }
    }

    fn level(&self, level: usize) -> &[Set] {
        self.levels[level].get_or_init(|| repeat_with(Set::default).take(LEVELS[level]).collect())
    }
}

impl Place {
    fn new(level: usize, set: usize, way: usize) -> Self {
        // All three are below the numbers of `LEVELS` and `WAYS`.
        Self {
            level: level as u8,
            way: way as u8,
            set: set as u32,
        }
    }
}

/// The set of a key.
fn index(key: u64, sets: &[Set]) -> usize {
    // The number of sets is a power of two.
    key as usize & (sets.len() - 1)
}

impl Set {
    fn find(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|it| it.load(Relaxed) == key)
    }

    /// Makes the place with the least number the key's. `None`: it is not idle, and there is to be no
    /// sharing.
    fn take(&self, key: u64, idle: u64, share: bool) -> Option<usize> {
        loop {
            // By the numbers alone, so that threads with one key take one place; and before the key is
            // looked for, as whoever has counted in a place had taken it.
            let numbers = self.numbers.each_ref().map(|it| it.load(Acquire));
            if let Some(way) = self.find(key) {
                return Some(way);
            }
            let (way, number) = (numbers.iter().enumerate()).min_by_key(|(_, number)| **number)?;
            if *number > idle && !share {
                return None;
            }
            let holder = self.keys[way].load(Relaxed);
            let taken = self.keys[way].compare_exchange(holder, key, Relaxed, Relaxed);
            if holder != key && taken.is_ok() {
                return Some(way);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{Arc, LazyLock},
    };

    use ferrix_model::{check, spawn};

    use super::*;
    use crate::filters::limit_key::Digests;

    /// A key like those of a hash, the same each time.
    fn key(nth: u64) -> u64 {
        static DIGESTS: LazyLock<Digests> = LazyLock::new(|| Digests::new(7));
        DIGESTS.of(nth)
    }

    #[test]
    fn a_hundred_thousand_keys_have_a_place_each() {
        const KEYS: u64 = 100_000;
        let places = Places::default();
        for nth in 0..KEYS {
            places
                .number(places.find(key(nth), 0))
                .store(nth + 1, Relaxed);
        }
        let own = |nth: &u64| places.number(places.find(key(*nth), 0)).load(Relaxed) == nth + 1;
        let kept = (0..KEYS).filter(own).count();
        assert!(kept > 99_500, "{kept} have their own number");
        assert!(places.bytes() < 5 << 20, "{} bytes", places.bytes());
    }

    #[test]
    fn few_keys_take_little() {
        let places = Places::default();
        for nth in 0..20 {
            places.number(places.find(key(nth), 0)).store(1, Relaxed);
        }
        assert!(places.bytes() <= 1024 + 8192);
        // Idle ones give way, however many come.
        let places = Places::default();
        for nth in 0..100_000 {
            places
                .number(places.find(key(nth), nth))
                .store(nth + 1, Relaxed);
        }
        assert_eq!(places.bytes(), 1024);
    }

    #[test]
    fn what_is_full_forgets_nobody() {
        let places = Places::default();
        let places_of = |keys: std::ops::Range<u64>, number: u64| {
            for nth in keys {
                let at = places.number(places.find(key(nth), 0));
                let before = at.load(Relaxed);
                at.store(before.max(number), Relaxed);
            }
        };
        places_of(0..100, u64::MAX);
        places_of(1000..400_000, 1);
        let limited = (0..100).filter(|nth| {
            let number = places.number(places.find(key(*nth), 0)).load(Relaxed);
            number == u64::MAX
        });
        assert_eq!(limited.count(), 100);
        // Who comes has what the place has counted.
        let shared = places.number(places.find(key(5_000_000), 0)).load(Relaxed);
        assert_eq!(shared, 1);
        assert!(places.bytes() < 5 << 20);
    }

    #[test]
    fn a_key_keeps_its_place_as_levels_come() {
        let places = Places::default();
        let mut held = Vec::new();
        for nth in 0..5000 {
            let place = places.find(key(nth), 0);
            places.number(place).store(1, Relaxed);
            held.push(place);
        }
        let kept = (0..5000).filter(|nth| places.find(key(*nth), 0) == held[*nth as usize]);
        assert_eq!(kept.count(), 5000);
        assert_eq!(
            held.iter()
                .map(|it| format!("{it:?}"))
                .collect::<HashSet<_>>()
                .len(),
            5000
        );
    }

    #[test]
    fn threads_with_one_key_take_one_place_in_any_order() {
        let orders = check(|| {
            let places = Arc::new(Places::default());
            let threads = [(); 3].map(|()| {
                let places = Arc::clone(&places);
                spawn(move || {
                    let place = places.find(key(7), 0);
                    places.number(place).fetch_add(1, Relaxed);
                    place
                })
            });
            let found = threads.map(|thread| thread.join().unwrap());
            assert!(found.iter().all(|place| *place == found[0]));
            assert_eq!(places.number(found[0]).load(Relaxed), 3);
        });
        assert!(orders > 0);
    }

    #[test]
    fn nothing_is_counted_for_nobody_in_any_order() {
        let orders = check(|| {
            let places = Arc::new(Places::default());
            let threads = [7, 8, 7, 9].map(|nth| {
                let places = Arc::clone(&places);
                spawn(move || {
                    let place = places.find(key(nth), 0);
                    places.number(place).fetch_add(1, Relaxed);
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            let sets = places.level(0).iter();
            let numbers = sets.flat_map(|set| &set.numbers);
            assert_eq!(numbers.map(|it| it.load(Relaxed)).sum::<u64>(), 4);
        });
        assert!(orders > 0);
    }
}
