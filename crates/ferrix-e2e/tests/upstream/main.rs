//! Between the gateway and its backends: which connection carries a request, and what becomes of it
//! when that connection fails.
//!
//! ```text
//!  lifetimes     how long connections, and what requests hold, live
//!  repeats       what is sent again, and what never is
//! ```

mod lifetimes;
mod repeats;
