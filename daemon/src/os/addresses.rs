//! The addresses of this machine, from `/proc/net`: needs neither privileges nor the socket family that the service may not open.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::certificate::is_home;

/// Those under which others in the home find this machine for more than a while: no loopback, no link-local ones, none of the Internet's,
/// and no temporary ones (RFC 8981). Empty where the kernel says nothing.
pub fn own() -> BTreeSet<IpAddr> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let four = four(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::V4);
    let six = six(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::V6);
    four.chain(six).filter(|ip| is_home(*ip) && !ip.is_loopback()).collect()
}

/// The addresses that the kernel calls its own, each on a line before the one that says so. A broadcast address, or that of a network, is
/// no `host LOCAL` of 32 bits.
fn four(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut last = None;
    let mut found = BTreeSet::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last.filter(|ip| !ip.is_link_local()));
        }
    }
    found
}

/// Address, interface number, prefix length, scope, flags, name: all but the last in hex (proc_pid_net(5)). The flags are those of
/// `linux/if_addr.h`.
fn six(table: &str) -> BTreeSet<Ipv6Addr> {
    const TEMPORARY: u8 = 0x01;
    const DEPRECATED: u8 = 0x20;
    const TENTATIVE: u8 = 0x40;
    let address = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok().map(Ipv6Addr::from)?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        let stays = flags & (TEMPORARY | DEPRECATED | TENTATIVE) == 0;
        (stays && !address.is_unicast_link_local()).then_some(address)
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_calls_its_own() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 192.168.1.0\n        /24 link UNICAST\n     \
            |-- 192.168.1.9\n        /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\nLocal:\n     |-- 169.254.7.7\n        \
            /32 host LOCAL\n     |-- 192.168.1.9\n        /32 host LOCAL\n     |-- 127.0.0.0\n        /8 host LOCAL\n";
        assert_eq!(four(trie), BTreeSet::from([Ipv4Addr::new(192, 168, 1, 9)]));
        let table = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
            fd000000000000001111222233334444 04 40 00 01     eth0\n\
            fd000000000000001111222233335555 04 40 00 60     eth0\n\
            fe8000000000000000fc00fffe000001 04 40 20 80     eth0\nnonsense\n";
        assert_eq!(six(table), BTreeSet::from(["fd00::2".parse().unwrap()]));
        assert!(four("").is_empty() && six("x\n0\n").is_empty());
    }

    #[test]
    fn this_machine_has_no_address_that_is_nobodys() {
        assert!(own().iter().all(|ip| is_home(*ip) && !ip.is_loopback()));
    }
}
