//! What filters have of ConfigMaps that they name.

use std::sync::Arc;

use crate::object::ObjectName;

/// What a filter has of a ConfigMap that it names.
#[derive(Debug, PartialEq, Eq)]
pub struct FromConfigMap<T> {
    /// The ConfigMap.
    pub map: ObjectName,
    /// The field that names it.
    pub field: Box<str>,
    /// What it holds, or why that is of no use, for logs and `explain`: then no request passes.
    pub held: Result<Arc<T>, Arc<str>>,
}

/// What it holds is shared.
impl<T> Clone for FromConfigMap<T> {
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
            field: self.field.clone(),
            held: self.held.clone(),
        }
    }
}

impl<T> FromConfigMap<T> {
    /// Before the ConfigMap was looked for.
    pub fn unknown(map: ObjectName, field: impl Into<Box<str>>) -> Self {
        Self {
            map,
            field: field.into(),
            held: Err("the ConfigMap was not looked for".into()),
        }
    }
}
