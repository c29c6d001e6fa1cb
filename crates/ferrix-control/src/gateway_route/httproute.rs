//! `HTTPRoute`: one version by itself.

use std::collections::HashSet;

use ferrix_api::gateway as api;
use ferrix_rule::{Match, PathMatch, Rule, ValueMatch};
use ferrix_table::services::Scheme;

use super::Drafting;
use crate::{
    draft::{Draft, DraftRule},
    field::Field,
    filters::policy::WrittenPolicy,
    never,
    objects::{Kind, Origin},
    report::Reason,
    url_path,
};

/// Compiles one version by itself.
pub(crate) fn draft(route: &api::HttpRoute, origin: Origin) -> Draft {
    let (spec, metadata) = (&route.spec, &route.metadata);
    let mut drafting = Drafting::new(Kind::HttpRoute, metadata, Scheme::Http, &spec.hostnames);
    for (position, rule) in spec.rules.iter().enumerate() {
        drafting.http_rule(rule, position);
    }
    let defaults = spec.use_default_gateways.as_ref();
    drafting.finish(&spec.parent_refs, defaults, origin)
}

impl Drafting {
    fn http_rule(&mut self, rule: &api::HttpRouteRule, position: usize) {
        let any = [api::HttpRouteMatch::default()];
        let matches = match rule.matches.is_empty() {
            true => &any[..],
            false => &rule.matches[..],
        };
        let faults_before = self.faults.len();
        let mut rules = Vec::with_capacity(matches.len());
        for (place, written) in matches.iter().enumerate() {
            let field = Field::new("spec.rules[].matches[]", [position, place]);
            let prefix = (written.path.kind == "PathPrefix")
                .then(|| url_path::routing_form(&written.path.value));
            let prefix = prefix.as_deref();
            let (backends, lost) = self.backends(&rule.backend_refs, position, prefix);
            let policy = WrittenPolicy {
                filters: &rule.filters,
                timeouts: rule.timeouts.as_ref(),
                retry: rule.retry.as_ref(),
                session: rule.session_persistence.as_ref(),
            };
            let policy = self.policy(policy, position, prefix);
            let fields = self.http_match(written, field);
            let made = fields.and_then(|fields| self.rule(&fields, position, field));
            match made {
                Some(rule) => rules.push(DraftRule {
                    backends: backends.into(),
                    lost: lost.into(),
                    policy,
                    ..rule
                }),
                None => self.unserved.extend(backends),
            }
        }
        self.add_rules(rules, faults_before);
    }

    /// A rule without backends. `field`: of the match.
    pub(super) fn rule(
        &mut self,
        fields: &Match,
        position: usize,
        field: Field,
    ) -> Option<DraftRule> {
        match Rule::of(fields) {
            Ok(matches) => {
                if let Some(matches) = &matches {
                    let never = never::findings(matches, &self.hosts, &field.to_string());
                    self.notes.extend(never);
                }
                Some(self.rule_of(fields, matches, position))
            }
            Err(error) => {
                let (field, message) = (field.to_string(), error.to_string());
                self.fault(Reason::UnsupportedValue, field, message);
                None
            }
        }
    }

    fn http_match(&mut self, written: &api::HttpRouteMatch, field: Field) -> Option<Match> {
        let path = self.path(&written.path, field);
        let method = match written.method.as_deref().map(str::parse) {
            None => Some(None),
            Some(Ok(method)) => Some(Some(method)),
            Some(Err(_)) => {
                let field = format!("{field}.method");
                self.fault(Reason::UnsupportedValue, field, "expected a method of HTTP");
                None
            }
        };
        let headers = self.headers(&written.headers, field);
        let query = self.query(&written.query_params, field);
        Some(Match {
            path: Some(path?),
            method: method?,
            headers: headers?,
            query: query?,
        })
    }

    fn path(&mut self, path: &api::HttpPathMatch, field: Field) -> Option<PathMatch> {
        match path.kind.as_str() {
            "Exact" => Some(PathMatch::Exact(url_path::routing_form(&path.value))),
            "PathPrefix" => Some(PathMatch::Prefix(url_path::routing_form(&path.value))),
            "RegularExpression" => Some(PathMatch::Regexp(path.value.clone())),
            other => {
                let message = format!(
                    "`{other}` is no type of path; expected `Exact`, `PathPrefix` or \
                     `RegularExpression`"
                );
                let field = format!("{field}.path.type");
                self.fault(Reason::UnsupportedValue, field, message);
                None
            }
        }
    }

    /// Of entries with one name in whatever case only the first counts (`HTTPHeaderMatch.name`).
    pub(super) fn headers(
        &mut self,
        headers: &[api::HeaderMatch],
        field: Field,
    ) -> Option<Vec<(String, ValueMatch)>> {
        let mut names = HashSet::new();
        let mut matches = Vec::new();
        for header in headers {
            if names.insert(header.name.to_ascii_lowercase()) {
                let value = self.value(&header.kind, &header.value, field, "headers")?;
                matches.push((header.name.clone(), value));
            }
        }
        Some(matches)
    }

    /// Of entries with one name only the first counts (`HTTPQueryParamMatch.name`).
    fn query(
        &mut self,
        parameters: &[api::QueryParamMatch],
        field: Field,
    ) -> Option<Vec<(String, ValueMatch)>> {
        let mut names = HashSet::new();
        let mut matches = Vec::new();
        for parameter in parameters {
            if names.insert(parameter.name.as_str()) {
                let value = self.value(&parameter.kind, &parameter.value, field, "queryParams")?;
                matches.push((parameter.name.clone(), value));
            }
        }
        Some(matches)
    }

    fn value(&mut self, kind: &str, value: &str, field: Field, list: &str) -> Option<ValueMatch> {
        match kind {
            "Exact" => Some(ValueMatch::Exact(value.to_owned())),
            "RegularExpression" => Some(ValueMatch::Regexp(value.to_owned())),
            other => {
                let message = format!(
                    "`{other}` is no type of match; expected `Exact` or `RegularExpression`"
                );
                let field = format!("{field}.{list}");
                self.fault(Reason::UnsupportedValue, field, message);
                None
            }
        }
    }
}
