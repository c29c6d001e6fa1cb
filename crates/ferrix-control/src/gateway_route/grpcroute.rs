//! `GRPCRoute`: one version by itself. A method of a service is a path.

use ferrix_api::gateway as api;
use ferrix_rule::{Match, PathMatch};
use ferrix_table::{
    services::Scheme,
    weight::{PathRank, Specificity, Weight},
};

use super::Drafting;
use crate::{
    draft::{Draft, DraftRule},
    field::Field,
    filters::policy::WrittenPolicy,
    objects::{Kind, Origin},
    report::Reason,
};

/// Compiles one version by itself.
pub(crate) fn draft(route: &api::GrpcRoute, origin: Origin) -> Draft {
    let (spec, metadata) = (&route.spec, &route.metadata);
    let mut drafting = Drafting::new(Kind::GrpcRoute, metadata, Scheme::H2c, &spec.hostnames);
    for (position, rule) in spec.rules.iter().enumerate() {
        drafting.grpc_rule(rule, position);
    }
    let defaults = spec.use_default_gateways.as_ref();
    drafting.finish(&spec.parent_refs, defaults, origin)
}

impl Drafting {
    fn grpc_rule(&mut self, rule: &api::GrpcRouteRule, position: usize) {
        let any = [api::GrpcRouteMatch::default()];
        let matches = match rule.matches.is_empty() {
            true => &any[..],
            false => &rule.matches[..],
        };
        let faults_before = self.faults.len();
        let (backends, lost) = self.backends(&rule.backend_refs, position, None);
        let policy = WrittenPolicy {
            filters: &rule.filters,
            session: rule.session_persistence.as_ref(),
            ..WrittenPolicy::default()
        };
        let policy = self.policy(policy, position, None);
        let mut rules = Vec::with_capacity(matches.len());
        for (place, written) in matches.iter().enumerate() {
            let field = Field::new("spec.rules[].matches[]", [position, place]);
            let fields = self.grpc_match(written, field);
            let made = fields.and_then(|fields| self.rule(&fields, position, field));
            rules.extend(made.map(|rule| DraftRule {
                weight: weight(written, rule.weight),
                backends: backends.clone().into(),
                lost: lost.clone().into(),
                policy: policy.clone(),
                ..rule
            }));
        }
        self.add_rules(rules, faults_before);
    }

    fn grpc_match(&mut self, written: &api::GrpcRouteMatch, field: Field) -> Option<Match> {
        let path = match &written.method {
            None => None,
            Some(method) => Some(self.grpc_path(method, field)?),
        };
        Some(Match {
            path,
            headers: self.headers(&written.headers, field)?,
            ..Match::default()
        })
    }

    /// `/SERVICE/METHOD`, as calls have it (gRPC over HTTP/2, "Path").
    fn grpc_path(&mut self, method: &api::GrpcMethodMatch, field: Field) -> Option<PathMatch> {
        if method.service.is_none() && method.method.is_none() {
            let field = format!("{field}.method");
            self.fault(Reason::InvalidSpec, field, "expected `service` or `method`");
            return None;
        }
        let given = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
        let (service, name) = (given(&method.service), given(&method.method));
        if method.kind == "Exact" {
            let is_service = |it: &str| {
                it.strip_prefix('.')
                    .unwrap_or(it)
                    .split('.')
                    .all(is_identifier)
            };
            let wrong_service = service.as_deref().filter(|it| !is_service(it));
            let wrong_name = name.as_deref().filter(|it| !is_identifier(it));
            for (part, wrong) in [("service", wrong_service), ("method", wrong_name)] {
                let Some(wrong) = wrong else { continue };
                let message = format!(
                    "`{wrong}` is no name of a {part}; expected letters, digits and `_`, those of a \
                     service with dots between them"
                );
                self.fault(
                    Reason::InvalidSpec,
                    format!("{field}.method.{part}"),
                    message,
                );
            }
            if wrong_service.or(wrong_name).is_some() {
                return None;
            }
        }
        match (method.kind.as_str(), service, name) {
            ("Exact", Some(service), Some(name)) => {
                Some(PathMatch::Exact(format!("/{service}/{name}")))
            }
            ("Exact", Some(service), None) => Some(PathMatch::Prefix(format!("/{service}"))),
            ("Exact", None, Some(name)) => {
                Some(PathMatch::Regexp(format!("/[^/]+/{}", literal(&name))))
            }
            ("RegularExpression", service, name) => {
                let part = |text: Option<String>| match text {
                    Some(text) => format!("(?:{text})"),
                    None => "[^/]+".to_owned(),
                };
                Some(PathMatch::Regexp(format!(
                    "/{}/{}",
                    part(service),
                    part(name)
                )))
            }
            ("Exact", None, None) => Some(PathMatch::Prefix("/".to_owned())),
            (other, ..) => {
                let message = format!(
                    "`{other}` is no type of match; expected `Exact` or `RegularExpression`"
                );
                let field = format!("{field}.method.type");
                self.fault(Reason::UnsupportedValue, field, message);
                None
            }
        }
    }
}

/// A service says more than a method (`GRPCRouteRule.matches`): a method of any service comes after all
/// that name the service, and before what names neither.
fn weight(written: &api::GrpcRouteMatch, weight: Weight) -> Weight {
    let named = |method: &api::GrpcMethodMatch| {
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|it| !it.is_empty());
        !is_given(&method.service) && is_given(&method.method)
    };
    match weight {
        Weight::Specificity(specificity) if written.method.as_ref().is_some_and(named) => {
            Weight::Specificity(Specificity {
                path: PathRank::Prefix(0),
                method: true,
                ..specificity
            })
        }
        weight => weight,
    }
}

/// Whether a text is a name of gRPC, as the definition of the kind has it.
fn is_identifier(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(is_part) && text.bytes().next().is_some_and(|it| !it.is_ascii_digit())
}

/// A text as an expression that matches nothing else.
fn literal(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_alphanumeric() && letter != '_' {
            expression.push('\\');
        }
        expression.push(letter);
    }
    expression
}
