//! A network namespace from which one way leads to a proxy and all others to a counter.
//!
//! Two links leave it. `px` leads to the proxy's address and nowhere else. `out` is where everything else would go:
//! it has the default route and the name server. What the kernel counts on `out` and on loopback is therefore every
//! packet that was not for the proxy, ARP for a stranger included. Needs root and iproute2.

use std::net::Ipv4Addr;
use std::process::Command;

/// The namespace; goes, with its links, when dropped.
pub struct Walls {
    name: String,
    net: [u8; 3],
}

impl Walls {
    /// A new namespace. `None` where this machine [cannot](super::cannot) have one.
    pub fn build() -> Option<Self> {
        let [a, b, c, d] = getrandom::u32().unwrap().to_be_bytes();
        let walls = Self {
            name: format!("sd{a:02x}{b:02x}{c:02x}{d:02x}"),
            net: [10, 200 + a % 50, b],
        };
        match walls.raise() {
            Ok(()) => Some(walls),
            Err(reason) => {
                super::cannot(&format!("no network namespace: {reason}"));
                None
            }
        }
    }

    fn raise(&self) -> Result<(), String> {
        let name = &self.name;
        ip(&format!("netns add {name}"))?;
        // A name server that only `out` leads to. `ip netns exec` puts it in place of the machine's own.
        let config = format!("/etc/netns/{name}");
        std::fs::create_dir_all(&config)
            .and_then(|()| {
                let line = format!("nameserver {}\n", self.address(5));
                std::fs::write(format!("{config}/resolv.conf"), line)
            })
            .map_err(|error| error.to_string())?;
        // Nothing is to be heard of IPv6, which talks by itself.
        let quiet = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
        run("ip", &["netns", "exec", name, "sh", "-c", quiet])?;
        ip(&format!("-n {name} link set lo up"))?;
        for (inside, end, host, own) in [("px", "p", 1, 2), ("out", "o", 5, 6)] {
            let (host, own) = (self.address(host), self.address(own));
            let end = format!("{name}{end}");
            ip(&format!(
                "link add {end} type veth peer name {inside} netns {name}"
            ))?;
            ip(&format!("addr add {host}/30 dev {end}"))?;
            ip(&format!("link set {end} up"))?;
            ip(&format!("-n {name} addr add {own}/30 dev {inside}"))?;
            ip(&format!("-n {name} link set {inside} up"))?;
        }
        ip(&format!(
            "-n {name} route add default via {}",
            self.address(5)
        ))
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Name for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the proxy is to listen; from inside, the one address that `px` leads to.
    pub fn proxy(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// Packets sent from inside to anywhere but the proxy's address.
    pub fn escaped(&self) -> u64 {
        ["lo", "out"].map(|link| self.sent(link)).iter().sum()
    }

    /// Packets sent from inside to the proxy's address.
    pub fn to_proxy(&self) -> u64 {
        self.sent("px")
    }

    /// Changes something inside, in the words of `ip`.
    pub fn change(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name)).unwrap();
    }

    fn sent(&self, link: &str) -> u64 {
        let file = format!("/sys/class/net/{link}/statistics/tx_packets");
        let text = run("ip", &["netns", "exec", &self.name, "cat", &file]).unwrap();
        text.trim().parse().unwrap()
    }
}

impl Drop for Walls {
    fn drop(&mut self) {
        // The links go with the namespace. Fails only where it never came to be.
        let _ = ip(&format!("netns del {}", self.name));
        let _ = std::fs::remove_dir_all(format!("/etc/netns/{}", self.name));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    run("ip", &arguments).map(drop)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {arguments:?}: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
