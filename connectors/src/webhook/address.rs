//! Which addresses a webhook may be sent to when private ones are refused: names are looked up here, and only public
//! addresses are handed to the client, so that a name cannot be changed between a check and its use. No state.

use headwater_core::{Error, Result};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Looks names up and leaves private addresses out.
#[derive(Debug)]
pub(super) struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(format!("'{}' has no public address", name.as_str()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Refuses an address that is written as a number; names are looked up when a connection is made.
pub(super) fn check(url: &Url) -> Result<()> {
    let host = url.host_str().unwrap_or_default();
    let number: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    if number.is_none_or(is_public) && !host.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    Err(Error::invalid(format!("the option 'url' names '{host}', which is a private address"))
        .with_help("use a public address, or leave out private_addresses = 'refuse'"))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_reserved = a == 0 || a >= 240 || (a == 192 && b == 0 && address.octets()[2] == 0);
    let is_for_tests = a == 198 && (18..20).contains(&b);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || is_shared
        || is_reserved
        || is_for_tests)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [a, b, .., g, h] = address.segments();
    // Addresses that carry one of the older kind: NAT64 and 6to4.
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    if a == 0x64 && b == 0xff9b {
        return is_public_v4(inner(g, h));
    }
    if a == 0x2002 {
        return is_public_v4(inner(b, address.segments()[2]));
    }
    // Only 2000::/3 is given out.
    a & 0xe000 == 0x2000 && !(a == 0x2001 && b == 0xdb8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_known() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
            "2001:db8::1",
        ];
        for text in private {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn a_number_is_refused_and_a_name_is_looked_up_later() {
        for url in ["http://127.0.0.1:9/x", "http://[::1]/", "http://localhost/", "http://2130706433/"] {
            assert!(check(&url.parse().expect("an address")).is_err(), "{url}");
        }
        check(&"https://example.org/".parse().expect("an address")).expect("is a name");
    }
}
