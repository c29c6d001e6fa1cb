//! What filters read of objects that they name.

use std::sync::Arc;

/// What an object was read as, with what is wrong with parts of it; or why it is none.
pub(crate) type Read<T> = Result<(Arc<T>, Vec<String>), String>;
