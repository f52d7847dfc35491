//! What sockets are connected to, by their inodes, as `/proc` lists those of a network namespace.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::symbols::printable;

/// The sockets that one process can have; the lists are read when the first is asked for.
pub struct Sockets {
    folder: Option<String>,
    names: OnceCell<HashMap<u64, String>>,
}

/// What is read of each list.
const MOST_BYTES: u64 = 8 << 20;
/// In a list of `/proc`: the state of a socket that takes connections.
const LISTENS: &str = "0A";

impl Sockets {
    /// Those that `folder`, a process's `net` in `/proc`, tells of.
    pub fn new(folder: Option<String>) -> Self {
        Sockets { folder, names: OnceCell::new() }
    }

    /// `TCP 127.0.0.1:80 -> 127.0.0.1:4711`, of what a descriptor calls `socket:[1234]`.
    pub fn name(&self, link: &[u8]) -> Option<&str> {
        let inode = str::from_utf8(link).ok()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        self.names.get_or_init(|| self.read()).get(&inode).map(String::as_str)
    }

    fn read(&self) -> HashMap<u64, String> {
        let lists = [("tcp", "TCP"), ("tcp6", "TCP"), ("udp", "UDP"), ("udp6", "UDP"), ("unix", "unix")];
        let mut names = HashMap::new();
        let Some(folder) = &self.folder else { return names };
        for (list, kind) in lists {
            let mut bytes = Vec::new();
            let file = File::open(format!("{folder}/{list}"));
            if file.and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)).is_ok() {
                let text = String::from_utf8_lossy(&bytes);
                let parse = if list == "unix" { parse_unix } else { parse_internet };
                names.extend(text.lines().skip(1).filter_map(|line| parse(line, kind)));
            }
        }
        names
    }
}

/// `number: local remote state … inode …`.
fn parse_internet(line: &str, kind: &str) -> Option<(u64, String)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let &[_, local, remote, state, .., inode] = fields.as_slice() else { return None };
    let (local, remote) = (parse_address(local)?, parse_address(remote)?);
    let name = match (kind, state) {
        ("TCP", LISTENS) => format!("{kind} {local} listening"),
        _ if remote.port() == 0 => format!("{kind} {local}"),
        _ => format!("{kind} {local} -> {remote}"),
    };
    Some((inode.parse().ok()?, name))
}

/// Words of four bytes in hexadecimal, each as a number of this machine's, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        bytes.extend(u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `number: references protocol flags type state inode path`.
fn parse_unix(line: &str, kind: &str) -> Option<(u64, String)> {
    let mut fields = line.split_ascii_whitespace().skip(6);
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next().map(|path| format!("{kind} {}", printable(path.as_bytes())));
    Some((inode, path?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_sockets_are_read_as_the_kernel_writes_them() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 0 100 0 0 10 0";
        assert_eq!(parse_internet(line, "TCP"), Some((4711, "TCP 127.0.0.1:8080 listening".to_owned())));
        let line = "   1: 00000000000000000000000001000000:0050 00000000000000000000000001000000:C000 01 0:0 00:0 0 0 0 12 1";
        assert_eq!(parse_internet(line, "TCP"), Some((12, "TCP [::1]:80 -> [::1]:49152".to_owned())));
        let line = "ffff8880: 00000002 00000000 00010000 0001 01 23456 /run/a\u{202e}b";
        assert_eq!(parse_unix(line, "unix"), Some((23456, "unix /run/a?b".to_owned())));
        assert_eq!(parse_unix("ffff8880: 00000002 00000000 00010000 0001 01 23456", "unix"), None);
        for bad in [
            "",
            "0:",
            "0: 1:1 2:2 0A",
            "0: ZZ:1 2:2 0A 0 0 0 0 0 1",
            "0: 0100007F:1F90 00000000:0 0A 0 0 0 0 0 x",
        ] {
            assert_eq!(parse_internet(bad, "TCP"), None);
        }
    }
}
