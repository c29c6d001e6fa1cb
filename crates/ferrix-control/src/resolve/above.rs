//! Filters from above a rule: those of its entry point, Gateway, listener, namespace and route, from the
//! outside in.
//!
//! The settings name some, for entry points and namespaces; others attach themselves. What is named is never
//! left out: without it requests get 500.

use std::collections::BTreeSet;

use ferrix_table::{
    filter_list::{FilterList, Level},
    ids::EntryPointIndex,
    rules::HostPattern,
};

use super::{Context, Found};
use crate::{
    attachment::Attached,
    draft::{Draft, DraftRule, Target},
    objects::{Kind, ObjectName},
    report::{Finding, Reason},
};

/// What is above the rules of a draft.
pub(super) struct Above<'c> {
    context: &'c Context<'c>,
    draft: &'c Draft,
    /// The listeners of a draft with parents.
    attached: &'c [Attached],
    /// The Filters that some rule passes, or would.
    seen: BTreeSet<ObjectName>,
    findings: Vec<Finding>,
}

/// Entry points that have the same above them.
pub(super) struct Group {
    pub(super) entry_points: Vec<EntryPointIndex>,
    /// `Err`: a Filter that the settings name cannot be had, and why.
    pub(super) lists: Result<Vec<FilterList<Found>>, String>,
}

impl<'c> Above<'c> {
    pub(super) fn new(
        context: &'c Context<'c>,
        draft: &'c Draft,
        attached: &'c [Attached],
    ) -> Self {
        Self {
            context,
            draft,
            attached,
            seen: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// The entry points of a rule for a host, by what is above them.
    pub(super) fn groups(
        &mut self,
        rule: &DraftRule,
        host: &HostPattern,
        entry_points: &[EntryPointIndex],
    ) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for entry_point in entry_points {
            let lists = self.lists(rule, host, *entry_point);
            match groups.iter_mut().find(|group| group.lists == lists) {
                Some(group) => group.entry_points.push(*entry_point),
                None => groups.push(Group {
                    entry_points: vec![*entry_point],
                    lists,
                }),
            }
        }
        groups
    }

    /// The Filters that its rules pass from above, and what there is to say of them.
    pub(super) fn finish(mut self) -> (BTreeSet<ObjectName>, Vec<Finding>) {
        for reference in self.draft.rules.iter().flat_map(DraftRule::without) {
            if !self.seen.contains(&reference.filter) {
                let message = format!("has no effect: no Filter {} is above", reference.filter);
                let field = reference.field.to_string();
                let finding = Finding::warning(Reason::NoEffect, field, message);
                self.findings.push(finding);
            }
        }
        (self.seen, self.findings)
    }

    /// What is above a rule for a host at an entry point.
    fn lists(
        &mut self,
        rule: &DraftRule,
        host: &HostPattern,
        entry_point: EntryPointIndex,
    ) -> Result<Vec<FilterList<Found>>, String> {
        let Context {
            world,
            settings,
            filters,
            ..
        } = *self.context;
        let (mut lists, mut lost) = (Vec::new(), None);
        for (filter, level) in self.filters(host, entry_point) {
            self.seen.insert(filter.clone());
            if self.is_exempt(rule, &filter) {
                continue;
            }
            match filters.above(world, settings, &filter, level) {
                Ok(list) => lists.push(list),
                Err((reason, message)) => {
                    let message = format!("the settings ask for it: {message}");
                    let finding = Finding::problem(reason, "", message.clone());
                    self.findings.push(finding);
                    lost.get_or_insert(message);
                }
            }
        }
        lost.map_or(Ok(lists), Err)
    }

    /// Each Filter once, where it is met first.
    fn filters(
        &self,
        host: &HostPattern,
        entry_point: EntryPointIndex,
    ) -> Vec<(ObjectName, Level)> {
        let Context {
            settings, filters, ..
        } = *self.context;
        let key = self.draft.key();
        // Of streams nothing is read.
        let is_stream = matches!(key.kind, Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute);
        if is_stream || !(filters.attach() || settings.filters.name_any()) {
            return Vec::new();
        }
        let mut found: Vec<(ObjectName, Level)> = Vec::new();
        let mut add = |names: &mut dyn Iterator<Item = &ObjectName>, level| {
            for name in names {
                if found.iter().all(|(known, _)| known != name) {
                    found.push((name.clone(), level));
                }
            }
        };
        if let Some(entry_point) = self.context.entry_points.get(entry_point) {
            let target = Target::EntryPoint(entry_point.name.clone());
            let named = &mut settings.filters.of_entry_point(&entry_point.name);
            add(named, Level::EntryPoint);
            add(&mut filters.attached_to(&target), Level::EntryPoint);
        }
        for (target, level) in self.parents(host, entry_point) {
            add(&mut filters.attached_to(&target), level);
        }
        let named = &mut settings.filters.of_namespace(&key.namespace);
        add(named, Level::Namespace);
        let target = Target::Namespace(key.namespace.clone());
        add(&mut filters.attached_to(&target), Level::Namespace);
        let target = Target::Route(key.clone());
        add(&mut filters.attached_to(&target), Level::Route);
        found
    }

    /// The Gateways and listeners that requests come by, from the outside in.
    fn parents(
        &self,
        host: &HostPattern,
        entry_point: EntryPointIndex,
    ) -> impl Iterator<Item = (Target, Level)> {
        let takes =
            |it: &&Attached| it.entry_points.contains(&entry_point) && it.hosts.contains(host);
        let listeners = self.attached.iter().filter(takes);
        let targets = listeners.flat_map(|it| {
            let parent = self.context.gateways.get(&it.parent);
            let gateway = parent.map(|parent| parent.gateway.clone());
            let gateway = gateway.map(|key| (Target::Parent(key, None), Level::Gateway));
            let set = Target::Parent(it.parent.clone(), None);
            let listener = Target::Parent(it.parent.clone(), Some(it.listener.clone()));
            let inner = [(set, Level::Listener), (listener, Level::Listener)];
            gateway.into_iter().chain(inner)
        });
        let targets: BTreeSet<_> = targets.map(|(target, level)| (level, target)).collect();
        targets.into_iter().map(|(level, target)| (target, level))
    }

    /// Whether a rule need not pass a Filter, as it asks.
    fn is_exempt(&mut self, rule: &DraftRule, filter: &ObjectName) -> bool {
        let Some(reference) = rule.without().find(|it| it.filter == *filter) else {
            return false;
        };
        let own = &self.draft.key().namespace;
        let known = self.context.filters.get(filter);
        let exempt = filter.namespace == *own || known.is_some_and(|it| it.is_optional());
        if !exempt {
            let message = format!(
                "Filter {filter} is neither of this namespace nor `optional`: requests of the rule \
                 pass through it all the same"
            );
            let field = reference.field.to_string();
            let finding = Finding::problem(Reason::NotPermitted, field, message);
            self.findings.push(finding);
        }
        exempt
    }
}
