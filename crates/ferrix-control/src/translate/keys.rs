//! Keys of issuers that are in no Secret: who has which.

use std::{collections::BTreeSet, sync::Arc};

use super::first_key;
use crate::{issuer_keys::KeyPlace, objects::Key};

/// The routes and the Filters that have keys from each place, whether there are any or not.
#[derive(Debug, Default)]
pub(super) struct KeyUsers(BTreeSet<(KeyPlace, Key)>);

impl KeyUsers {
    /// Puts the places that an object has keys from in place of those before.
    pub(super) fn replace(
        &mut self,
        user: &Key,
        before: impl IntoIterator<Item = KeyPlace>,
        after: impl IntoIterator<Item = KeyPlace>,
    ) {
        for place in before {
            self.0.remove(&(place, user.clone()));
        }
        let after = after.into_iter();
        self.0.extend(after.map(|place| (place, user.clone())));
    }

    /// Who has keys from a place.
    pub(super) fn of<'u>(&'u self, place: &'u KeyPlace) -> impl Iterator<Item = &'u Key> {
        let users = self.0.range((place.clone(), first_key())..);
        let users = users.take_while(move |(it, _)| it == place);
        users.map(|(_, user)| user)
    }

    /// Every URL, in order, each once.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut last = None;
        let urls = self.0.iter().filter_map(|(place, _)| place.url());
        urls.filter(move |url| last.replace(*url) != Some(*url))
    }
}
