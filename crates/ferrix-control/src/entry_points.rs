//! Where an object is served.

use std::sync::Arc;

use ferrix_table::{entry_points as table, ids::EntryPointIndex};

use crate::{
    draft::{Draft, EntryPointNames},
    report::{Finding, Reason},
    settings::Settings,
};

/// Entry points that serve an object.
#[derive(Debug, Default)]
pub(crate) struct EntryPoints {
    pub(crate) plain: Vec<EntryPointIndex>,
    pub(crate) secure: Vec<EntryPointIndex>,
    /// Whether one was named that cannot serve it.
    pub(crate) left_out: bool,
}

impl EntryPoints {
    pub(crate) fn all(&self) -> Box<[EntryPointIndex]> {
        let mut all = [&*self.plain, &*self.secure].concat();
        all.sort_unstable();
        all.into()
    }
}

/// The entry points that serve a draft. `has_default_certificate`: secure ones have something to
/// present without any route.
pub(crate) fn choose(
    settings: &Settings,
    all: &table::EntryPoints,
    has_default_certificate: bool,
    draft: &Draft,
    findings: &mut Vec<Finding>,
) -> EntryPoints {
    let mut chosen = EntryPoints::default();
    let indices = || of_settings(settings, all);
    let tls = draft.wants_tls();
    if let EntryPointNames::Parents(_)
    | EntryPointNames::Targets(_)
    | EntryPointNames::Services(_) = &draft.entry_points
    {
        return chosen;
    }
    let EntryPointNames::Named(named) = &draft.entry_points else {
        let is_for_all = draft.entry_points == EntryPointNames::All;
        let fits = |secure: bool| match (is_for_all, secure) {
            (false, secure) => secure == tls,
            (true, false) => true,
            (true, true) => tls || has_default_certificate,
        };
        for (index, entry_point) in indices().filter(|(_, it)| fits(it.is_secure())) {
            match entry_point.is_secure() {
                true => chosen.secure.push(index),
                false => chosen.plain.push(index),
            }
        }
        if chosen.plain.is_empty() && chosen.secure.is_empty() {
            chosen.left_out = true;
            let (with, kind) = match tls {
                true => ("with `tls`", "secure"),
                false => ("without `tls`", "plain"),
            };
            let message = format!(
                "a route {with} is for {kind} entry points, and the settings have none; name the \
                 entry points that shall serve it"
            );
            findings.push(Finding::problem(Reason::NoEntryPoint, "spec", message));
        }
        return chosen;
    };
    for (field, name) in named.iter() {
        let Some((index, entry_point)) = indices().find(|(_, it)| *it.name == **name) else {
            chosen.left_out = true;
            let known: Vec<_> = settings.entry_points.iter().map(|it| &*it.name).collect();
            let message = format!(
                "there is no entry point `{name}`; there is {}",
                list(&known)
            );
            let reason = Reason::UnknownEntryPoint;
            findings.push(Finding::problem(reason, field.to_string(), message));
            continue;
        };
        if !entry_point.is_secure() {
            chosen.plain.push(index);
        } else if tls || has_default_certificate {
            chosen.secure.push(index);
        } else {
            chosen.left_out = true;
            let message = format!(
                "entry point `{name}` is secure, and there is no certificate to present: set \
                 `tls`, or a default certificate in the settings"
            );
            let reason = Reason::NoCertificate;
            findings.push(Finding::problem(reason, field.to_string(), message));
        }
    }
    for indices in [&mut chosen.plain, &mut chosen.secure] {
        indices.sort_unstable();
        indices.dedup();
    }
    chosen
}

/// Those of the settings, with their indices in the table.
fn of_settings<'s>(
    settings: &'s Settings,
    all: &table::EntryPoints,
) -> impl Iterator<Item = (EntryPointIndex, &'s table::EntryPoint)> {
    let named = settings.entry_points.iter();
    named.filter_map(|it| Some((all.find(&it.name)?, it)))
}

/// All that there are to be: those of the settings, then those of `listeners`. Shared with the current
/// ones where nothing differs.
pub(crate) fn followed_by<'l>(
    current: &Arc<table::EntryPoints>,
    settings: &Settings,
    listeners: impl Iterator<Item = &'l table::EntryPoint>,
) -> Arc<table::EntryPoints> {
    let mut wanted = settings.entry_points.clone();
    wanted.extend(listeners.cloned());
    let known = current.iter().count();
    let is_known = |it: &table::EntryPoint| {
        let index = current.find(&it.name);
        index
            .and_then(|index| current.get(index))
            .is_some_and(|known| **known == *it)
    };
    match known == wanted.len() && wanted.iter().all(is_known) {
        true => Arc::clone(current),
        false => Arc::new(current.followed_by(&wanted)),
    }
}

/// Whether a draft is meant for a secure entry point where it has nothing to present but the default
/// certificate.
pub(crate) fn need_default_certificate(settings: &Settings, draft: &Draft) -> bool {
    let EntryPointNames::Named(named) = &draft.entry_points else {
        return false;
    };
    let is_secure = |name: &str| {
        let mut all = settings.entry_points.iter();
        all.any(|it| it.is_secure() && *it.name == *name)
    };
    !draft.wants_tls() && named.iter().any(|(_, name)| is_secure(name))
}

/// The names of entry points: those of the settings in their order, then those of listeners.
pub(crate) fn each_name<'t>(
    all: &'t table::EntryPoints,
    indices: &[EntryPointIndex],
) -> impl Iterator<Item = &'t str> {
    let found = indices.iter().filter_map(|index| all.get(*index));
    let mut names: Vec<&str> = found.map(|it| &*it.name).collect();
    // Names of settings hold no space. Indices of listeners tell what came and went before.
    names.sort_by_key(|name| name.contains(' ').then_some(*name));
    names.into_iter()
}

/// `web` and `websecure`, as people write it.
pub(crate) fn names(all: &table::EntryPoints, indices: &[EntryPointIndex]) -> String {
    let names: Vec<_> = each_name(all, indices).collect();
    list(&names)
}

/// `a`, `b` and `c`.
pub(crate) fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match &*quoted {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
