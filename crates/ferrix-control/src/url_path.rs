//! Paths of URLs, as an Ingress and the Gateway API have them, in the form that rules are matched in.
//!
//! An IngressRoute is written in that form, as Traefik has it. The definitions of the others take what a URL
//! may hold: there `/caf%C3%A9` is the path of requests for that, which rules see as `/café`.

use ferrix_table::path::{self, PathOptions};

/// The most that a request can have: who does not merge slashes has more paths.
pub(crate) const AS_SENT: PathOptions = PathOptions {
    merge_slashes: false,
    refuse_encoded_slashes: false,
};

/// A whole path, or one that others lie below. What no request has stays as it is.
pub(crate) fn routing_form(written: &str) -> String {
    match path::canonical(written, &AS_SENT) {
        Ok(canonical) if !written.contains('?') => canonical.routing_path.into_owned(),
        _ => written.to_owned(),
    }
}

/// What paths begin with, of which the last segment may be a part.
pub(crate) fn routing_form_of_beginning(written: &str) -> String {
    let mut form = routing_form(&format!("{written}x"));
    form.pop();
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says_and_what_rules_see() {
        let cases = [
            ("/", "/", "/"),
            ("/a/B/", "/a/B/", "/a/B/"),
            ("/caf%C3%A9", "/café", "/café"),
            ("/caf%c3%a9/", "/café/", "/café/"),
            ("/café", "/café", "/café"),
            ("/%7Euser", "/~user", "/~user"),
            ("/a%20b", "/a b", "/a b"),
            // Reserved characters are others than their encodings.
            ("/a%2fb:c", "/a%2Fb:c", "/a%2Fb:c"),
            ("/a/../b", "/b", "/b"),
            ("/a/.", "/a/", "/a/."),
            ("/a//b", "/a//b", "/a//b"),
            // No request has these.
            ("a", "a", "a"),
            ("", "", ""),
            ("/a?b", "/a?b", "/a?b"),
            ("/a b", "/a b", "/a b"),
            ("/%4", "/%4", "/%4"),
        ];
        for (written, whole, beginning) in cases {
            assert_eq!(routing_form(written), whole, "{written}");
            assert_eq!(routing_form_of_beginning(written), beginning, "{written}");
        }
        assert_eq!(cases.len(), 16);
    }
}
