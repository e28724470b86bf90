//! The name of the service that a ticket is for.

use std::fmt;
use std::str::FromStr;

use socks_core::wire::Host;

/// A service as Kerberos knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceName {
    /// `service@host`: Kerberos finds the principal and the realm, by its configuration.
    HostBased(Box<str>),
    /// `service/host@REALM`, or `service/host` in the default realm: exactly this principal.
    Principal(Box<str>),
}

impl ServiceName {
    /// The service of that name on a host.
    ///
    /// # Errors
    /// [`ServiceNameError::Address`] for an address: Kerberos has names for hosts, and guessing one from an
    /// address would trust whoever answers for it. [`ServiceNameError::Malformed`] when the service is none.
    pub fn of_host(service: &str, host: &Host) -> Result<Self, ServiceNameError> {
        match host {
            Host::Ip(ip) => Err(ServiceNameError::Address(ip.to_string().into())),
            Host::Name(name) => format!("{service}@{name}").parse(),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::HostBased(text) | Self::Principal(text) => text,
        }
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    /// Reads `service@host`, `service/host` or `service/host@REALM`.
    ///
    /// # Errors
    /// [`ServiceNameError::Malformed`] when a part is missing.
    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        let malformed = || ServiceNameError::Malformed(text.escape_debug().to_string().into());
        let is_part = |part: &str| {
            let odd = |character: char| character.is_control() || character.is_whitespace();
            !part.is_empty() && !part.contains(odd) && !part.contains(['/', '@'])
        };
        let (name, realm) = text.split_once('@').map_or((text, None), |(name, realm)| (name, Some(realm)));
        match (name.split_once('/'), realm) {
            (Some((service, host)), realm) if is_part(service) && is_part(host) => {
                realm.is_none_or(is_part).then(|| Self::Principal(text.into())).ok_or_else(malformed)
            }
            (None, Some(host)) if is_part(name) && is_part(host) => Ok(Self::HostBased(text.into())),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A service that cannot be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceNameError {
    /// The gateway is known by an address only.
    #[error(
        "gateway `{0}` is an address, and Kerberos needs a name: write the gateway's host name, or name its \
         service (`--spn socks/gateway.example@REALM`)"
    )]
    Address(Box<str>),
    /// The text is no service.
    #[error("`{0}` is no service of the form `service@host` or `service/host@REALM`")]
    Malformed(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_told_apart() {
        let host_based = |text: &str| Ok(ServiceName::HostBased(text.into()));
        let principal = |text: &str| Ok(ServiceName::Principal(text.into()));
        let table = [
            ("socks@gw.example", host_based("socks@gw.example")),
            ("rcmd/gw.example@R", principal("rcmd/gw.example@R")),
            ("rcmd/gw.example", principal("rcmd/gw.example")),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn texts_without_a_part_are_refused() {
        for text in
            ["", "socks", "@host", "socks@", "/host", "socks/", "a/b/c", "a/b@", "a b@host", "a@b@c", "a@b/c"]
        {
            let malformed = Err(ServiceNameError::Malformed(text.into()));
            assert_eq!(text.parse::<ServiceName>(), malformed, "{text}");
        }
    }

    #[test]
    fn an_address_has_no_service() {
        let refused = ServiceName::of_host("socks", &"192.0.2.1".parse().unwrap());
        assert_eq!(refused, Err(ServiceNameError::Address("192.0.2.1".into())));
        let named = ServiceName::of_host("rcmd", &"GW.example".parse().unwrap());
        assert_eq!(named.unwrap().as_str(), "rcmd@gw.example");
    }
}
