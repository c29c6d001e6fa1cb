//! What filters have of Secrets and ConfigMaps that they name.

use std::sync::Arc;

use crate::object::Key;

/// What a filter has of an object that it names.
#[derive(Debug, PartialEq, Eq)]
pub struct FromObject<T> {
    /// The Secret or the ConfigMap.
    pub named: Key,
    /// The field that names it.
    pub field: Box<str>,
    /// What it holds, or why that is of no use, for logs and `explain`: then no request passes.
    pub held: Result<Arc<T>, Arc<str>>,
}

/// What it holds is shared.
impl<T> Clone for FromObject<T> {
    fn clone(&self) -> Self {
        self.holding(self.held.clone())
    }
}

impl<T> FromObject<T> {
    /// Before the object was looked for.
    pub fn unknown(named: Key, field: impl Into<Box<str>>) -> Self {
        let held = Err(format!("the {} was not looked for", named.kind).into());
        let field = field.into();
        Self { named, field, held }
    }

    /// The same, now that the object was looked for.
    pub fn holding(&self, held: Result<Arc<T>, Arc<str>>) -> Self {
        Self {
            named: self.named.clone(),
            field: self.field.clone(),
            held,
        }
    }
}
