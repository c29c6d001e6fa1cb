//! Lists that nearly all objects have nothing in.

use std::{fmt, ops::Deref};

use serde::{Serialize, Serializer};

/// A list that is nearly always empty, and then takes 8 bytes, where a boxed slice takes 16 and a `Vec`
/// 24. Where there is anything in it, that costs one more allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Rare<T>(Option<Box<Box<[T]>>>);

impl<T> Deref for Rare<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Some(list) => list,
            None => &[],
        }
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<Vec<T>> for Rare<T> {
    fn from(list: Vec<T>) -> Self {
        Self((!list.is_empty()).then(|| Box::new(list.into())))
    }
}

impl<T, const N: usize> From<[T; N]> for Rare<T> {
    fn from(list: [T; N]) -> Self {
        Vec::from(list).into()
    }
}

impl<T> FromIterator<T> for Rare<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<'r, T> IntoIterator for &'r Rare<T> {
    type Item = &'r T;
    type IntoIter = std::slice::Iter<'r, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> IntoIterator for Rare<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0
            .map_or_else(Vec::new, |list| list.into_vec())
            .into_iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_was_put_in() {
        for list in [vec![], vec![1], vec![1, 2]] {
            let rare = Rare::from(list.clone());
            assert_eq!(*rare, *list);
            assert_eq!(rare.into_iter().collect::<Vec<_>>(), list);
        }
        assert_eq!(size_of::<Rare<String>>(), 8);
    }
}
