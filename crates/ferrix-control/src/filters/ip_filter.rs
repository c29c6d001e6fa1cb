//! Filters of addresses, as they are written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::ip_filter::IpFilter;
use ipnet::IpNet;

use super::Faults;
use crate::report::Reason;

pub(super) fn compile(written: &filter::IpFilter, field: &str, faults: &mut Faults) -> IpFilter {
    if written.allow.is_empty() && written.deny.is_empty() {
        let message = "expected `allow`, `deny` or both";
        faults.add(Reason::InvalidSpec, field, message);
    }
    let mut list =
        |texts: &[String], name: &str| networks(texts, &format!("{field}.{name}"), faults);
    let (allow, deny) = (list(&written.allow, "allow"), list(&written.deny, "deny"));
    if let Some(both) = deny.iter().find(|it| allow.contains(it)) {
        let message = format!("{both} is in `allow` as well; which is meant cannot be told");
        faults.add(Reason::InvalidSpec, format!("{field}.deny"), message);
    }
    IpFilter::new(allow, deny)
}

fn networks(texts: &[String], field: &str, faults: &mut Faults) -> Box<[IpNet]> {
    let mut networks = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match ferrix_rule::network(text) {
            Some(network) => networks.push(network),
            None => {
                let message = format!(
                    "`{text}` is no address and no network; expected such as `192.0.2.1`, \
                     `10.0.0.0/8` or `2001:db8::/32`"
                );
                faults.add(Reason::InvalidSpec, format!("{field}[{at}]"), message);
            }
        }
    }
    networks.into()
}
