//! Name resolution: the system's configuration and hosts file, every name looked up as absolute.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;
use socks_core::wire::DomainName;
use tracing::warn;

/// The most addresses of one name that are judged and dialled.
const MAX_ADDRESSES: usize = 16;

/// The resolver that all sessions share.
pub(crate) struct Resolver(TokioResolver);

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("no such name, or it has no address")]
    NotFound,
    #[error("name lookup took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("name lookup failed: {0}")]
    Failed(String),
}

impl Resolver {
    /// Reads the system's configuration. Without any, names are found in the hosts file only.
    pub(crate) fn from_system() -> Result<Self, ResolveError> {
        let (config, mut options) = read_system_conf().unwrap_or_else(|error| {
            warn!(%error, "resolver configuration is unreadable: only names in the hosts file will be found");
            (ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default())
        });
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map(Self).map_err(|error| ResolveError::Failed(error.to_string()))
    }

    /// The addresses of `name`, in canonical form, without duplicates, at most 16.
    pub(crate) async fn lookup(
        &self,
        name: &DomainName,
        most: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        // The last dot makes the name absolute: no search list turns it into one that was not judged.
        let absolute =
            Name::from_ascii(format!("{name}.")).map_err(|error| ResolveError::Failed(error.to_string()))?;
        let lookup = tokio::time::timeout(most, self.0.lookup_ip(absolute))
            .await
            .map_err(|_| ResolveError::Timeout(most))?
            .map_err(|error| match error.is_no_records_found() || error.is_nx_domain() {
                true => ResolveError::NotFound,
                false => ResolveError::Failed(error.to_string()),
            })?;
        let mut addresses = Vec::new();
        for address in lookup.iter().map(|address| address.to_canonical()) {
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok(addresses) }
    }
}
