//! Which rule serves a request, and why the others do not.

use std::fmt;

use crate::{
    Request, Table,
    ids::EntryPointIndex,
    precedence::Criterion,
    rules::Rule,
    weight::{PathRank, Specificity, Weight},
};

/// The answer for one request. Its text is for people.
#[derive(Debug)]
pub struct Explanation<'t> {
    /// The rule that serves it. `None`: 404.
    pub winner: Option<&'t Rule>,
    /// Dry runs that each would serve it instead.
    pub dry_runs: Vec<&'t Rule>,
    /// Every other rule whose hosts include the request's, the first to win first.
    pub others: Vec<(&'t Rule, Lost<'t>)>,
}

/// Why a rule does not serve a request.
#[derive(Debug)]
pub enum Lost<'t> {
    /// It is not served on the entry point of the request, but on these.
    EntryPoint(Vec<&'t str>),
    /// Its expression does not match: the first part that fails, in a sentence.
    Mismatch(String),
    /// It matches, but the winner comes first.
    Outranked {
        /// What puts the winner first.
        by: Criterion,
        /// The rule that does serve the request.
        winner: &'t Rule,
    },
}

impl Table {
    /// Explains what [`crate::rule_set::RuleSet::lookup`] answers for a request.
    pub fn explain(&self, entry_point: EntryPointIndex, request: &Request<'_>) -> Explanation<'_> {
        let winner = self.rules.lookup(entry_point, request);
        let dry_runs: Vec<_> = (self.rules)
            .dry_runs(entry_point, request, winner)
            .collect();
        let is_told = |rule: &Rule| {
            let mut told = winner.iter().chain(&dry_runs);
            told.any(|it| std::ptr::eq(rule, *it))
        };
        let others = (self.rules.iter())
            .filter(|rule| rule.host.takes(request.host))
            .filter(|rule| !is_told(rule))
            .filter_map(|rule| Some((rule, self.lost(rule, entry_point, request, winner)?)))
            .collect();
        Explanation {
            winner,
            dry_runs,
            others,
        }
    }

    fn lost<'t>(
        &'t self,
        rule: &'t Rule,
        entry_point: EntryPointIndex,
        request: &Request<'_>,
        winner: Option<&'t Rule>,
    ) -> Option<Lost<'t>> {
        if !rule.entry_points.contains(&entry_point) {
            return Some(Lost::EntryPoint(self.entry_point_names(rule).collect()));
        }
        if let Some(mismatch) = rule.matches.as_ref().and_then(|it| it.mismatch(request)) {
            return Some(Lost::Mismatch(mismatch));
        }
        // A rule that matches has lost to a rule: there is a winner.
        winner.map(|winner| Lost::Outranked {
            by: winner.criterion(rule),
            winner,
        })
    }

    /// Where a rule is served, in an order that does not tell what came and went before: by the indices of
    /// entry points of the settings, whose names hold no space, and by the names of others.
    pub(crate) fn entry_point_places(
        &self,
        rule: &Rule,
    ) -> Vec<(Option<&str>, Option<EntryPointIndex>)> {
        let place = |index: &EntryPointIndex| {
            let name = &*self.entry_points.get(*index)?.name;
            Some(match name.contains(' ') {
                true => (Some(name), None),
                false => (None, Some(*index)),
            })
        };
        let mut places: Vec<_> = rule.entry_points.iter().filter_map(place).collect();
        places.sort_unstable();
        places
    }

    /// The names of the entry points that a rule is served on.
    pub(crate) fn entry_point_names(&self, rule: &Rule) -> impl Iterator<Item = &str> {
        let entry_point = |index: &EntryPointIndex| self.entry_points.get(*index);
        let found = rule.entry_points.iter().filter_map(entry_point);
        let mut names: Vec<&str> = found.map(|entry_point| &*entry_point.name).collect();
        // Names of settings hold no space. Indices of listeners tell what came and went before.
        names.sort_by_key(|name| name.contains(' ').then_some(*name));
        names.into_iter()
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.winner {
            Some(winner) => writeln!(f, "served by {}", Described(winner))?,
            None => writeln!(f, "served by no rule: 404")?,
        }
        for rule in &self.dry_runs {
            writeln!(f, "would be served by {}", Described(rule))?;
        }
        for (rule, lost) in &self.others {
            writeln!(f, "not by {}", Described(rule))?;
            match lost {
                Lost::Outranked { by, winner } => {
                    let reason = Reason {
                        by: *by,
                        winner,
                        loser: rule,
                    };
                    writeln!(f, "  it matches, but {winner} comes first: {reason}")?;
                }
                lost => writeln!(f, "  {lost}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::EntryPoint(names) if names.is_empty() => {
                f.write_str("it is served on no entry point")
            }
            Lost::EntryPoint(names) => write!(f, "it is served only on {}", names.join(", ")),
            Lost::Mismatch(sentence) => f.write_str(sentence),
            Lost::Outranked { by, winner } => {
                write!(f, "it matches, but {winner} comes first by {by}")
            }
        }
    }
}

/// A rule with all that decides whether it matches.
struct Described<'t>(&'t Rule);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Described(rule) = self;
        let text = rule.text().unwrap_or("every request");
        write!(f, "{rule}: {text} of {}, {}", rule.host, rule.weight)?;
        match rule.is_dry_run() {
            true => f.write_str(", as a dry run"),
            false => Ok(()),
        }
    }
}

/// Why the winner comes first, with the values that were compared.
struct Reason<'t> {
    by: Criterion,
    winner: &'t Rule,
    loser: &'t Rule,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { by, winner, loser } = self;
        let equal = match winner.weight {
            Weight::Priority(_) => "priorities",
            Weight::Specificity(_) => "specificities",
        };
        match by {
            Criterion::Host => {
                let (first, second) = (&winner.host, &loser.host);
                write!(
                    f,
                    "its host ({first}) is more specific than this one's ({second})"
                )
            }
            Criterion::GivenPriority => {
                f.write_str("it has a priority, and this one goes by its conditions")
            }
            Criterion::Priority => {
                let number = |rule: &Rule| rule.weight.priority().unwrap_or_default();
                let (first, second) = (number(winner), number(loser));
                write!(f, "its priority, {first}, is higher than {second}")
            }
            Criterion::Path => {
                let (first, second) = (path(winner), path(loser));
                write!(
                    f,
                    "its path ({first}) is more specific than this one's ({second})"
                )
            }
            Criterion::Method => {
                f.write_str("the paths are as specific and only it names a method")
            }
            Criterion::Headers => f.write_str("it asks for more headers"),
            Criterion::Query => f.write_str("it asks for more query parameters"),
            Criterion::Age if loser.route.created.is_none() => {
                write!(f, "the {equal} are equal and only its route has an age")
            }
            Criterion::Age => write!(f, "the {equal} are equal and its route is older"),
            Criterion::Name => write!(
                f,
                "the {equal} and ages are equal and its name comes first in the alphabet",
            ),
            Criterion::Position => write!(
                f,
                "the {equal} are equal and it stands earlier in the same route"
            ),
        }
    }
}

fn path(rule: &Rule) -> PathRank {
    match rule.weight {
        Weight::Specificity(Specificity { path, .. }) => path,
        Weight::Priority(_) => PathRank::Prefix(0),
    }
}

#[cfg(test)]
mod tests;
