//! Between the gateway and its backends: which connection carries a request, and what becomes of it
//! when that connection fails.
//!
//! ```text
//!  connecting    how a request comes to a connection where endpoints hang, fail or go
//!  lifetimes     how long connections, and what requests hold, live
//!  limits        how many connections there are at once
//!  repeats       what is sent again, and what never is
//! ```

mod connecting;
mod lifetimes;
mod limits;
mod repeats;
