//! How the parts of a table name one another.

/// Position of an entry point in [`Table::entry_points`](crate::Table::entry_points), the same for
/// the life of the process.
pub type EntryPointIndex = u16;

/// Position of a socket in [`Table::entry_points`](crate::Table::entry_points), the same for as long
/// as there are connections of it.
pub type SocketIndex = u16;

/// Position of a service in [`Table::services`](crate::Table::services).
pub type ServiceIndex = u32;
