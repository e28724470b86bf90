//! Name resolution: the system's configuration and hosts file, every name looked up as absolute.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use socks_core::wire::DomainName;
use tokio::time::timeout;

/// The most addresses of one name that are judged and dialled.
const MAX_ADDRESSES: usize = 16;
/// How long the second family may take once the first has answered (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// The most time for one query to one server; below the default for a whole lookup, so that another is asked.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// The resolver that all sessions share.
pub(crate) struct Resolver(TokioResolver);

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("no such name, or it has no address")]
    NotFound,
    #[error("name lookup took longer than {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("name lookup failed: {0}")]
    Failed(String),
}

impl Resolver {
    /// Reads the system's configuration. Without any, names are found in the hosts file only; the text that is
    /// given with the resolver warns of it.
    pub(crate) fn from_system() -> Result<(Self, Option<String>), ResolveError> {
        let ((config, mut options), warning) = match read_system_conf() {
            Ok(read) => (read, None),
            Err(error) => {
                let nothing = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                let warning = format!(
                    "the resolver's configuration cannot be read ({error}): only names in the hosts file will be found"
                );
                ((nothing, ResolverOpts::default()), Some(warning))
            }
        };
        options.use_hosts_file = ResolveHosts::Always;
        options.timeout = options.timeout.min(QUERY_TIMEOUT);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| ResolveError::Failed(error.to_string()))?;
        Ok((Self(resolver), warning))
    }

    /// The addresses of `name`, in canonical form, without duplicates, at most 16.
    ///
    /// Once one family has answered, the other one has 50 ms: a server that drops one sort of query fails no name.
    pub(crate) async fn lookup(
        &self,
        name: &DomainName,
        most: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        // The last dot makes the name absolute: no search list turns it into one that was not judged.
        let absolute =
            Name::from_ascii(format!("{name}.")).map_err(|error| ResolveError::Failed(error.to_string()))?;
        timeout(most, self.both_families(absolute)).await.map_err(|_| ResolveError::Timeout(most))?
    }

    async fn both_families(&self, name: Name) -> Result<Vec<IpAddr>, ResolveError> {
        let mut v6 = std::pin::pin!(self.family(name.clone(), RecordType::AAAA));
        let mut v4 = std::pin::pin!(self.family(name, RecordType::A));
        let (first, second) = tokio::select! {
            first = &mut v6 => {
                let second = follow(&first, v4).await;
                (first, second)
            }
            first = &mut v4 => {
                let second = follow(&first, v6).await;
                (first, second)
            }
        };
        merge(first, second)
    }

    async fn family(&self, name: Name, sort: RecordType) -> Result<Vec<IpAddr>, ResolveError> {
        match self.0.lookup(name, sort).await {
            Ok(lookup) => Ok(lookup.answers().iter().filter_map(|record| address(&record.data)).collect()),
            Err(error) => Err(explain(&error)),
        }
    }
}

/// Waits for the second family: shortly if the first has addresses, as long as it takes if not.
async fn follow(
    first: &Result<Vec<IpAddr>, ResolveError>,
    second: impl Future<Output = Result<Vec<IpAddr>, ResolveError>>,
) -> Result<Vec<IpAddr>, ResolveError> {
    match first {
        Ok(addresses) if !addresses.is_empty() => {
            timeout(RESOLUTION_DELAY, second).await.unwrap_or(Err(ResolveError::NotFound))
        }
        _ => second.await,
    }
}

/// The addresses of both; if there is none, the failure that says more than "not found".
fn merge(
    first: Result<Vec<IpAddr>, ResolveError>,
    second: Result<Vec<IpAddr>, ResolveError>,
) -> Result<Vec<IpAddr>, ResolveError> {
    let mut addresses = Vec::new();
    let mut failure = ResolveError::NotFound;
    for family in [first, second] {
        match family {
            Ok(found) => {
                for address in found {
                    if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
            Err(ResolveError::NotFound) => {}
            Err(error) => failure = error,
        }
    }
    if addresses.is_empty() { Err(failure) } else { Ok(addresses) }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0).to_canonical()),
        _ => None,
    }
}

fn explain(error: &NetError) -> ResolveError {
    match error.is_no_records_found() || error.is_nx_domain() {
        true => ResolveError::NotFound,
        false => ResolveError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(text.split_whitespace().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn one_family_that_fails_does_not_hide_the_other() {
        let failed = || Err(ResolveError::Failed("no answer".into()));
        assert_eq!(merge(failed(), found("192.0.2.1")).unwrap().len(), 1);
        assert_eq!(merge(found("192.0.2.1"), failed()).unwrap().len(), 1);
        assert!(matches!(merge(failed(), Err(ResolveError::NotFound)), Err(ResolveError::Failed(_))));
        assert!(matches!(merge(found(""), Err(ResolveError::NotFound)), Err(ResolveError::NotFound)));
    }

    #[test]
    fn a_name_with_many_addresses_gives_some_of_them_once() {
        let many: String = (0..40).map(|number| format!("192.0.2.{} 192.0.2.{} ", number, number)).collect();
        assert_eq!(merge(found(&many), found("192.0.2.0")).unwrap().len(), MAX_ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_family_that_never_answers_is_not_waited_for() {
        let first = found("192.0.2.1");
        let second = follow(&first, std::future::pending()).await;
        assert_eq!(merge(first, second).unwrap().len(), 1);
    }
}
