//! What filters have of Secrets that they name.

use std::sync::Arc;

use crate::object::ObjectName;

/// What a filter has of a Secret that it names.
#[derive(Debug, PartialEq, Eq)]
pub struct FromSecret<T> {
    /// The Secret.
    pub secret: ObjectName,
    /// The field that names it.
    pub field: Box<str>,
    /// What it holds, or why that is of no use, for logs and `explain`: then no request passes.
    pub held: Result<Arc<T>, Arc<str>>,
}

/// What it holds is shared.
impl<T> Clone for FromSecret<T> {
    fn clone(&self) -> Self {
        self.holding(self.held.clone())
    }
}

impl<T> FromSecret<T> {
    /// Before the Secret was looked for.
    pub fn unknown(secret: ObjectName, field: impl Into<Box<str>>) -> Self {
        Self {
            secret,
            field: field.into(),
            held: Err("the Secret was not looked for".into()),
        }
    }

    /// The same, now that the Secret was looked for.
    pub fn holding(&self, held: Result<Arc<T>, Arc<str>>) -> Self {
        Self {
            secret: self.secret.clone(),
            field: self.field.clone(),
            held,
        }
    }
}
