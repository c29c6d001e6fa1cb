//! `Filter`: filters under a name.
//!
//! A version by itself is a draft as those of routes are, so that what was good is kept and serves on in the
//! same way. It has one rule, which takes no request: the filters are what that asks for.
//!
//! ```text
//!  decode   a document to the type, held to the schema where nobody else does
//!  draft    one version by itself
//!  spec     a draft written back, to be kept
//!  status   what its author is told
//! ```

use ferrix_api::{
    Filter,
    filter::{FilterSpec, TargetReference},
    gateway, schema,
};
use ferrix_table::weight::Weight;
use serde_json::Value;

use crate::{
    document::{Fault, Read, Strictness},
    draft::{
        self, Attachment, ClassReference, Draft, DraftPolicy, DraftRule, EntryPointNames,
        FilterReference, Hosts, Target,
    },
    field::Field,
    filters::{Faults, List, Owner, Place},
    ingressroute::policy,
    names::{shared, shared_name},
    objects::{self, Key, Kind, Origin},
    own_kind,
    rare::Rare,
    report::Reason,
};

pub(crate) mod status;

/// The group of our kinds.
const GROUP: &str = "ferrix.com";

/// The kinds of routes that Filters attach themselves to.
const ROUTES: [Kind; 4] = [
    Kind::GrpcRoute,
    Kind::HttpRoute,
    Kind::Ingress,
    Kind::IngressRoute,
];

/// Reads a document.
pub(crate) fn decode(value: &Value, strictness: Strictness) -> Result<Read<Filter>, Vec<Fault>> {
    own_kind::decode(value, strictness, &schema::FILTER, |filter| {
        draft(filter, Origin::Api).faults
    })
}

/// Compiles a Filter by itself. What is wrong with one of its filters is wrong with all of it.
pub(crate) fn draft(filter: &Filter, origin: Origin) -> Draft {
    let (spec, metadata) = (&filter.spec, &filter.metadata);
    let route = draft::route(Kind::Filter, metadata);
    let place = Place {
        list: List::Filter,
        object: &route.key,
        // Rules of any path may name it.
        prefix: None,
        purge: Owner::of(&route.key, metadata).purge,
    };
    let mut faults = Faults::default();
    if spec.filters.is_empty() {
        let message = "expected at least one filter";
        faults.add(Reason::InvalidSpec, "spec.filters", message);
    }
    let lists = policy::lists(&spec.filters, place, &mut faults);
    let policy = DraftPolicy {
        lists,
        ..DraftPolicy::default()
    };
    policy::refuse_services(&policy, &mut faults);
    let attachment = attachment(spec, &route.key.namespace, &mut faults);
    let rule = DraftRule {
        field: Field::new("spec.filters", []),
        position: 0,
        hosts: Hosts::default(),
        matches: None,
        weight: Weight::Priority(0),
        backends: Box::default(),
        lost: Rare::default(),
        policy: Some(policy.into()),
        dry_run: false,
    };
    for FilterReference { field, .. } in rule.named_filters() {
        let message = "a Filter names no other Filter; name both where this one is named";
        faults.add(Reason::InvalidSpec, format!("{field}.filter"), message);
    }
    let (rules, faults) = match faults.or(rule) {
        Ok(rule) => (vec![rule], Vec::new()),
        Err(faults) => (Vec::new(), faults),
    };
    let faults = faults.into_iter();
    Draft {
        route,
        class: ClassReference::Name(spec.ingress_class_name.as_deref().map(shared)),
        entry_points: EntryPointNames::Targets(Box::new(attachment)),
        hosts: Hosts::default(),
        host_field: "spec",
        rules: rules.into(),
        unserved: Rare::default(),
        certificates: Rare::default(),
        faults: faults.map(|fault| fault.located(&origin)).collect(),
        notes: Rare::default(),
        origin,
    }
}

/// What it attaches itself to.
fn attachment(spec: &FilterSpec, namespace: &str, faults: &mut Faults) -> Attachment {
    let references = spec.target_refs.iter().enumerate();
    let targets = references.filter_map(|(place, reference)| {
        let field = Field::new("spec.targetRefs[]", [place]);
        let target = target(reference, namespace);
        if target.is_none() {
            let message = format!(
                "a {} of group `{}` is nothing to attach to; expected an EntryPoint or an \
                 IngressRoute of `ferrix.com`, a Namespace, a Gateway or a ListenerSet (or one of \
                 their listeners, as `sectionName`), an HTTPRoute, a GRPCRoute or an Ingress",
                reference.kind, reference.group,
            );
            faults.add(Reason::UnsupportedValue, field.to_string(), message);
        }
        Some((field, target?))
    });
    Attachment {
        targets: targets.collect(),
        optional: spec.optional,
    }
}

/// `None`: nothing that a Filter attaches itself to.
fn target(reference: &TargetReference, own_namespace: &str) -> Option<Target> {
    let namespace = reference.namespace.as_deref().unwrap_or(own_namespace);
    let section = reference.section_name.as_deref();
    let key = |kind| shared_name(namespace, &reference.name).key(kind);
    match (reference.group.as_str(), reference.kind.as_str(), section) {
        (GROUP, "EntryPoint", None) => Some(Target::EntryPoint(shared(&reference.name))),
        ("", "Namespace", None) => Some(Target::Namespace(shared(&reference.name))),
        (gateway::GROUP, "Gateway", _) => {
            Some(Target::Parent(key(Kind::Gateway), section.map(shared)))
        }
        (gateway::GROUP, "ListenerSet", _) => {
            Some(Target::Parent(key(Kind::ListenerSet), section.map(shared)))
        }
        (group, kind, None) => {
            let is_meant = |it: &Kind| objects::group(*it) == group && it.as_str() == kind;
            let route = ROUTES.into_iter().find(is_meant);
            route.map(|kind| Target::Route(key(kind)))
        }
        _ => None,
    }
}

/// A target as it is written in an object of a namespace.
fn reference(target: &Target, own_namespace: &str) -> TargetReference {
    let of_object = |key: &Key, section: Option<&str>| TargetReference {
        group: objects::group(key.kind).to_owned(),
        kind: key.kind.as_str().to_owned(),
        namespace: Some(key.namespace.to_string()).filter(|it| *it != own_namespace),
        name: key.name.to_string(),
        section_name: section.map(str::to_owned),
    };
    let of_name = |group: &str, kind: &str, name: &str| TargetReference {
        group: group.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..TargetReference::default()
    };
    match target {
        Target::EntryPoint(name) => of_name(GROUP, "EntryPoint", name),
        Target::Namespace(name) => of_name("", "Namespace", name),
        Target::Parent(key, section) => of_object(key, section.as_deref()),
        Target::Route(key) => of_object(key, None),
    }
}

/// How a Filter attaches itself; `None` for a draft of another kind.
pub(crate) fn attachment_of(draft: &Draft) -> Option<&Attachment> {
    match &draft.entry_points {
        EntryPointNames::Targets(attachment) => Some(attachment),
        _ => None,
    }
}

/// The spec of a draft that is good.
pub(crate) fn spec(draft: &Draft) -> FilterSpec {
    let lists = policy_of(draft)
        .into_iter()
        .flat_map(|policy| &policy.lists);
    let namespace = &draft.key().namespace;
    let attachment = attachment_of(draft);
    let targets = attachment.into_iter().flat_map(|it| &it.targets);
    FilterSpec {
        ingress_class_name: match &draft.class {
            ClassReference::Name(class) => class.as_deref().map(str::to_owned),
            ClassReference::IngressClass(_) | ClassReference::Parents => None,
        },
        filters: policy::written_lists(lists, namespace),
        target_refs: targets.map(|(_, it)| reference(it, namespace)).collect(),
        optional: attachment.is_some_and(|it| it.optional),
    }
}

/// Its filters; `None`: it is not good.
fn policy_of(draft: &Draft) -> Option<&DraftPolicy> {
    draft.rules.first()?.policy.as_deref()
}
