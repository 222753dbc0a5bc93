//! The host names that requests may use.

use std::net::{IpAddr, Ipv6Addr};

/// The host names that requests may use. The default allows every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Option<Vec<String>>);

impl AllowedHosts {
    /// Allows IP addresses, `localhost`, and `names`, each with any port and in upper or lower case.
    ///
    /// # Errors
    /// A name is empty, or has a scheme, a port or other characters that host names do not have.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let check = |name: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(format!(
                    "`{name}` is not a host name: give it without scheme and port, as in `embed.example.com`"
                ));
            }
            Ok(without_dot(name).to_ascii_lowercase())
        };
        let names = names.into_iter().map(check);
        Ok(Self(Some(names.collect::<Result<_, _>>()?)))
    }

    /// Whether requests may use every name.
    pub(crate) fn allows_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a request may name `host`, which may have a port.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let Self(names) = self;
        names.as_ref().is_none_or(|names| is_allowed(names, host))
    }
}

/// Whether `host`, with or without a port, is an address, `localhost`, or one of `names`.
fn is_allowed(names: &[String], host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    let name = without_dot(name).to_ascii_lowercase();
    name == "localhost" || name.parse::<IpAddr>().is_ok() || names.contains(&name)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// `localhost.` is `localhost`, written in full.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_allowed_with_any_port() {
        let AllowedHosts(names) = AllowedHosts::only(["embed.example.com", "LX_1."]).unwrap();
        let names = names.unwrap();
        for host in [
            "localhost",
            "LocalHost:30000",
            "localhost.:1",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]",
            "[2001:db8::1]:30000",
            "Embed.Example.COM:443",
            "embed.example.com.",
            "lx_1",
        ] {
            assert!(is_allowed(&names, host), "{host}");
        }
        for host in [
            "",
            "x",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "a.embed.example.com",
            "embed.example.com.evil.example:80",
            "127.0.0.1.evil.example",
            "localhost:80@evil.example",
            "evil.example:80:localhost",
            "[evil.example]",
            "[::1].evil.example",
            "[::1]:80.evil.example",
            "[::1",
            "localhost..",
            "localhost localhost",
        ] {
            assert!(!is_allowed(&names, host), "{host}");
        }
    }

    #[test]
    fn names_with_scheme_port_or_path_are_rejected() {
        for name in ["", "http://x", "x:80", "x/y", "*", "ä.example", "a b"] {
            let error = AllowedHosts::only([name]).unwrap_err();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
