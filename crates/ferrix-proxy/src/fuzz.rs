//! Readers of what clients send to say who they are, for fuzz targets: nobody else outside of this crate needs them.

use ferrix_table::filters::jwt::KeySet;

use crate::filters::jwt;
pub use crate::filters::oidc::reading::{Reading, read};

/// Whether one of these keys has signed a token.
pub fn is_signed(keys: &KeySet, token: &[u8]) -> bool {
    jwt::signed(keys, token).is_some()
}
