use crate::testing::{address, service};

#[test]
fn each_in_turn() {
    let service = service("a", &[1, 2, 3]);
    let picked: Vec<_> = (0..7)
        .map(|_| service.pick(&[]).unwrap().address.port())
        .collect();
    assert_eq!(picked, [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn none_twice() {
    let service = service("a", &[1, 2, 3]);
    let mut tried = Vec::new();
    while let Some(endpoint) = service.pick(&tried) {
        assert!(!tried.contains(&endpoint.address));
        tried.push(endpoint.address);
    }
    assert_eq!(tried.len(), 3);
}

#[test]
fn one_or_none() {
    assert!(service("a", &[]).pick(&[]).is_none());
    let single = service("a", &[1]);
    assert_eq!(single.pick(&[]).unwrap().address, address(1));
    assert_eq!(single.pick(&[address(2)]).unwrap().address, address(1));
    assert!(single.pick(&[address(1)]).is_none());
    assert_eq!(single.state.rotation.position(), 0);
}
