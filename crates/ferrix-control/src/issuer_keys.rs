//! Keys of issuers at URLs: what was fetched of each.
//!
//! They are fetched elsewhere. What a fetch came to is an input like any object, so that translation itself
//! fetches nothing.

use std::sync::Arc;

use ferrix_table::{
    filters::jwt::{KeySet, Renewal},
    jwks,
};

/// Keys as they were fetched, with what is wrong with some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedKeys {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// A sentence for each key that cannot be used.
    pub faults: Vec<String>,
}

impl FetchedKeys {
    /// Reads a set.
    ///
    /// # Errors
    /// Why it has no key that can be used, in a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (keys, faults) = jwks::parse(text)?;
        let keys = Arc::new(keys);
        Ok(Self { keys, faults })
    }
}

/// What a fetch came to: keys, or why there are none, in a sentence.
pub type Fetched = Result<FetchedKeys, Arc<str>>;

/// What is known of the keys at a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownKeys {
    /// Those fetched last, for as long as nothing newer is fetched.
    pub(crate) last: Option<FetchedKeys>,
    /// Why the newest fetch failed.
    pub(crate) trouble: Option<Arc<str>>,
    pub(crate) renewal: Renewal,
}

impl KnownKeys {
    /// What is known after another fetch.
    pub(crate) fn after(self, fetched: Fetched, renewal: Renewal) -> Self {
        let (last, trouble) = match fetched {
            // What was verified by the same keys is verified still.
            Ok(fetched) => match self.last {
                Some(last) if last == fetched => (Some(last), None),
                _ => (Some(fetched), None),
            },
            Err(why) => (self.last, Some(why)),
        };
        Self {
            last,
            trouble,
            renewal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(kid: &str) -> FetchedKeys {
        let text = format!(
            r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "{kid}", "x": "{}"}}]}}"#,
            "A".repeat(43)
        );
        FetchedKeys::parse(&text).unwrap()
    }

    #[test]
    fn keys_stay_while_nothing_newer_is_fetched() {
        let never = KnownKeys::default();
        let lost = never.after(Err("no answer".into()), Renewal::default());
        assert_eq!(lost.last, None);
        let found = lost.after(Ok(fetched("a")), Renewal::default());
        assert_eq!(found.trouble, None);
        let first = Arc::clone(&found.last.as_ref().unwrap().keys);
        let mut known = found;
        for _ in 0..3 {
            known = known.after(Err("no answer".into()), Renewal::default());
            assert_eq!(known.trouble.as_deref(), Some("no answer"));
        }
        // The same keys: what was verified by them stays.
        known = known.after(Ok(fetched("a")), Renewal::default());
        assert_eq!(known.trouble, None);
        assert!(Arc::ptr_eq(&known.last.as_ref().unwrap().keys, &first));
        known = known.after(Ok(fetched("b")), Renewal::default());
        assert!(!Arc::ptr_eq(&known.last.unwrap().keys, &first));
    }
}
