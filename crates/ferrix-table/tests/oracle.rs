//! The index answers what reading every rule in turn would, however the set came about.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ferrix_table::{
    filters::lasting::{FilterId, Lasting},
    overlap::{Capture, Overlaps},
    rule_set::RuleSet,
    rules::Rule,
    shadow::Shadows,
    table::Table,
};
use support::{Model, OwnedRequest, Random};

const TABLES: usize = 1_500;
const REQUESTS: usize = 150;

/// The rule that serves, by its number: the least by the order of all that are there and match.
fn serves(models: &[Model], present: &[bool], request: &OwnedRequest) -> Option<usize> {
    (0..models.len())
        .filter(|number| present[*number])
        .filter(|number| models[*number].takes(request.entry_point, &request.as_request()))
        .min_by_key(|number| models[*number].key())
}

fn models(random: &mut Random) -> Vec<Model> {
    let count = random.pick(&[0, 2, 10, 30, 60, 60]);
    let mut models: Vec<Model> = Vec::new();
    while models.len() < count {
        // Two rules of one place would have no order but that of their hosts and texts.
        let model = Model::random(random);
        if models.iter().all(|other| model.key() != other.key()) {
            models.push(model);
        }
    }
    models
}

fn rules(models: &[Model]) -> Vec<Arc<Rule>> {
    let models = models.iter().enumerate();
    models.map(|(i, it)| Arc::new(it.rule(i))).collect()
}

fn shuffled(models: &[Model], random: &mut Random) -> Vec<Rule> {
    let models = models.iter().enumerate();
    let mut rules: Vec<Rule> = models.map(|(i, it)| it.rule(i)).collect();
    random.shuffle(&mut rules);
    rules
}

fn number(rule: &Rule) -> usize {
    rule.route.generation as usize
}

/// What was asked, and what came of it.
#[derive(Debug, Default)]
struct Tally {
    pairs: usize,
    hits: usize,
    shadowed: usize,
}

impl Tally {
    /// Compares look-ups with the linear search over these models of those that there are.
    fn compare(
        &mut self,
        rules: &RuleSet,
        losers: &[usize],
        models: &[Model],
        present: &[bool],
        (requests, random): (usize, &mut Random),
    ) {
        self.shadowed += losers.len();
        for _ in 0..requests {
            let request = OwnedRequest::random(random);
            let found = rules
                .lookup(request.entry_point, &request.as_request())
                .map(number);
            let text = |number: usize| format!("{:?}", models[number].rule(number));
            let expected = serves(models, present, &request);
            assert_eq!(found.map(text), expected.map(text), "{request:?}");
            self.pairs += 1;
            self.hits += usize::from(found.is_some());
            assert!(
                found.is_none_or(|number| !losers.contains(&number)),
                "shadowed: {request:?}"
            );
        }
    }
}

#[test]
fn lookup_is_a_linear_search() {
    let mut random = Random(1);
    let mut tally = Tally::default();
    for _ in 0..TABLES {
        let models = models(&mut random);
        let rules = RuleSet::new(shuffled(&models, &mut random));
        let verdicts = Shadows::default().replace(&[], rules.shared());
        let losers: Vec<usize> = (verdicts.iter())
            .filter(|(_, verdict)| verdict.shadowed.is_some())
            .map(|(loser, _)| number(loser))
            .collect();
        let all = vec![true; models.len()];
        tally.compare(&rules, &losers, &models, &all, (REQUESTS, &mut random));
    }
    println!("{tally:?}");
    assert!(tally.pairs >= 100_000, "{tally:?}");
    assert!(tally.hits * 2 >= tally.pairs, "{tally:?}");
    assert!(tally.shadowed > 1_000, "{tally:?}");
}

/// What each route is told of its captures.
fn told(overlaps: &Overlaps, rules: &RuleSet) -> BTreeMap<String, Vec<String>> {
    let text = |capture: &Capture| {
        let Capture {
            host,
            winner,
            victim,
            certain,
            entry_points,
        } = capture;
        let (winner, victim) = (number(winner), number(victim));
        format!("{host}: {winner} {victim} {certain} {entry_points:?}")
    };
    let routes = rules.iter().map(|rule| {
        let captures = overlaps.of(&rule.route.key).map(text);
        (rule.route.to_string(), captures.collect::<Vec<_>>())
    });
    routes
        .filter(|(_, captures)| !captures.is_empty())
        .collect()
}

/// Wherever a request shows that a rule takes it from one of another namespace, that is known, and what
/// is known is so where requests can show it.
#[test]
fn captures_are_what_requests_show() {
    let mut random = Random(5);
    let (mut shown, mut known, mut exempt) = (0, 0, 0);
    for _ in 0..TABLES {
        // So few that no bound is met.
        let mut models = models(&mut random);
        models.truncate(5);
        let set = RuleSet::new(shuffled(&models, &mut random));
        let mut overlaps = Overlaps::default();
        let routes = overlaps.follow(&set, &[], set.shared());
        let captures: Vec<&Capture> = routes.iter().flat_map(|it| overlaps.of(it)).collect();
        known += captures.len();
        for capture in &captures {
            let (winner, victim) = (number(&capture.winner), number(&capture.victim));
            assert!(models[winner].key() < models[victim].key());
            assert_ne!(models[winner].namespace(), models[victim].namespace());
        }
        for _ in 0..REQUESTS {
            let request = OwnedRequest::random(&mut random);
            let takes =
                |number: &usize| models[*number].takes(request.entry_point, &request.as_request());
            let mut takers: Vec<usize> = (0..models.len()).filter(takes).collect();
            takers.sort_by_key(|number| models[*number].key());
            let Some((winner, others)) = takers.split_first() else {
                continue;
            };
            let foreign = |it: &&usize| models[**it].namespace() != models[*winner].namespace();
            for victim in others.iter().filter(foreign) {
                let noted = captures.iter().any(|it| {
                    (number(&it.winner), number(&it.victim)) == (*winner, *victim)
                        && it.host.takes(request.as_request().host)
                        && it.entry_points.contains(&request.entry_point)
                });
                // What is for any host gets what others leave.
                let left_over = models[*victim].is_for_any_host();
                assert!(
                    noted || left_over,
                    "{:?} takes {request:?} from {:?}",
                    models[*winner].rule(*winner),
                    models[*victim].rule(*victim)
                );
                shown += usize::from(noted);
                exempt += usize::from(!noted);
            }
        }
    }
    println!("{shown} shown, {exempt} exempt, {known} known");
    assert!(shown > 2_000 && known > 500, "{shown} {known}");
}

/// Sets and verdicts that followed thousands of changes are those that are made at once, and the
/// sets that they were derived from are as they were.
#[test]
fn derived_sets_are_like_new_ones() {
    let mut random = Random(4);
    let mut tally = Tally::default();
    let (mut steps, mut captures_seen) = (0, 0);
    for _ in 0..100 {
        let models = models(&mut random);
        let all = rules(&models);
        let mut present = vec![false; models.len()];
        let mut set = RuleSet::default();
        let mut shadows = Shadows::default();
        let mut overlaps = Overlaps::default();
        let mut verdicts = vec![String::new(); models.len()];
        for _ in 0..40 {
            let mut edits = |count: usize, there: bool| {
                let edits = (0..count).map(|_| random.below(models.len().max(1)));
                let edits = edits.filter(|it| present.get(*it) == Some(&there));
                let mut edits: Vec<usize> = edits.collect();
                edits.sort();
                edits.dedup();
                edits
            };
            let (gone, fresh) = (edits(3, true), edits(6, false));
            let arcs = |numbers: &[usize]| -> Vec<_> {
                numbers.iter().map(|it| Arc::clone(&all[*it])).collect()
            };
            let before = (Arc::new(set), present.clone());
            // A rule is known by its place, not by its address.
            let copies: Vec<_> = (arcs(&gone).iter())
                .map(|rule| Arc::new(Rule::clone(rule)))
                .collect();
            set = before.0.with(&copies, &arcs(&fresh));
            let captures = told(&overlaps, &before.0);
            let routes = overlaps.follow(&set, &arcs(&gone), &arcs(&fresh));
            let changed = shadows.replace(&arcs(&gone), &arcs(&fresh));
            for number in &gone {
                present[*number] = false;
                verdicts[*number].clear();
            }
            for number in &fresh {
                present[*number] = true;
            }
            for (rule, verdict) in changed {
                let verdict = format!("{verdict:?}");
                assert_ne!(verdicts[number(&rule)], verdict, "told again");
                verdicts[number(&rule)] = verdict;
            }
            let whole: Vec<_> = (0..models.len()).filter(|it| present[*it]).collect();
            let fresh = RuleSet::default().with(&[], &arcs(&whole));
            assert!(set.iter().map(number).eq(fresh.iter().map(number)));
            let mut anew = Overlaps::default();
            anew.follow(&fresh, &[], fresh.shared());
            let (followed, expected) = (told(&overlaps, &set), told(&anew, &fresh));
            assert_eq!(followed, expected);
            let all: BTreeSet<_> = captures.keys().chain(followed.keys()).collect();
            let differing = all
                .into_iter()
                .filter(|it| captures.get(*it) != followed.get(*it));
            let routes = routes.iter().map(ToString::to_string);
            assert!(differing.eq(routes.collect::<BTreeSet<_>>().iter()));
            captures_seen += followed.len();
            let mut expected = vec![String::new(); models.len()];
            for (rule, verdict) in Shadows::default().replace(&[], fresh.shared()) {
                expected[number(&rule)] = format!("{verdict:?}");
            }
            let none = format!("{:?}", ferrix_table::shadow::Verdict::default());
            let told = verdicts.iter().map(|it| it.replace(&none, ""));
            assert!(told.eq(expected.iter().cloned()));
            for (set, present) in [(&*before.0, &before.1), (&set, &present)] {
                tally.compare(set, &[], &models, present, (20, &mut random));
            }
            steps += 1;
        }
    }
    println!("{tally:?} in {steps} steps, {captures_seen} routes with captures");
    assert!(captures_seen > 1_000, "{captures_seen}");
    assert!(steps >= 2_000 && tally.pairs >= 100_000, "{tally:?}");
    assert!(tally.hits * 4 >= tally.pairs, "{tally:?}");
}

/// Dry runs change nothing about who serves what and who loses to whom, and are counted for the requests that
/// each would serve among the rules that do.
#[test]
fn dry_runs_are_counted_for_what_they_would_serve() {
    let mut random = Random(7);
    let (mut requests, mut counted, mut after_none) = (0, 0, 0);
    for _ in 0..300 {
        let models = models(&mut random);
        let serving: Vec<bool> = models.iter().map(|_| random.below(4) > 0).collect();
        let live = rules(&models);
        let dry = |rule: &Arc<Rule>| {
            let id = FilterId {
                object: rule.route.key.clone(),
                place: "rules[0]".into(),
            };
            Arc::new(Rule {
                dry_run: Some(Box::new(Lasting::new(id))),
                ..Rule::clone(rule)
            })
        };
        let all: Vec<Arc<Rule>> = (live.iter().zip(&serving))
            .map(|(rule, serves)| match serves {
                true => Arc::clone(rule),
                false => dry(rule),
            })
            .collect();
        // Rules that served begin to be dry runs, and the other way round.
        let before: Vec<_> = live.iter().step_by(2).cloned().collect();
        let set = RuleSet::default().with(&[], &before).with(&before, &all);
        let others: Vec<_> = all.iter().map(dry).collect();
        let set = set.with(&all, &others).with(&others, &all);
        let only_live: Vec<_> = set.iter().filter(|it| !it.is_dry_run()).cloned().collect();
        let only_live = RuleSet::new(only_live);
        let losers = |set: &RuleSet| {
            let verdicts = Shadows::default().replace(&[], set.shared());
            let losers = verdicts.iter().map(|(rule, _)| number(rule));
            losers.collect::<BTreeSet<_>>()
        };
        assert_eq!(losers(&set), losers(&only_live));
        let captures = |set: &RuleSet| {
            let mut overlaps = Overlaps::default();
            overlaps.follow(set, &[], set.shared());
            told(&overlaps, set)
        };
        assert_eq!(captures(&set), captures(&only_live));
        for _ in 0..REQUESTS {
            let request = OwnedRequest::random(&mut random);
            let (entry_point, asked) = (request.entry_point, request.as_request());
            let winner = set.lookup(entry_point, &asked);
            assert_eq!(winner.map(number), serves(&models, &serving, &request));
            let would_serve = |it: &usize| {
                let mut with_it = serving.clone();
                with_it[*it] = true;
                serves(&models, &with_it, &request) == Some(*it)
            };
            let mut expected: Vec<usize> = (0..models.len())
                .filter(|it| !serving[*it])
                .filter(would_serve)
                .collect();
            expected.sort_by_key(|it| models[*it].key());
            let found: Vec<_> = set
                .dry_runs(entry_point, &asked, winner)
                .map(number)
                .collect();
            assert_eq!(found, expected, "{request:?}");
            requests += 1;
            counted += usize::from(!found.is_empty());
            after_none += usize::from(!found.is_empty() && winner.is_none());
        }
    }
    println!("{requests} requests, {counted} counted, {after_none} that nobody serves");
    assert!(
        counted > 2_000 && after_none > 100,
        "{counted} {after_none}"
    );
}

#[test]
fn any_permutation_gives_the_same_set() {
    let mut random = Random(2);
    for _ in 0..100 {
        let models = models(&mut random);
        let first = RuleSet::new(shuffled(&models, &mut random));
        let second = RuleSet::new(shuffled(&models, &mut random));
        let numbers = |rules: &RuleSet| rules.iter().map(number).collect::<Vec<_>>();
        assert_eq!(numbers(&first), numbers(&second));
    }
}

/// Of any two rules one comes first, as the contract says, and what comes before what comes before
/// a rule does so itself.
#[test]
fn the_order_is_total() {
    let mut random = Random(6);
    let (mut triples, mut mixed, mut equal) = (0, 0, 0);
    for _ in 0..20_000 {
        let models: [Model; 3] = std::array::from_fn(|_| Model::random(&mut random));
        let rules = [0, 1, 2].map(|number| models[number].rule(number));
        for one in 0..3 {
            for other in 0..3 {
                let order = rules[one].precedence(&rules[other]);
                assert_eq!(order, rules[other].precedence(&rules[one]).reverse());
                assert!(one != other || order.is_eq());
                let contract = models[one].key().cmp(&models[other].key());
                // Rules of one place are told apart by what is left of them.
                assert_eq!(
                    contract.then(order),
                    order,
                    "{:?} {:?}",
                    rules[one],
                    rules[other]
                );
                equal += usize::from(one != other && contract.is_eq());
                mixed += usize::from(models[one].has_priority() != models[other].has_priority());
                for last in &rules {
                    let before = order.is_le() && rules[other].precedence(last).is_le();
                    assert!(!before || rules[one].precedence(last).is_le());
                    triples += usize::from(before);
                }
            }
        }
    }
    println!("{triples} triples, {mixed} pairs of both weights, {equal} of one place");
    assert!(
        triples > 100_000 && mixed > 50_000 && equal > 10,
        "{triples} {mixed} {equal}"
    );
}

#[test]
fn an_explanation_says_what_the_lookup_does() {
    let mut random = Random(3);
    for _ in 0..200 {
        let models = models(&mut random);
        let table = Table {
            rules: RuleSet::new(shuffled(&models, &mut random)).into(),
            ..Table::default()
        };
        let all = vec![true; models.len()];
        for _ in 0..10 {
            let request = OwnedRequest::random(&mut random);
            let explanation = table.explain(request.entry_point, &request.as_request());
            assert_eq!(
                explanation.winner.map(number),
                serves(&models, &all, &request)
            );
            let expected = (table.rules.iter())
                .filter(|rule| rule.host.takes(request.as_request().host))
                .filter(|rule| Some(number(rule)) != explanation.winner.map(number));
            let others = explanation.others.iter().map(|(rule, _)| number(rule));
            assert!(others.eq(expected.map(number)), "{explanation}");
        }
    }
}
