use super::*;

fn entry_points(names: &[&str]) -> Vec<EntryPoint> {
    names
        .iter()
        .map(|name| EntryPoint::new(name, false))
        .collect()
}

fn names(all: &EntryPoints) -> Vec<(EntryPointIndex, &str)> {
    all.iter().map(|(index, it)| (index, &*it.name)).collect()
}

#[test]
fn an_entry_point_keeps_its_index_while_others_come_and_go() {
    let first = EntryPoints::from(&*entry_points(&["a", "b", "c"]));
    assert_eq!(names(&first), [(0, "a"), (1, "b"), (2, "c")]);
    let second = first.followed_by(&entry_points(&["d", "c", "a"]));
    // `b` is in `first`, which may still be read.
    assert_eq!(names(&second), [(0, "a"), (2, "c"), (3, "d")]);
    assert_eq!(second.find("c"), Some(2));
    assert!(second.get(1).is_none());
    assert!(Arc::ptr_eq(first.get(0).unwrap(), second.get(0).unwrap()));
}

#[test]
fn an_index_is_given_to_another_only_when_nobody_has_the_last_owner() {
    let first = EntryPoints::from(&*entry_points(&["a", "b"]));
    let connection = Arc::clone(first.get(0).unwrap());
    let second = first.followed_by(&entry_points(&["b"]));
    drop(first);
    let third = second.followed_by(&entry_points(&["b", "c"]));
    assert_eq!(names(&third), [(1, "b"), (2, "c")]);
    drop(connection);
    let fourth = third.followed_by(&entry_points(&["b", "c", "d"]));
    assert_eq!(names(&fourth), [(0, "d"), (1, "b"), (2, "c")]);
}

#[test]
fn one_that_changes_keeps_its_index_and_one_name_is_one_entry_point() {
    let first = EntryPoints::from(&*entry_points(&["a", "b"]));
    let secure = EntryPoint::new("b", true);
    let second = first.followed_by(&[secure.clone(), EntryPoint::new("b", false)]);
    assert_eq!(names(&second), [(1, "b")]);
    assert_eq!(**second.get(1).unwrap(), secure);
    let twice = EntryPoints::from(&*entry_points(&["a", "a"]));
    assert_eq!(names(&twice), [(0, "a")]);
}
