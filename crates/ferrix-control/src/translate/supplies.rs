//! What filters have from ConfigMaps and URLs: who has what.

use std::{collections::BTreeSet, sync::Arc};

use super::first_key;
use crate::{objects::Key, supply::Supply};

/// The routes and the Filters that need each supply, whether there is any or not.
#[derive(Debug, Default)]
pub(super) struct SupplyUsers(BTreeSet<(Supply, Key)>);

impl SupplyUsers {
    /// Puts what an object needs in place of what it needed before.
    pub(super) fn replace(
        &mut self,
        user: &Key,
        before: impl IntoIterator<Item = Supply>,
        after: impl IntoIterator<Item = Supply>,
    ) {
        for supply in before {
            self.0.remove(&(supply, user.clone()));
        }
        let after = after.into_iter();
        self.0.extend(after.map(|supply| (supply, user.clone())));
    }

    /// Who needs a supply.
    pub(super) fn of<'u>(&'u self, supply: &'u Supply) -> impl Iterator<Item = &'u Key> {
        let users = self.0.range((supply.clone(), first_key())..);
        let users = users.take_while(move |(it, _)| it == supply);
        users.map(|(_, user)| user)
    }

    /// Every URL, in order, each once.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut last = None;
        let urls = self.0.iter().filter_map(|(supply, _)| supply.url());
        urls.filter(move |url| last.replace(*url) != Some(*url))
    }
}
