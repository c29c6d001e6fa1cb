//! One writer, many readers, no lock.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    Table,
    filters::lasting::States,
    rule_set::RuleSet,
    rules::Rule,
    succession::{self, succeed},
    sync::ArcSwap,
};

/// The only way to make a table current. There is one in a process.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Table>>,
    retired: Retired,
    states: States,
}

/// Tables that requests may still read. The last owner of a table frees it, which takes
/// milliseconds where there are thousands of rules: better here than in a request.
#[derive(Clone, Debug, Default)]
struct Retired(Arc<Mutex<Vec<Arc<Table>>>>);

/// Where requests find the current table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    current: Arc<ArcSwap<Table>>,
    retired: Retired,
}

/// A publisher and the first of its readers. The table is empty and of generation 0 until the
/// first publication.
pub fn channel() -> (Publisher, Reader) {
    let current = Arc::new(ArcSwap::new(Arc::new(Table::default())));
    let publisher = Publisher {
        current,
        retired: Retired::default(),
        states: States::default(),
    };
    let reader = publisher.reader();
    (publisher, reader)
}

impl Publisher {
    /// Makes `table` current and returns its generation, one more than the last. The states of
    /// routes, services, endpoints and filters that live on move from the current table into it.
    ///
    /// Parts that `table` shares with the current one cost nothing. Derive it from
    /// [`Publisher::current`] where little changes, rather than from copies kept elsewhere: the
    /// states move into the published table, not into the copies.
    pub fn publish(&mut self, mut table: Table) -> u64 {
        let current = self.current();
        let generation = current.generation + 1;
        table.generation = generation;
        let other_rules = !Arc::ptr_eq(&table.rules, &current.rules);
        if other_rules {
            self.adopt_rules(&mut table.rules, &current.rules);
        }
        let changed = !Arc::ptr_eq(&table.services, &current.services);
        let departed = changed.then(|| Arc::make_mut(&mut table.services).adopt(&current.services));
        self.current.store(Arc::new(table));
        // Whoever is told that an endpoint is gone finds a table without it.
        if let Some(departed) = departed {
            departed.let_go();
        }
        self.retired.push(current);
        self.reclaim();
        if other_rules {
            self.states.forget_departed();
        }
        generation
    }

    /// Hands the states of the earlier rules to the rules that replace them. Nothing is done for rules
    /// that are in both sets, or that got their state when they were made.
    fn adopt_rules(&mut self, rules: &mut Arc<RuleSet>, earlier: &RuleSet) {
        let (gone, fresh) = differences(earlier.shared(), rules.shared());
        for filter in fresh.iter().flat_map(|rule| rule.filters()) {
            filter.connect(&mut self.states);
        }
        for dry_run in fresh.iter().filter_map(|rule| rule.dry_run.as_deref()) {
            self.states.connect(dry_run);
        }
        if succession::is_due(&gone, &fresh) {
            let fresh = fresh.iter().map(|rule| Rule::clone(rule)).collect();
            *rules = Arc::new(earlier.with(&gone, &succeed(&gone, fresh)));
        }
    }

    /// The current table.
    pub fn current(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Frees the tables that no request reads any more, as every publication does. Returns how
    /// many are still read.
    pub fn reclaim(&mut self) -> usize {
        drop(self.retired.take_unread());
        self.retired.len()
    }

    /// A reader of what this publishes.
    pub fn reader(&self) -> Reader {
        Reader {
            current: Arc::clone(&self.current),
            retired: self.retired.clone(),
        }
    }
}

impl Retired {
    fn tables(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Table>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, table: Arc<Table>) {
        self.tables().push(table);
    }

    fn len(&self) -> usize {
        self.tables().len()
    }

    /// Those that nobody else has.
    fn take_unread(&self) -> Vec<Arc<Table>> {
        let unread = |table: &mut Arc<Table>| Arc::strong_count(table) == 1;
        self.tables().extract_if(.., unread).collect()
    }
}

impl Reader {
    /// The current table. A request calls this once and keeps what it got.
    pub fn load(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Earlier tables that no request reads any more, for the caller to free where that disturbs
    /// nobody. Each publication does the same: this is for what was still read then.
    pub fn take_unread(&self) -> Vec<Arc<Table>> {
        self.retired.take_unread()
    }

    /// The generation of the current table: 0 before the first publication.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }
}

/// The rules that are only in the first list, and those that are only in the second. Both lists are
/// in the total order.
fn differences(
    mut before: &[Arc<Rule>],
    mut after: &[Arc<Rule>],
) -> (Vec<Arc<Rule>>, Vec<Arc<Rule>>) {
    let (mut gone, mut fresh) = (Vec::new(), Vec::new());
    while let ([one, ones @ ..], [other, others @ ..]) = (before, after) {
        if Arc::ptr_eq(one, other) {
            (before, after) = (ones, others);
            continue;
        }
        let order = one.precedence(other);
        if order.is_le() {
            gone.push(Arc::clone(one));
            before = ones;
        }
        if order.is_ge() {
            fresh.push(Arc::clone(other));
            after = others;
        }
    }
    gone.extend_from_slice(before);
    fresh.extend_from_slice(after);
    (gone, fresh)
}

#[cfg(test)]
mod tests;
