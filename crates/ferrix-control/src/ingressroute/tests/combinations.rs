//! Whatever is wrong with a route, nothing of it hides the rest, and nothing is said twice.

use serde_json::{Map, Value, json};

use super::*;

/// Something that can be wrong with a route, or with a rule of it.
struct Mistake {
    /// The field, in a rule from there on.
    field: &'static str,
    /// What is written there; `None`: the field is left out.
    written: Option<Value>,
    /// The field that a file is refused for, and what is said of it.
    in_file: (&'static str, &'static str),
    /// The same from the API server, which has checked the schema, perhaps another one.
    from_api: Option<(&'static str, &'static str)>,
}

fn mistake(
    field: &'static str,
    written: impl Into<Option<Value>>,
    message: &'static str,
) -> Mistake {
    Mistake {
        field,
        written: written.into(),
        in_file: (field, message),
        from_api: None,
    }
}

impl Mistake {
    /// It is found whoever had the route before.
    fn always(self) -> Self {
        let from_api = Some(self.in_file);
        Self { from_api, ..self }
    }

    /// The API server's copy has this wrong with it.
    fn of_the_api(self, field: &'static str, message: &'static str) -> Self {
        let from_api = Some((field, message));
        Self { from_api, ..self }
    }

    /// It is found in another field than the one that is written.
    fn told_of(self, field: &'static str) -> Self {
        let in_file = (field, self.in_file.1);
        Self { in_file, ..self }
    }
}

fn mistakes_of_routes() -> Vec<Mistake> {
    vec![
        mistake(
            "spec.route.host",
            json!("http://x"),
            "`http://x` is no host",
        )
        .always(),
        mistake("spec.route.host", json!(5), "expected a text, found `5`")
            .of_the_api("spec.route.host", "invalid type"),
        mistake("spec.route.hosts", json!(["a"]), "unknown field"),
        mistake(
            "spec.entrypoint",
            json!("no name"),
            "expected letters, digits",
        ),
        mistake(
            "spec.entrypoint",
            json!(["web"]),
            "expected a text, found a list",
        )
        .of_the_api("spec.entrypoint", "invalid type"),
        mistake("spec.tls", json!("My_Secret"), "expected a-z"),
        mistake("spec.tsl", json!("x"), "unknown field"),
        mistake("spec.ingressClassName", json!(""), "must not be empty"),
        mistake("metadata.label", json!({"a": "b"}), "unknown field"),
        mistake("metadata.labels", json!(7), "invalid type").always(),
    ]
}

fn mistakes_of_rules() -> Vec<Mistake> {
    vec![
        mistake("matches", json!("PathPrefx(`/a`)"), "PathPrefx").always(),
        mistake("matches", json!(""), "must not be empty").of_the_api("matches", ""),
        mistake("matches", json!(7), "expected a text, found `7`")
            .of_the_api("matches", "invalid type"),
        mistake("priority", json!("high"), "expected a whole number")
            .of_the_api("priority", "invalid type"),
        mistake("priority", json!(u64::MAX), "invalid value").always(),
        mistake("match", json!("Path(`/a`)"), "unknown field"),
        mistake("service", None, "expected `service` (one)")
            .told_of("")
            .of_the_api("", "expected"),
        mistake("service", json!("api"), "expected a mapping, found `api`")
            .of_the_api("service", "invalid type"),
        mistake("services", json!([{"name": "b", "port": 80}]), "not both")
            .told_of("")
            .of_the_api("", "not both"),
        mistake("service.name", json!("My_Api"), "expected a-z"),
        mistake("service.name", json!(7), "expected a text")
            .of_the_api("service.name", "invalid type"),
        mistake("service.name", None, "is missing").of_the_api("service", "missing field `name`"),
        mistake("service.namespace", json!("a.b"), "expected a-z"),
        mistake(
            "service.port",
            json!(99_999),
            "is 99999; expected a port number",
        )
        .of_the_api("service.port", "invalid value: integer `99999`"),
        mistake("service.port", json!(true), "expected a number or a name")
            .of_the_api("service.port", "invalid type"),
        mistake(
            "service.port",
            json!("My_Port"),
            "is `My_Port`; expected a port number",
        ),
        mistake("service.port", json!(null), "is missing")
            .of_the_api("service.port", "invalid type"),
        mistake("service.port", None, "is missing").of_the_api("service", "missing field `port`"),
        mistake("service.prot", json!(80), "unknown field"),
        mistake("service.weight", json!(-1), "is -1; the least is 0")
            .of_the_api("service.weight", "invalid value"),
        mistake("service.scheme", json!("ftp"), "found `ftp`")
            .of_the_api("service.scheme", "unknown variant"),
        mistake("service.serverName", json!("no name"), "is no host name").always(),
        mistake("service.serverName", json!([]), "expected a text")
            .of_the_api("service.serverName", "invalid type"),
    ]
}

/// A mistake, and the rule that it is made in; `None`: it is one of the route.
#[derive(Clone, Copy)]
struct Made<'m> {
    mistake: &'m Mistake,
    rule: Option<usize>,
}

impl Made<'_> {
    fn steps(&self) -> Vec<String> {
        let rule = |rule: usize| format!("spec.route.rules.{rule}.");
        let path = self.rule.map_or_else(String::new, rule) + self.mistake.field;
        path.split('.').map(str::to_owned).collect()
    }

    /// Whether both can be made in one route: neither is in what the other writes, nor between services
    /// that are there and ones that are not.
    fn goes_with(&self, other: &Self) -> bool {
        let (one, two) = (self.steps(), other.steps());
        let service =
            |made: &Self| made.mistake.field == "service" && made.mistake.written.is_none();
        let services = |made: &Self| made.mistake.field == "services";
        let either = service(self) && services(other) || services(self) && service(other);
        let same = either && self.rule == other.rule;
        !(one.starts_with(&two) || two.starts_with(&one) || same)
    }

    fn make_in(&self, route: &mut Value) {
        let steps = self.steps();
        let (last, above) = steps.split_last().expect("a field");
        let above: String = above.iter().map(|step| format!("/{step}")).collect();
        let holder = route.pointer_mut(&above).expect("what holds the field");
        let holder = holder.as_object_mut().expect("a mapping");
        match &self.mistake.written {
            Some(written) => drop(holder.insert(last.clone(), written.clone())),
            None => drop(holder.remove(last)),
        }
    }

    /// Where, and what is said.
    fn expected(&self, strictness: Strictness) -> Option<(String, &'static str)> {
        let (field, message) = match strictness {
            Strictness::File => self.mistake.in_file,
            Strictness::Api => self.mistake.from_api?,
        };
        let field = match (self.rule, field) {
            (None, field) => field.to_owned(),
            (Some(rule), "") => format!("spec.route.rules[{rule}]"),
            (Some(rule), field) => format!("spec.route.rules[{rule}].{field}"),
        };
        Some((field, message))
    }
}

/// All that is wrong with a route by itself.
fn faults(route: &Value, strictness: Strictness) -> Vec<(String, String)> {
    match decode(route, strictness) {
        Ok(read) => {
            let faults = draft(&read.object, Origin::Api).faults.into_iter();
            faults.map(|it| (it.field, it.message)).collect()
        }
        Err(faults) => faults
            .into_iter()
            .map(|it| (it.field, it.message))
            .collect(),
    }
}

/// Whether exactly what is expected is said, each once.
fn says_all(made: &[Made<'_>]) {
    let rule = json!({"matches": "Path(`/`)", "service": {"name": "api", "port": 80}});
    let mut route = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {"route": {"host": "a.example", "rules": [rule, rule, rule]}},
    });
    for made in made {
        made.make_in(&mut route);
    }
    for strictness in [Strictness::File, Strictness::Api] {
        let found = faults(&route, strictness);
        let expected: Vec<_> = made
            .iter()
            .filter_map(|it| it.expected(strictness))
            .collect();
        let mut left = found.clone();
        for (field, message) in &expected {
            let place = left
                .iter()
                .position(|it| it.0 == *field && it.1.contains(message));
            let place = place.unwrap_or_else(|| {
                panic!("{strictness:?}: no {field}: {message} in {found:#?} of {route:#}")
            });
            left.swap_remove(place);
        }
        assert!(left.is_empty(), "{strictness:?}: {left:?} of {route:#}");
    }
}

#[test]
fn nothing_that_is_wrong_hides_anything_else() {
    let (of_routes, of_rules) = (mistakes_of_routes(), mistakes_of_rules());
    let made = |mistake, rule| Made { mistake, rule };
    let in_route: Vec<_> = of_routes.iter().map(|it| made(it, None)).collect();
    let in_rule = |rule| of_rules.iter().map(move |it| made(it, Some(rule)));
    let all: Vec<_> = in_route
        .iter()
        .copied()
        .chain(in_rule(0))
        .chain(in_rule(2))
        .collect();
    let mut cases = 0;
    for (place, one) in all.iter().enumerate() {
        says_all(&[*one]);
        cases += 1;
        for two in all[place + 1..].iter().filter(|two| one.goes_with(two)) {
            says_all(&[*one, *two]);
            cases += 1;
        }
    }
    // In one rule, beside something that is wrong with the route.
    for (place, one) in in_route.iter().enumerate() {
        for (shift, two) in in_rule(1).enumerate() {
            let three = in_rule(1).cycle().skip(place + shift + 1);
            let three = three.take(of_rules.len()).find(|it| it.goes_with(&two));
            says_all(&[*one, two, three.expect("one that goes with it")]);
            cases += 1;
        }
    }
    assert_eq!(cases, 1_728);
}

/// A route that somebody has generated may be wrong in tens of thousands of places.
#[test]
fn what_a_fault_costs_does_not_grow_with_the_others() {
    let services = vec![json!({"name": "api", "port": 0, "weight": -1, "x": 1}); 64];
    let rules = vec![json!({"services": services, "matches": "Pfad(`/`)"}); 256];
    let route = json!({"metadata": {"name": "r"}, "spec": {"route": {"rules": rules}}});
    let before = std::time::Instant::now();
    assert_eq!(faults(&route, Strictness::File).len(), 256 * (3 * 64 + 1));
    // With all pairs of them it would be many minutes.
    assert!(before.elapsed() < std::time::Duration::from_secs(60));
}

/// All mistakes at once, as far as they go together, each in a rule of its own.
#[test]
fn a_route_may_be_wrong_in_every_way() {
    let good = json!({"service": {"name": "api", "port": 80}});
    let of_rules = mistakes_of_rules();
    let mut route = json!({
        "metadata": {"name": "r"},
        "spec": {"route": {"host": "http://x", "rules": vec![good; of_rules.len()]}},
    });
    for (place, mistake) in of_rules.iter().enumerate() {
        let rule = Some(place);
        Made { mistake, rule }.make_in(&mut route);
    }
    let found = faults(&route, Strictness::File);
    let fields: Map<String, Value> = found
        .into_iter()
        .map(|(field, it)| (field, json!(it)))
        .collect();
    assert!(fields.contains_key("spec.route.host"), "{fields:?}");
    for (rule, mistake) in of_rules.iter().enumerate() {
        let rule = Some(rule);
        let (field, _) = Made { mistake, rule }
            .expected(Strictness::File)
            .expect("a fault");
        assert!(fields.contains_key(&field), "no {field} in {fields:?}");
    }
    assert_eq!(fields.len(), of_rules.len() + 1);
}
