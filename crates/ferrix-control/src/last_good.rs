//! Which objects were edited badly, and their last good versions as far as others have kept them.
//!
//! The world knows the versions that it has seen itself. A version that was good before the program
//! began is known to those that ran then, and they keep it for those that begin later. What was kept
//! is taken for the last good version only of the very object that is bad now, and only if it is older
//! than the bad version; whether it is good is judged anew.

use std::{collections::BTreeMap, sync::Arc};

use crate::{draft::Draft, objects::Key};

/// The newest version of an object, which is bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadVersion {
    /// `metadata.uid`: an object that was deleted and made anew has another.
    uid: Box<str>,
    generation: i64,
}

/// Which objects were edited badly, and what was kept of good versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastGood {
    bad: BTreeMap<Key, BadVersion>,
    /// By object and `metadata.uid`.
    kept: BTreeMap<(Key, Box<str>), Kept>,
}

/// A version that was kept.
#[derive(Clone, Debug)]
struct Kept {
    draft: Arc<Draft>,
    /// Nobody keeps it any more, and yet it may serve: it goes when the object is good again, or gone.
    discarded: bool,
}

impl BadVersion {
    /// `None` for an object that nobody could keep a version of, such as one of a file.
    pub(crate) fn new(uid: Option<&str>, generation: Option<i64>) -> Option<Self> {
        let uid = uid?.into();
        let generation = generation?;
        Some(Self { uid, generation })
    }
}

impl LastGood {
    /// Takes note of whether the newest version of an object is bad.
    pub(crate) fn see(&mut self, key: &Key, bad: Option<BadVersion>) {
        match bad {
            Some(bad) => drop(self.bad.insert(key.clone(), bad)),
            None => {
                self.bad.remove(key);
                self.forget_discarded(key);
            }
        }
    }

    fn forget_discarded(&mut self, key: &Key) {
        let first = (key.clone(), Box::default());
        let of_object = self
            .kept
            .range(first..)
            .take_while(|((it, _), _)| it == key);
        let discarded = of_object.filter(|(_, kept)| kept.discarded);
        let discarded: Vec<_> = discarded.map(|(version, _)| version.clone()).collect();
        for version in discarded {
            self.kept.remove(&version);
        }
    }

    /// Takes a version that was kept, if it is good, and none stands in for the newest already that this
    /// one could not.
    pub(crate) fn keep(&mut self, uid: &str, draft: Draft) {
        let key = draft.key().clone();
        let is_older = |bad: &BadVersion| draft.generation() < Some(bad.generation);
        let stands_in = self
            .bad
            .get(&key)
            .is_none_or(|bad| *bad.uid != *uid || is_older(bad));
        if draft.is_good() && (stands_in || self.of(&key).is_none()) {
            let (draft, discarded) = (Arc::new(draft), false);
            self.kept
                .insert((key, uid.into()), Kept { draft, discarded });
        }
    }

    /// A version is not kept any more. Of an object that is bad it goes on.
    pub(crate) fn discard(&mut self, key: Key, uid: Box<str>) {
        let is_bad = self.bad.contains_key(&key);
        let version = (key, uid);
        match self.kept.get_mut(&version).filter(|_| is_bad) {
            Some(kept) => kept.discarded = true,
            None => drop(self.kept.remove(&version)),
        }
    }

    /// Whether a version of this generation was taken.
    pub(crate) fn has(&self, key: &Key, uid: &str, generation: Option<i64>) -> bool {
        let kept = self.kept.get(&(key.clone(), uid.into()));
        kept.is_some_and(|kept| kept.draft.generation() == generation)
    }

    /// The version that was kept for an object, if it can stand in for the newest.
    pub(crate) fn of(&self, key: &Key) -> Option<&Arc<Draft>> {
        let bad = self.bad.get(key)?;
        let kept = self.kept.get(&(key.clone(), bad.uid.clone()))?;
        let kept = &kept.draft;
        let is_older = kept.generation().is_some_and(|it| it < bad.generation);
        is_older.then_some(kept)
    }

    /// Every object that is bad, with its `metadata.uid`.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.bad.iter().map(|(key, bad)| (key, &*bad.uid))
    }
}
