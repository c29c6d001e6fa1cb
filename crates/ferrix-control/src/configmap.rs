//! `ConfigMap`: authorities that certificates are verified with, and keys of issuers. Nothing else of one is
//! kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ferrix_table::{
    filters::{client_certificate::ClientAuthorities, jwt::KeySet},
    jwks,
};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::{
    authorities::{self, Authorities},
    client_authorities::{self, REVOCATIONS},
    read::Read,
};

/// What is kept of a ConfigMap.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) authorities: Authorities,
    /// Of certificates and of what was revoked, for clients: what is written, and what was read of it once
    /// anybody asked.
    certificates: [Option<Box<str>>; 2],
    clients: OnceLock<Read<ClientAuthorities>>,
    /// Entries that may be keys of issuers.
    keys: BTreeMap<Box<str>, Read<KeySet>>,
}

/// Keeps what is read of a ConfigMap.
pub(crate) fn compile(map: &ConfigMap) -> Kept {
    let entries = map.data.iter().flatten();
    let keys = entries.filter(|(_, text)| is_key_set(text));
    let keys = keys.map(|(name, text)| {
        let read = jwks::parse(text).map(|(keys, faults)| (Arc::new(keys), faults));
        (name.as_str().into(), read)
    });
    let entry = |name: &str| Some(map.data.as_ref()?.get(name)?.as_str());
    Kept {
        authorities: authorities::parse(entry(authorities::ENTRY).map(str::as_bytes)),
        certificates: [authorities::ENTRY, REVOCATIONS].map(|name| entry(name).map(Into::into)),
        clients: OnceLock::new(),
        keys: keys.collect(),
    }
}

/// Whether anything is made of an entry.
pub(crate) fn is_kept(name: &str, text: &str) -> bool {
    [authorities::ENTRY, REVOCATIONS].contains(&name) || is_key_set(text)
}

/// Whether a text may be a set of keys: that of a ConfigMap may be anything, and long.
fn is_key_set(text: &str) -> bool {
    text.trim_start().starts_with('{') && text.contains("\"keys\"")
}

impl Kept {
    /// The keys of an issuer that an entry holds.
    pub(crate) fn keys(&self, entry: &str) -> Read<KeySet> {
        let missing = || Err(format!("it has no entry `{entry}` with a set of keys"));
        self.keys.get(entry).cloned().unwrap_or_else(missing)
    }

    /// The authorities of clients.
    pub(crate) fn client_authorities(&self) -> &Read<ClientAuthorities> {
        self.clients.get_or_init(|| {
            let [authorities, revocations] = &self.certificates;
            client_authorities::parse(
                authorities.as_deref().map(str::as_bytes),
                revocations.as_deref().map(str::as_bytes),
            )
        })
    }
}

/// What was read from the same is the same.
impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.authorities == other.authorities
            && self.certificates == other.certificates
            && self.keys == other.keys
    }
}
