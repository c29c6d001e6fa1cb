//! Threads beside the workers, each with a runtime of its own: what runs there delays no request.

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// A thread that ends, with all that runs on it, when this is dropped.
pub(crate) struct BackgroundThread {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl BackgroundThread {
    /// # Errors
    /// What the system says to a further thread.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // The sender is dropped, never used.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
