//! One copy of each name, and of whatever else is the same in many objects.
//!
//! The same few namespaces stand in every object, and the name of a Service in its slices and in
//! the routes that forward to it.

use std::{
    borrow::Borrow,
    cell::RefCell,
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::Arc,
    thread::LocalKey,
};

use ferrix_rule::{ParseError, Rule};
use ferrix_table::object::ObjectName;

/// The label on every object of an installation: its name.
pub(crate) const INSTALLATION: &str = "ferrix.com/installation";

thread_local! {
    /// Of this thread, so that nobody waits: a source decodes and stores on one.
    static NAMES: RefCell<Known<Arc<str>>> = RefCell::default();
    static OBJECTS: RefCell<Known<ObjectName>> = RefCell::default();
    static BYTES: RefCell<Known<Arc<[u8]>>> = RefCell::default();
    static RULES: RefCell<Known<ByText>> = RefCell::default();
}

/// Values that those share who ask for them.
#[derive(Debug)]
pub(crate) struct Known<T> {
    known: HashSet<T>,
    /// When there are more, those that nothing has any more are forgotten.
    bound: usize,
}

/// Fewer are not worth to be looked through.
const MIN_BOUND: usize = 256;

/// What has copies that are cheap, and knows of them.
pub(crate) trait Shared: Clone {
    /// Whether this copy is not the only one.
    fn is_shared(&self) -> bool;
}

/// A rule, found by its text.
#[derive(Clone, Debug)]
struct ByText(Rule);

/// The copy of a name that all share who ask for it.
pub(crate) fn shared(name: &str) -> Arc<str> {
    NAMES.with_borrow_mut(|names| names.shared(name, || name.into()))
}

/// The same for the name of an object.
pub(crate) fn shared_name(namespace: &str, name: &str) -> ObjectName {
    let name = ObjectName::new(shared(namespace), name);
    OBJECTS.with_borrow_mut(|names| names.shared(&name, || name.clone()))
}

/// The same for bytes.
pub(crate) fn shared_bytes(bytes: &[u8]) -> Arc<[u8]> {
    BYTES.with_borrow_mut(|known| known.shared(bytes, || bytes.into()))
}

/// The same for a list, among those of its type that a thread knows.
pub(crate) fn shared_list<T: Hash + Eq>(
    known: &'static LocalKey<RefCell<Known<Arc<[T]>>>>,
    list: impl IntoIterator<Item = T>,
) -> Arc<[T]> {
    let mut list = list.into_iter().collect();
    known.with_borrow_mut(|known| known.share(&mut list));
    list
}

/// The rule of a text. Most routes have one of a few, such as all below `/`.
pub(crate) fn shared_rule(text: &str) -> Result<Rule, ParseError> {
    if let Some(ByText(rule)) = RULES.with_borrow(|rules| rules.get(text)) {
        return Ok(rule);
    }
    let rule = Rule::parse(text)?;
    RULES.with_borrow_mut(|rules| rules.insert(ByText(rule.clone())));
    Ok(rule)
}

/// What can be the name of an object and the value of a label: pods' names are, a machine's may not
/// be.
pub(crate) fn label(name: &str) -> String {
    const LONGEST: usize = 63;
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let name: String = (name.to_ascii_lowercase().chars())
        .map(|letter| if fits(letter) { letter } else { '-' })
        .take(LONGEST)
        .collect();
    match name.trim_matches('-') {
        "" => "ferrix".to_owned(),
        name => name.to_owned(),
    }
}

impl ByText {
    fn text(&self) -> &str {
        self.0.text().unwrap_or_default()
    }
}

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        self.text()
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for ByText {}

impl Shared for ByText {
    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }
}

impl<T: ?Sized> Shared for Arc<T> {
    fn is_shared(&self) -> bool {
        Arc::strong_count(self) > 1
    }
}

impl Shared for ObjectName {
    fn is_shared(&self) -> bool {
        self.is_shared()
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            bound: 0,
        }
    }
}

impl<T: Shared + Hash + Eq> Known<T> {
    /// Puts the copy that all share in the place of an equal value.
    pub(crate) fn share(&mut self, value: &mut T) {
        *value = self.shared(value, || value.clone());
    }

    fn shared<Q>(&mut self, value: &Q, make: impl FnOnce() -> T) -> T
    where
        T: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        self.get(value).unwrap_or_else(|| {
            let value = make();
            self.insert(value.clone());
            value
        })
    }

    fn get<Q>(&self, value: &Q) -> Option<T>
    where
        T: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        self.known.get(value).cloned()
    }

    fn insert(&mut self, value: T) {
        if self.known.len() >= self.bound {
            self.known.retain(Shared::is_shared);
            // Twice as many, so that the work is in proportion to what is new.
            self.bound = (2 * self.known.len()).max(MIN_BOUND);
        }
        self.known.insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one() {
        assert!(Arc::ptr_eq(&shared("a"), &shared("a")));
        assert!(!Arc::ptr_eq(&shared("a"), &shared("b")));
    }

    #[test]
    fn names_that_nothing_has_are_forgotten() {
        let mut names = Known::<ObjectName>::default();
        let mut shared = |name: &str| {
            let name = ObjectName::new("default", name);
            names.shared(&name, || name.clone())
        };
        let kept = shared("kept");
        for number in 0..10 * MIN_BOUND {
            shared(&number.to_string());
        }
        assert!(std::ptr::eq(&*shared("kept"), &*kept));
        assert!(names.known.len() <= MIN_BOUND);
    }
}
