//! Between the gateway and its backends: which connection carries a request, and what becomes of it
//! when that connection fails.
//!
//! ```text
//!  repeats       what is sent again, and what never is
//! ```

mod repeats;
