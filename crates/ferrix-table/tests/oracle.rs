//! The index answers what reading every rule in turn would.

mod support;

use ferrix_table::{
    rules::{Rule, RuleSet},
    table::Table,
};
use support::{Model, OwnedRequest, Random};

const TABLES: usize = 1_500;
const REQUESTS: usize = 150;

/// The rule that serves, by its number: the least by the order of all that match.
fn serves(models: &[Model], request: &OwnedRequest) -> Option<usize> {
    (0..models.len())
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

fn shuffled(models: &[Model], random: &mut Random) -> Vec<Rule> {
    let mut rules: Vec<Rule> = models
        .iter()
        .enumerate()
        .map(|(i, it)| it.rule(i))
        .collect();
    random.shuffle(&mut rules);
    rules
}

fn number(rule: &Rule) -> usize {
    rule.route.generation as usize
}

#[test]
fn lookup_is_a_linear_search() {
    let mut random = Random(1);
    let (mut pairs, mut hits, mut shadowed) = (0, 0, 0);
    for _ in 0..TABLES {
        let models = models(&mut random);
        let rules = RuleSet::new(shuffled(&models, &mut random));
        let losers: Vec<usize> = rules.shadowed().iter().map(|(it, _)| number(it)).collect();
        shadowed += losers.len();
        for _ in 0..REQUESTS {
            let request = OwnedRequest::random(&mut random);
            let found = rules
                .lookup(request.entry_point, &request.as_request())
                .map(number);
            let text = |number: usize| format!("{:?}", models[number].rule(number));
            let expected = serves(&models, &request);
            assert_eq!(found.map(text), expected.map(text), "{request:?}");
            pairs += 1;
            hits += usize::from(found.is_some());
            assert!(
                found.is_none_or(|number| !losers.contains(&number)),
                "shadowed: {request:?}"
            );
        }
    }
    println!("{pairs} pairs, {hits} hits, {shadowed} shadowed rules");
    assert!(pairs >= 100_000, "{pairs}");
    assert!(hits * 2 >= pairs, "{hits} of {pairs}");
    assert!(shadowed > 1_000, "{shadowed}");
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

#[test]
fn an_explanation_says_what_the_lookup_does() {
    let mut random = Random(3);
    for _ in 0..200 {
        let models = models(&mut random);
        let table = Table {
            rules: RuleSet::new(shuffled(&models, &mut random)).into(),
            ..Table::default()
        };
        for _ in 0..10 {
            let request = OwnedRequest::random(&mut random);
            let explanation = table.explain(request.entry_point, &request.as_request());
            assert_eq!(explanation.winner.map(number), serves(&models, &request));
            let expected = (table.rules.iter())
                .filter(|rule| rule.host.takes(request.as_request().host))
                .filter(|rule| Some(number(rule)) != explanation.winner.map(number));
            let others = explanation.others.iter().map(|(rule, _)| number(rule));
            assert!(others.eq(expected.map(number)), "{explanation}");
        }
    }
}
