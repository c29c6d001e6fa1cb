//! One Gateway with its ListenerSets.

use std::{collections::HashMap, sync::Arc};

use ferrix_api::gateway::{self as api, ListenerSetSpec};
use ferrix_table::{
    entry_points::{EntryPoint, Protocol},
    rules::HostPattern,
    verification::ClientCertificate,
};

use super::{
    Fault, Parent,
    frontend::{self, Frontend},
    listener::{self, Checked, Listener, NamespaceSet},
    overlap,
    placement::{Earlier, Place, Places, Wanted},
    reach::Reach,
};
use crate::{
    gateway::GatewayVersion, gateway_addresses, objects::Key, secret::Parsed, settings::Settings,
    verdict::Condition, version::Version, world::World,
};

/// What a Gateway is checked against, and what was found of it.
pub(super) struct Evaluation<'w> {
    world: &'w World,
    settings: &'w Settings,
    version: &'w GatewayVersion,
    gateway: &'w api::GatewaySpec,
    reach: Reach<'w>,
    /// Why it is not accepted, whatever its listeners.
    refused: Option<Fault>,
    /// By port.
    frontends: HashMap<u16, Frontend>,
    earlier: Earlier,
}

impl<'w> Evaluation<'w> {
    pub(super) fn new(
        world: &'w World,
        settings: &'w Settings,
        version: &'w GatewayVersion,
        reach: Reach<'w>,
    ) -> Self {
        let gateway = &version.spec.gateway;
        Self {
            world,
            settings,
            version,
            gateway,
            reach,
            refused: refused(gateway),
            frontends: HashMap::new(),
            earlier: Earlier::default(),
        }
    }

    /// The Gateway, and the ListenerSets that name it.
    pub(super) fn parents(mut self, places: &mut Places<'w>) -> Vec<Parent> {
        let own = self.listeners(self.version.key(), &self.gateway.listeners, places);
        let allowed = &self.gateway.allowed_listeners.namespaces;
        let allowed = NamespaceSet::new(
            &allowed.from,
            allowed.selector.as_ref(),
            &self.version.key().namespace,
        );
        let mut sets: Vec<_> = self.world.listener_sets_of(self.version.key()).collect();
        sets.retain(|set| self.settings.watches(&set.key().namespace));
        sets.sort_by_cached_key(|set| set.seniority());
        let gateway = self.gateway_without_sets(own);
        let mut parents = vec![gateway];
        for set in sets {
            let is_allowed = allowed.has(self.world, &set.key().namespace);
            let (parent, is_accepted) = self.listener_set(set, is_allowed, places);
            parents[0].listener_sets += u32::from(is_accepted);
            parents.push(parent);
        }
        overlap::tell(&mut parents);
        parents
    }

    fn gateway_without_sets(&self, listeners: Box<[Listener]>) -> Parent {
        Parent {
            route: Arc::clone(&self.version.route),
            gateway: self.version.key().clone(),
            origin: self.version.origin.clone(),
            generation: self.version.generation,
            conditions: self.conditions(&listeners),
            listeners,
            client_certificate: self.presented(),
            addresses: self.reach.told(),
            listener_sets: 0,
            is_default: self.version.is_default(),
        }
    }

    fn listener_set(
        &mut self,
        set: &Version<ListenerSetSpec>,
        is_allowed: bool,
        places: &mut Places<'w>,
    ) -> (Parent, bool) {
        let (listeners, conditions, is_accepted) = match (is_allowed, &self.refused) {
            (false, _) => {
                let message = "`allowedListeners` of the Gateway does not take ListenerSets of this \
                               namespace.";
                (Box::default(), both(false, "NotAllowed", message), false)
            }
            (true, Some(_)) => {
                let message = "The Gateway is not accepted.";
                let conditions = both(false, "ParentNotAccepted", message);
                (Box::default(), conditions, false)
            }
            (true, None) => {
                let listeners = self.listeners(set.key(), &set.spec.listeners, places);
                let conditions = match self.reach.fault(&self.gateway.addresses) {
                    Some(_) => conditions_of_unreached_set(&listeners),
                    None => set_conditions(&listeners),
                };
                let mut all = conditions.iter();
                let is_accepted = all.any(|it| it.condition == "Accepted" && it.status);
                (listeners, conditions, is_accepted)
            }
        };
        let parent = Parent {
            route: Arc::clone(&set.route),
            gateway: self.version.key().clone(),
            origin: set.origin.clone(),
            generation: set.generation,
            listeners,
            conditions,
            client_certificate: self.presented(),
            addresses: Box::default(),
            listener_sets: 0,
            is_default: false,
        };
        (parent, is_accepted)
    }

    fn listeners(
        &mut self,
        owner: &Key,
        specs: &[api::Listener],
        places: &mut Places<'w>,
    ) -> Box<[Listener]> {
        let listeners = specs.iter().map(|spec| self.listener(owner, spec, places));
        listeners.collect()
    }

    fn listener(&mut self, owner: &Key, spec: &api::Listener, places: &mut Places<'w>) -> Listener {
        let frontend = self.frontend(spec.port);
        let checked = Checked::new(self.world, self.settings, owner, spec, &frontend);
        let conflict = match (&checked.protocol, &checked.host) {
            (Ok(protocol), Ok(host)) => self.earlier.admit(spec.port, *protocol, host).err(),
            _ => None,
        };
        let mut fault = (checked.protocol.as_ref().err().cloned())
            .or_else(|| checked.host.as_ref().err().cloned())
            .or_else(|| conflict.clone())
            .or_else(|| checked.unverifiable.clone());
        let mut place = None;
        if let (None, Ok(protocol), Ok(host)) = (&fault, &checked.protocol, &checked.host)
            && self.refused.is_none()
        {
            let found = places.find(&self.wanted(owner, spec, *protocol, host, &frontend));
            match found {
                Ok(found) => place = Some(found),
                Err(unavailable) => fault = Some(unavailable),
            }
        }
        let place = place.filter(|_| is_servable(&checked));
        let served = match &place {
            Some(Place::Promised) => Served::NotYet(self.reach.awaits()),
            Some(Place::Own(own)) if own.is_empty() => Served::No,
            Some(Place::Own(own)) => self.refusal(own).map_or(Served::Yes, Served::NotYet),
            Some(Place::Adopted(_)) => Served::Yes,
            None => Served::No,
        };
        let conditions = listener_conditions(&checked, fault.as_ref(), conflict, &served);
        checked.finished(owner, fault.is_none(), conditions, place)
    }

    fn wanted<'a>(
        &'a self,
        owner: &'a Key,
        spec: &'a api::Listener,
        protocol: Protocol,
        host: &'a HostPattern,
        frontend: &'a Frontend,
    ) -> Wanted<'a, 'w> {
        // The first listener of a socket says what is asked of clients.
        let over_tls = matches!(
            protocol,
            Protocol::Https | Protocol::TlsPassthrough | Protocol::TlsTerminate
        );
        Wanted {
            gateway: self.version,
            owner,
            listener: &spec.name,
            port: spec.port,
            protocol,
            host,
            client_certificates: frontend.certificates.as_ref().filter(|_| over_tls),
            addresses: self.reach.assigned(),
        }
    }

    fn frontend(&mut self, port: u16) -> Frontend {
        let Self {
            world,
            settings,
            version,
            gateway,
            ..
        } = *self;
        let made = || Frontend::new(world, settings, version.key(), gateway, port);
        self.frontends.entry(port).or_insert_with(made).clone()
    }

    /// Why nothing is served at any of the addresses of a listener, as the system does not let any replica
    /// listen there. The entry points stay: it is tried again.
    fn refusal(&self, entry_points: &[EntryPoint]) -> Option<String> {
        let refused = self.world.refused();
        let mut refusals = entry_points.iter().map(|it| refused.get(&it.place()));
        let first = refusals.next()??;
        let all = refusals.all(|it| it.is_some());
        all.then(|| format!("Not served: {first}. It is tried again every second."))
    }

    fn conditions(&self, listeners: &[Listener]) -> Box<[Condition]> {
        let accepted = self.accepted(listeners);
        let programmed = self.programmed(listeners, &accepted);
        let mut conditions = vec![accepted, programmed, self.resolved_refs(listeners)];
        if frontend::is_insecure(self.gateway) {
            let message = "On some port clients are served whose certificate is not valid.";
            let condition = "InsecureFrontendValidationMode";
            conditions.push(Condition::new(
                condition,
                true,
                "ConfigurationChanged",
                message,
            ));
        }
        if self.version.is_default() {
            let message =
                "Routes attach that ask for a default Gateway, as far as listeners take them.";
            let condition = "DefaultGateway";
            conditions.push(Condition::new(condition, true, "DefaultScope", message));
        }
        conditions.into()
    }

    fn accepted(&self, listeners: &[Listener]) -> Condition {
        let accepted =
            |status, reason, message: String| Condition::new("Accepted", status, reason, message);
        if let Some(fault) = &self.refused {
            return accepted(false, fault.reason, fault.message.clone());
        }
        let invalid = listeners.iter().filter(|it| !it.accepted);
        let invalid: Vec<_> = invalid.map(|it| format!("`{}`", it.name)).collect();
        match invalid.len() {
            0 => accepted(true, "Accepted", "The Gateway is accepted.".to_owned()),
            count => {
                let message = format!("Not valid: listener {}.", invalid.join(", "));
                accepted(count < listeners.len(), "ListenersNotValid", message)
            }
        }
    }

    fn programmed(&self, listeners: &[Listener], accepted: &Condition) -> Condition {
        let programmed =
            |status, reason, message: String| Condition::new("Programmed", status, reason, message);
        let mut of_listeners = listeners.iter().filter_map(programmed_of);
        if !accepted.status {
            return programmed(false, "Invalid", accepted.message.to_string());
        }
        if let Some(fault) = self.reach.fault(&self.gateway.addresses) {
            return programmed(false, fault.reason, fault.message);
        }
        let Some(first) = of_listeners.next() else {
            let message = "None of its listeners can be served.";
            return programmed(false, "Invalid", message.to_owned());
        };
        match first.status || of_listeners.any(|it| it.status) {
            true => programmed(true, "Programmed", "The Gateway is served.".to_owned()),
            false if listeners.iter().any(|it| it.is_promised) => {
                programmed(false, "Pending", first.message.to_string())
            }
            false => programmed(false, "AddressNotUsable", first.message.to_string()),
        }
    }

    fn resolved_refs(&self, listeners: &[Listener]) -> Condition {
        let resolved = |status, reason, message: String| {
            Condition::new("ResolvedRefs", status, reason, message)
        };
        if let Err(fault) = self.client_certificate() {
            return resolved(false, fault.reason, fault.message);
        }
        let unresolved = listeners.iter().find(|listener| {
            let mut conditions = listener.conditions.iter();
            conditions.any(|it| it.condition == "ResolvedRefs" && !it.status)
        });
        match unresolved {
            Some(listener) => {
                let message = format!("Listener `{}` names what is not found.", listener.name);
                resolved(false, "ListenersNotResolved", message)
            }
            None => {
                let message = "Every object that the Gateway names was found.";
                resolved(true, "ResolvedRefs", message.to_owned())
            }
        }
    }

    /// What it presents to backends; nothing where that cannot be had, which is for them to judge.
    fn presented(&self) -> Option<ClientCertificate> {
        let parsed = self.client_certificate().ok().flatten()?;
        Some(ClientCertificate(Arc::clone(&parsed.certificate)))
    }

    /// What it is to present to backends.
    fn client_certificate(&self) -> Result<Option<Arc<Parsed>>, Fault> {
        let backend = self
            .gateway
            .tls
            .as_ref()
            .and_then(|tls| tls.backend.as_ref());
        let Some(reference) = backend.and_then(|it| it.client_certificate_ref.as_ref()) else {
            return Ok(None);
        };
        let found = listener::certificate(self.world, self.settings, self.version.key(), reference);
        let found = found.map_err(|fault| match fault.reason {
            "InvalidCertificateRef" => Fault {
                reason: "InvalidClientCertificateRef",
                ..fault
            },
            _ => fault,
        });
        found.map(Some)
    }
}

/// Whether a listener is served.
enum Served {
    Yes,
    /// It has a place, where nobody can listen: why.
    NotYet(String),
    /// It has no place.
    No,
}

fn listener_conditions(
    checked: &Checked<'_>,
    fault: Option<&Fault>,
    conflict: Option<Fault>,
    served: &Served,
) -> Box<[Condition]> {
    let accepted = match fault {
        Some(fault) => Condition::new("Accepted", false, fault.reason, fault.message.clone()),
        None => Condition::new("Accepted", true, "Accepted", "The listener is accepted."),
    };
    let resolved = match &checked.unresolved {
        Some(fault) => Condition::new("ResolvedRefs", false, fault.reason, fault.message.clone()),
        None => {
            let message = "Every object that the listener names was found.";
            Condition::new("ResolvedRefs", true, "ResolvedRefs", message)
        }
    };
    let not = |reason, message| Condition::new("Programmed", false, reason, message);
    let programmed = match (served, &conflict, fault.or(checked.unresolved.as_ref())) {
        (Served::Yes, ..) => {
            Condition::new("Programmed", true, "Programmed", "The listener is served.")
        }
        (Served::NotYet(why), ..) => not("Pending", why.clone()),
        (Served::No, Some(conflict), _) => not(conflict.reason, conflict.message.clone()),
        (Served::No, None, Some(fault)) => not("Invalid", fault.message.clone()),
        (Served::No, None, None) => not("Pending", "The Gateway is served nowhere.".to_owned()),
    };
    let conflicted = match conflict {
        Some(conflict) => Condition::new("Conflicted", true, conflict.reason, conflict.message),
        None => {
            let message = "No other listener has its place.";
            Condition::new("Conflicted", false, "NoConflicts", message)
        }
    };
    [accepted, programmed, resolved, conflicted].into()
}

/// Whether a listener can be served, at least in part.
fn is_servable(checked: &Checked<'_>) -> bool {
    checked.can_present() && !checked.kinds.is_empty()
}

/// Why a Gateway is not accepted, whatever its listeners.
fn refused(gateway: &api::GatewaySpec) -> Option<Fault> {
    if let Some(address) = gateway_addresses::unsupported(&gateway.addresses) {
        return Some(Fault {
            reason: "UnsupportedAddress",
            message: format!("There are no addresses of type `{}` here.", address.kind),
        });
    }
    let parameters = gateway.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    Some(Fault {
        reason: "InvalidParameters",
        message: format!(
            "`infrastructure.parametersRef` names a {}; Ferrix knows no parameters.",
            parameters.kind
        ),
    })
}

/// The same where its Gateway is reached nowhere, or not where it asks to be.
fn conditions_of_unreached_set(listeners: &[Listener]) -> Box<[Condition]> {
    match listeners.iter().any(|it| it.accepted) {
        true => {
            let message = "The Gateway is not programmed.";
            let programmed = Condition::new("Programmed", false, "ParentNotProgrammed", message);
            [accepted_set(listeners), programmed].into()
        }
        false => set_conditions(listeners),
    }
}

/// `Accepted` of a ListenerSet of which some listener is.
fn accepted_set(listeners: &[Listener]) -> Condition {
    let invalid = listeners.iter().filter(|it| !it.accepted);
    let invalid: Vec<_> = invalid.map(|it| format!("`{}`", it.name)).collect();
    match invalid.is_empty() {
        true => Condition::new("Accepted", true, "Accepted", "The ListenerSet is accepted."),
        false => {
            let message = format!("Not valid: listener {}.", invalid.join(", "));
            Condition::new("Accepted", true, "ListenersNotValid", message)
        }
    }
}

/// `Accepted` and `Programmed` of a ListenerSet.
fn set_conditions(listeners: &[Listener]) -> Box<[Condition]> {
    let mut programmed = listeners.iter().filter_map(programmed_of);
    let Some(first) = programmed.next() else {
        // Also where what the listeners refer to keeps them all from being served.
        return both(
            false,
            "ListenersNotValid",
            "None of its listeners is valid.",
        );
    };
    let programmed = match first.status || programmed.any(|it| it.status) {
        true => {
            let message = "The ListenerSet is served.";
            Condition::new("Programmed", true, "Programmed", message)
        }
        false => first.clone(),
    };
    [accepted_set(listeners), programmed].into()
}

/// The condition `Programmed` of a listener that has a place, or is to have one.
fn programmed_of(listener: &Listener) -> Option<&Condition> {
    let has_place = listener.is_promised || listener.served_by().next().is_some();
    let mut conditions = listener.conditions.iter();
    conditions.find(|it| has_place && it.condition == "Programmed")
}

/// `Accepted` and `Programmed` for one reason.
fn both(status: bool, reason: &'static str, message: &'static str) -> Box<[Condition]> {
    ["Accepted", "Programmed"]
        .map(|condition| Condition::new(condition, status, reason, message))
        .into()
}
