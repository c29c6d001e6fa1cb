//! The CRD that the repository ships is the one that the types give.

use std::{env, fs, path::Path};

#[test]
fn the_shipped_crd_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/k8s/ingressroute.yaml");
    let current = ferrix_api::crd_yaml();
    if env::var_os("FERRIX_REFRESH").is_some() {
        fs::write(&path, &current).expect("the CRD can be written");
    }
    let shipped = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shipped == current,
        "{} is not what the types give; FERRIX_REFRESH=1 cargo test -p ferrix-api writes it",
        path.display()
    );
}
