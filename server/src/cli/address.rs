//! Values of `--host` and `--port`.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};

/// The variable of `--port`.
pub(crate) const PORT_VARIABLE: &str = "LEXIVEC_PORT";

/// The port without a flag.
pub(crate) const DEFAULT_PORT: u16 = 30_000;

/// Whether a variable was set by Kubernetes and not by the user: pods get `LEXIVEC_PORT=tcp://10.0.0.1:30000` for a Service named
/// lexivec, unless they turn that off.
pub(crate) fn is_service_link(variable: &str, value: &str) -> bool {
    let schemes = ["tcp://", "udp://", "sctp://"];
    variable == PORT_VARIABLE && schemes.iter().any(|scheme| value.starts_with(scheme))
}

/// Warns about a service link in place of a port, unless the user has chosen another port than the default.
pub(crate) fn warn_of_service_link(port: u16) {
    let value = std::env::var(PORT_VARIABLE).unwrap_or_default();
    if port == DEFAULT_PORT && is_service_link(PORT_VARIABLE, &value) {
        tracing::warn!(
            "{PORT_VARIABLE}={value} is not a port. Kubernetes sets it for a Service named lexivec. It is ignored, and the port is {port}. \
             Set `enableServiceLinks: false` in the pod's spec"
        );
    }
}

/// Reads `--port`.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("`{text}` is not a port: a number from 0 to 65535"))
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
    fn ports_are_numbers_of_16_bits() {
        assert_eq!(port("0"), Ok(0));
        assert_eq!(port("30001"), Ok(30_001));
        for text in ["", "-1", "65536", "http", "http://10.0.0.1:80"] {
            assert!(port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_ports_variable_can_be_a_service_link() {
        let link = "tcp://10.96.0.12:30000";
        assert!(is_service_link("LEXIVEC_PORT", link));
        assert!(!is_service_link("LEXIVEC_PORT", "30001"));
        assert!(!is_service_link("LEXIVEC_REDIS_URL", link));
    }
}
