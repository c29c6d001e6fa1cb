//! `Filter`: filters under a name.
//!
//! A version by itself is a draft as those of routes are, so that what was good is kept and serves on in the
//! same way. It has one rule, which takes no request: the filters are what that asks for.
//!
//! ```text
//!  decode   a document to the type, held to the schema where nobody else does
//!  draft    one version by itself
//!  spec     a draft written back, to be kept
//!  status   what its author is told: conditions, users, and their form in the object
//! ```

use ferrix_api::{Filter, filter::FilterSpec, schema};
use ferrix_table::weight::Weight;
use serde_json::Value;

use crate::{
    document::{Fault, Read, Strictness},
    draft::{
        self, ClassReference, Draft, DraftPolicy, DraftRule, EntryPointNames, FilterReference,
        Hosts,
    },
    field::Field,
    filters::{Faults, List, Place},
    ingressroute::policy,
    names::shared,
    objects::{Kind, Origin},
    own_kind,
    rare::Rare,
    report::Reason,
};

pub(crate) mod status;

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
    let rule = DraftRule {
        field: Field::new("spec.filters", []),
        position: 0,
        hosts: Hosts::default(),
        matches: None,
        weight: Weight::Priority(0),
        backends: Box::default(),
        lost: Rare::default(),
        policy: Some(policy.into()),
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
        entry_points: EntryPointNames::Fitting,
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

/// The spec of a draft that is good.
pub(crate) fn spec(draft: &Draft) -> FilterSpec {
    let lists = policy_of(draft)
        .into_iter()
        .flat_map(|policy| &policy.lists);
    FilterSpec {
        ingress_class_name: match &draft.class {
            ClassReference::Name(class) => class.as_deref().map(str::to_owned),
            ClassReference::IngressClass(_) | ClassReference::Parents => None,
        },
        filters: policy::written_lists(lists, &draft.key().namespace),
    }
}

/// Its filters; `None`: it is not good.
fn policy_of(draft: &Draft) -> Option<&DraftPolicy> {
    draft.rules.first()?.policy.as_deref()
}
