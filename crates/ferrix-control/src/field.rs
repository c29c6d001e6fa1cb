//! Where in an object something is said.

use std::fmt;

/// The path of a field, such as `spec.route.rules[2].service`. Cheap to copy, and written out only
/// where there is something to say about the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Field {
    /// With `[]` for every place in a list.
    path: &'static str,
    /// What stands in the brackets, from the left.
    places: [u16; MAX_LISTS],
}

/// No field of any kind is in more lists than this, one inside the other.
const MAX_LISTS: usize = 3;

impl Field {
    /// A field whose path has `[]` where each of these places in a list stands.
    pub(crate) fn new<const N: usize>(path: &'static str, places: [usize; N]) -> Self {
        const { assert!(N <= MAX_LISTS) };
        debug_assert_eq!(path.matches("[]").count(), N, "{path}");
        let mut all = [0; MAX_LISTS];
        for (place, index) in all.iter_mut().zip(places) {
            *place = u16::try_from(index).unwrap_or(u16::MAX);
        }
        Self { path, places: all }
    }

    /// The path, with `[]` for every place in a list.
    pub(crate) fn path(self) -> &'static str {
        self.path
    }

    /// Without what leads to the first list: `rules[2].service`.
    pub(crate) fn short(self) -> Self {
        let list = self.path.find("[]").unwrap_or_default();
        let start = self.path[..list].rfind('.').map_or(0, |dot| dot + 1);
        Self {
            path: &self.path[start..],
            ..self
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.path.split("[]");
        f.write_str(parts.next().unwrap_or_default())?;
        for (part, place) in parts.zip(self.places) {
            write!(f, "[{place}]{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            (Field::new("spec.tls", []), "spec.tls", "spec.tls"),
            (
                Field::new("spec.route.rules[]", [2]),
                "spec.route.rules[2]",
                "rules[2]",
            ),
            (
                Field::new("spec.route.rules[].services[]", [2, 10]),
                "spec.route.rules[2].services[10]",
                "rules[2].services[10]",
            ),
            (
                Field::new("spec.rules[].http.paths[].backend", [0, 1]),
                "spec.rules[0].http.paths[1].backend",
                "rules[0].http.paths[1].backend",
            ),
        ];
        for (field, long, short) in cases {
            assert_eq!(field.to_string(), long);
            assert_eq!(field.short().to_string(), short);
        }
    }
}
