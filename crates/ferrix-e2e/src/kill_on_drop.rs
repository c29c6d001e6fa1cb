//! Programs that end with the test that started them.

use std::process::Child;

/// A process that ends with this.
pub struct KillOnDrop(pub Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
