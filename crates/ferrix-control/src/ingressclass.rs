//! `IngressClass`: which installation serves an Ingress.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    names::shared,
    settings::Settings,
};

/// What makes a class the one of every Ingress that names none.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// What of an IngressClass is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IngressClassSpec {
    controller: Arc<str>,
    is_default: bool,
    created: Option<i64>,
}

/// All that there are, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct IngressClasses(BTreeMap<Arc<str>, IngressClassSpec>);

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<IngressClass>, Vec<Fault>> {
    document::read(value, strictness)
}

/// Keeps what is read of an IngressClass.
pub(crate) fn compile(class: &IngressClass) -> IngressClassSpec {
    let controller = class
        .spec
        .as_ref()
        .and_then(|spec| spec.controller.as_deref());
    let annotations = class.metadata.annotations.as_ref();
    let created = class.metadata.creation_timestamp.as_ref();
    IngressClassSpec {
        controller: shared(controller.unwrap_or_default()),
        is_default: annotations.is_some_and(|it| it.get(IS_DEFAULT).is_some_and(|it| it == "true")),
        created: created.map(|time| time.0.as_second()),
    }
}

impl IngressClasses {
    /// Tells whether that changes anything.
    pub(crate) fn store(&mut self, name: &str, class: IngressClassSpec) -> bool {
        match self.0.entry(name.into()) {
            btree_map::Entry::Occupied(known) if *known.get() == class => return false,
            btree_map::Entry::Occupied(mut known) => drop(known.insert(class)),
            btree_map::Entry::Vacant(unknown) => drop(unknown.insert(class)),
        }
        true
    }

    /// Tells whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// Why an Ingress of this class is another installation's, where it is.
    ///
    /// A class of which there is no object means the installation of that name: manifests in a folder
    /// seldom come with classes.
    pub(crate) fn why_not(&self, class: Option<&str>, settings: &Settings) -> Option<String> {
        let ours = settings.ingress_controller();
        let Some(class) = class else {
            return match self.default() {
                Some((_, default)) if *default.controller == *ours => None,
                Some((name, _)) => Some(format!(
                    "it names no class, and the default one, IngressClass {name}, is of another \
                     controller"
                )),
                None => Some(
                    "it names no class, and no IngressClass is marked as the default; set \
                     `spec.ingressClassName`"
                        .to_owned(),
                ),
            };
        };
        match self.0.get(class) {
            Some(known) if *known.controller == *ours => None,
            Some(known) => Some(format!(
                "the controller of IngressClass {class} is `{}`, and this one is `{ours}`",
                known.controller
            )),
            None if class == settings.class() => None,
            None => Some(format!("there is no IngressClass {class}")),
        }
    }

    /// The default class: of several the newest, as the API server has it where it fills in classes
    /// (`DefaultIngressClass`, an admission plugin), then the first by name.
    fn default(&self) -> Option<(&Arc<str>, &IngressClassSpec)> {
        let defaults = self.0.iter().filter(|(_, class)| class.is_default);
        defaults.min_by_key(|(_, class)| Reverse(class.created))
    }
}
