//! What was probably meant.

/// How many hosts are named at most.
const HOSTS: usize = 3;

/// Those of `hosts`, names or `*.` and a name, that are most like `host`, the most likely first.
pub(crate) fn nearest_hosts<'h>(
    host: &str,
    hosts: impl IntoIterator<Item = &'h str>,
) -> Vec<&'h str> {
    let scored = hosts
        .into_iter()
        .filter_map(|it| Some((unlikeness(host, it)?, it)));
    let mut scored: Vec<_> = scored.collect();
    scored.sort_unstable();
    scored.dedup();
    scored.truncate(HOSTS);
    scored.into_iter().map(|(_, host)| host).collect()
}

/// How unlikely it is that one host was meant by the other; `None`: there is nothing in common.
fn unlikeness(asked: &str, known: &str) -> Option<usize> {
    let (name, wildcard) = match known.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (known, false),
    };
    let is_below = |host: &str, domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    // One label too many or too few: `www.example.com`, or `example.com` for `*.example.com`.
    let related = asked == name || is_below(asked, name) || is_below(name, asked);
    if related {
        return Some(1);
    }
    let one_label_less = asked.split_once('.').map_or(asked, |(_, domain)| domain);
    let compared = if wildcard { one_label_less } else { asked };
    let distance = strsim::levenshtein(compared, name);
    (distance <= 2 && distance < compared.len() / 2).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let known = [
            "shop.example.com",
            "api.example.com",
            "*.example.org",
            "example.net",
            "localhost",
            "completely.different.test",
        ];
        let cases: [(&str, &[&str]); 9] = [
            ("shpo.example.com", &["shop.example.com"]),
            ("apis.example.com", &["api.example.com"]),
            ("www.shop.example.com", &["shop.example.com"]),
            ("example.com", &["api.example.com", "shop.example.com"]),
            ("example.org", &["*.example.org"]),
            ("a.b.example.org", &["*.example.org"]),
            ("www.example.net", &["example.net"]),
            ("locahost", &["localhost"]),
            ("nothing.like.it", &[]),
        ];
        for (asked, expected) in cases {
            assert_eq!(nearest_hosts(asked, known), expected, "{asked}");
        }
        let many: Vec<_> = (0..9).map(|it| format!("{it}.example.com")).collect();
        let many = many.iter().map(String::as_str);
        assert_eq!(nearest_hosts("x.example.com", many).len(), HOSTS);
    }
}
