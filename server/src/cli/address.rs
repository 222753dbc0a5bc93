//! Values of `--host` and `--port`.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};

/// The value of `--port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Port {
    Number(u16),
    /// Kubernetes gives pods `LEXIVEC_PORT=tcp://10.0.0.1:30000` for a Service named lexivec, unless they turn that off.
    ServiceLink(String),
}

impl Port {
    /// The port without a flag.
    pub(crate) const DEFAULT: u16 = 30_000;

    /// The port number. A service link is reported and replaced by the default.
    pub(crate) fn number(&self) -> u16 {
        match self {
            Self::Number(number) => *number,
            Self::ServiceLink(url) => {
                tracing::warn!(
                    "LEXIVEC_PORT={url} is not a port. Kubernetes sets it for a Service named lexivec. It is ignored, and the port \
                     is {}. Set `enableServiceLinks: false` in the pod's spec, or give --port",
                    Self::DEFAULT
                );
                Self::DEFAULT
            }
        }
    }
}

/// Whether a port is what Kubernetes sets for a Service of this name.
pub(super) fn is_service_link(port: &str) -> bool {
    let schemes = ["tcp://", "udp://", "sctp://"];
    schemes.into_iter().any(|scheme| port.starts_with(scheme))
}

/// Reads `--port`.
pub(crate) fn port(text: &str) -> Result<Port, String> {
    if is_service_link(text) {
        return Ok(Port::ServiceLink(text.to_owned()));
    }
    let number = text.trim().parse();
    number
        .map(Port::Number)
        .map_err(|_| format!("`{text}` is not a port: a number from 0 to 65535"))
}

/// Reads `--host`: an address, or a name of this machine.
pub(crate) fn host(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse() {
        return Ok(address);
    }
    // If the name means both 127.0.0.1 and ::1, clients that cannot connect to one try the other.
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let unknown = |reason: &str| {
        format!(
            "`{text}` is neither an IP address nor a name of this machine{reason}: give 0.0.0.0 to listen on all addresses, or \
             localhost to accept connections from this machine only"
        )
    };
    let found = (text, 0)
        .to_socket_addrs()
        .map_err(|error| unknown(&format!(" ({error})")))?;
    let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.first().copied().ok_or_else(|| unknown(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_hosts() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("localhost", "127.0.0.1"),
            ("LocalHost", "127.0.0.1"),
        ] {
            assert_eq!(host(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", "no such name", "http://localhost", "127.0.0.1:80"] {
            let error = host(text).unwrap_err();
            assert!(error.contains("0.0.0.0"), "{error}");
        }
    }

    #[test]
    fn a_service_link_is_accepted_and_gives_the_default_port() {
        assert_eq!(port("0"), Ok(Port::Number(0)));
        assert_eq!(port("30001"), Ok(Port::Number(30_001)));
        let link = port("tcp://10.96.0.12:30000").unwrap();
        assert_eq!(link.number(), Port::DEFAULT);
        for text in ["", "-1", "65536", "http", "http://10.0.0.1:80"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
