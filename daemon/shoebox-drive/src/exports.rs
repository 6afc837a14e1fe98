//! What the NFS server is told: which networks, which options, which number. Values in, text out.
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

/// A network as exports(5) takes it: an address and the length of its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no such network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network of a home, as 192.168.1.0/24 and fd00::/8 are")]
pub struct BadNetwork(String);

/// What a home's network may be (RFC 1918, RFC 3927, RFC 4193, RFC 4291 2.5.6), and this machine, which looks whether the server works.
const HOMES: [(&str, u8); 8] = [
    ("127.0.0.0", 8),
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("169.254.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
    ("fe80::", 10),
];

impl Network {
    /// All that a home's may be.
    pub fn homes() -> Vec<Self> {
        let one = |(text, prefix): &(&str, u8)| Some(Self { address: text.parse().ok()?, prefix: *prefix });
        HOMES.iter().filter_map(one).collect()
    }

    /// This machine.
    pub fn own() -> Vec<Self> {
        Self::homes().into_iter().filter(|network| network.address.is_loopback()).collect()
    }

    fn has(&self, other: &Self) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let ((own, width), (its, others)) = (bits(self.address), bits(other.address));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        width == others && self.prefix <= other.prefix && own & mask == its & mask
    }
}

impl FromStr for Network {
    type Err = BadNetwork;
    /// Photos of a family are for nobody else: a network that is no home's is not understood, and neither is "everybody".
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let network =
            Self { address: address.parse().map_err(|_| bad())?, prefix: prefix.parse().map_err(|_| bad())? };
        let widest = if network.address.is_ipv4() { 32 } else { 128 };
        let home = network.prefix <= widest && Self::homes().iter().any(|home| home.has(&network));
        if home { Ok(network) } else { Err(bad()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What clients know the photos by, whichever drive has them: half of a pool's id. 0 is the root of all exports (exports(5)), and never one.
pub fn number(pool: &str) -> u32 {
    pool.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(1).max(1)
}

/// Everybody is nobody: what a client says of its user is worth nothing (exports(5), "User ID Mapping").
///
/// `insecure`: macOS asks from ports above 1023 unless told otherwise, and who is root on a computer of the house is not asked anyway.
/// `subtree_check`: a handle that somebody made up is one of a file below what is exported, or it is refused.
const OPTIONS: &str = "ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys";

/// The lines for exports(5): the root of what NFSv4 shows, where that is the box's to say, and the photos in it.
pub fn lines(root: &Path, photos: &Path, number: u32, networks: &[Network], is_root: bool) -> String {
    let mut text = String::from(
        "# Written by shoebox-drive; what is changed here is lost. Networks: /etc/shoebox/drive.toml\n",
    );
    let mut line = |at: &Path, more: &str| {
        let mut own = Network::own();
        own.retain(|own| !networks.contains(own));
        let to: Vec<String> =
            networks.iter().chain(&own).map(|network| format!("{network}({OPTIONS},{more})")).collect();
        // Quotes, for a place with a blank in it.
        text.push_str(&format!("\"{}\" {}\n", at.display(), to.join(" ")));
    };
    if is_root {
        line(root, "fsid=0");
    }
    // `mountpoint`: nothing at all while no drive is there, instead of the empty folder.
    line(photos, &format!("fsid={number},mountpoint"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_networks_of_a_home_are_understood() {
        for good in
            ["192.168.178.0/24", "10.0.0.0/8", "172.31.0.0/16", "fd12:3456::/48", "fe80::/64", "127.0.0.1/32"]
        {
            assert_eq!(good.parse::<Network>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "*",
            "0.0.0.0/0",
            "::/0",
            "8.8.8.0/24",
            "192.0.0.0/8",
            "172.32.0.0/16",
            "10.0.0.0",
            "10.0.0.0/33",
            "2001:db8::/32",
            "192.168.0.0/24(rw)",
            "192.168.0.0/24 *",
            "box.local",
            "@all",
            "10.0.0.0/7",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork(bad.to_owned())));
        }
        assert_eq!(Network::homes().len(), HOMES.len(), "each of them is understood");
    }

    #[test]
    fn the_number_is_the_pools_and_never_the_roots() {
        assert_eq!(number("00112233445566778899aabbccddeeff"), 0x0011_2233);
        assert_eq!(number("ffffffff000000000000000000000000"), u32::MAX);
        assert_eq!(number(&"0".repeat(32)), 1);
    }

    #[test]
    fn the_lines_read_so() {
        let networks = ["192.168.1.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let text = lines(Path::new("/srv/n"), Path::new("/srv/n/photos"), 77, &networks, true);
        expect_test::expect![[r#"
            # Written by shoebox-drive; what is changed here is lost. Networks: /etc/shoebox/drive.toml
            "/srv/n" 192.168.1.0/24(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=0) fd00::/8(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=0) 127.0.0.0/8(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=0) ::1/128(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=0)
            "/srv/n/photos" 192.168.1.0/24(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=77,mountpoint) fd00::/8(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=77,mountpoint) 127.0.0.0/8(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=77,mountpoint) ::1/128(ro,sync,all_squash,anonuid=65534,anongid=65534,insecure,subtree_check,sec=sys,fsid=77,mountpoint)
        "#]]
        .assert_eq(&text);
        let text = lines(Path::new("/srv/n"), Path::new("/srv/n/photos"), 77, &networks, false);
        assert!(!text.contains("fsid=0"), "the root of what NFSv4 shows is somebody else's");
    }
}
