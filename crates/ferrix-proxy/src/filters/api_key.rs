//! API keys at work.
//!
//! Keys are looked for by their digests: the time that takes tells nothing of any key.

use std::collections::HashMap;

use ferrix_http1::RequestHead;
use ferrix_table::filters::api_key::{ApiClients, ApiKey};

use super::credentials::{self, Found};
use crate::{
    failure::Failure,
    secret_digest::{self, SecretDigest},
};

/// The place of each client, by the digest of its key.
struct ByKey(HashMap<SecretDigest, usize>);

/// Lets a client pass that has a key.
///
/// # Errors
/// [`Failure::Unauthenticated`]: it has none. [`Failure::Unresolved`]: nobody knows which there are.
pub(crate) fn check(auth: &ApiKey, head: &mut RequestHead) -> Result<(), Failure> {
    let clients = auth.clients.held.as_ref();
    let clients = clients.map_err(|_| Failure::Unresolved)?;
    let client = match credentials::find(&auth.place, head) {
        Found::One(key) => client(clients, &key),
        Found::Nothing | Found::Several => None,
    };
    let client = client.ok_or_else(|| Failure::Unauthenticated("ApiKey".into()))?;
    if auth.hide_credentials {
        credentials::take_out(&auth.place, head);
    }
    if let Some(header) = &auth.client_header {
        head.fields.set(header, client.as_bytes());
    }
    Ok(())
}

/// The client that has a key.
fn client<'c>(clients: &'c ApiClients, key: &[u8]) -> Option<&'c str> {
    let by_key = clients.prepared.get_or_make(|| {
        let places = clients.all.iter().enumerate();
        let digests = places.map(|(place, (_, key))| (secret_digest::of(&[key.as_bytes()]), place));
        ByKey(digests.collect())
    })?;
    let place = by_key.0.get(&secret_digest::of(&[key]))?;
    clients.all.get(*place).map(|(name, _)| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_keys() {
        let all = [("a", "key-1"), ("b", "key-2")];
        let all = all.map(|(name, key)| (name.into(), key.into()));
        let clients = ApiClients::new(all).unwrap();
        let found = |key: &str| client(&clients, key.as_bytes());
        assert_eq!(found("key-1"), Some("a"));
        assert_eq!(found("key-2"), Some("b"));
        for none in ["", "key-", "key-12", "a", "KEY-1"] {
            assert_eq!(found(none), None);
        }
        // One digest and one look-up by it, whatever of a key is right.
        for key in ["key-1", "key-2", "key-3", "k", "x", ""] {
            let before = secret_digest::MADE.get();
            found(key);
            assert_eq!(secret_digest::MADE.get() - before, 1, "{key}");
        }
    }
}
