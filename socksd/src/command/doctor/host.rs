//! The names under which clients look for the gateway, and whether they lead here.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socks_core::wire::DomainName;

use super::finding::Report;
use super::keytab::Keys;
use crate::gateway::own_addresses;
use crate::resolve::Resolver;

/// How long one name is looked up.
const LOOKUP: Duration = Duration::from_secs(3);
/// The most hosts that are looked up.
const MOST_HOSTS: usize = 16;
/// Where the system says its own name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Compares the hosts of the keytab with this machine's name and addresses.
pub(super) async fn examine(keys: &Keys, resolver: &Resolver, report: &mut Report<'_>) {
    let hosts = keys.hosts();
    if hosts.is_empty() {
        let text = "no principal in the keytab names a host, so no client finds it by the gateway's name";
        report.mistake("host-name", text, "register and export `socks/HOST`");
        return;
    }
    let own = own_addresses(&[SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]);
    let own: Vec<IpAddr> = own.unwrap_or_default().iter().map(SocketAddr::ip).collect();
    let mut leads_here = false;
    for host in hosts.iter().take(MOST_HOSTS) {
        leads_here |= address(host, &own, resolver, report).await;
    }
    machine_name(&hosts.into_iter().collect::<Vec<_>>(), leads_here, report);
}

fn machine_name(hosts: &[&str], leads_here: bool, report: &mut Report<'_>) {
    let id = "host-name";
    let Ok(machine) = fs::read_to_string(HOST_NAME) else {
        return report.note(id, "this machine's name cannot be read", "");
    };
    let machine = machine.trim();
    if let Some(host) = hosts.iter().find(|host| is_same(host, machine)) {
        report.ok(id, format!("this machine is `{machine}`, and the keytab has keys for `{host}`"));
        return;
    }
    let text =
        format!("this machine is `{machine}`, and the keytab has keys for `{}` only", hosts.join("`, `"));
    let remedy =
        "right if clients are given that name; else register and export a key for this machine's full name";
    if leads_here {
        report.note(id, text, remedy);
    } else {
        report.warning(id, text, remedy);
    }
}

/// A machine's own name is often its first label alone.
fn is_same(host: &str, machine: &str) -> bool {
    let first = host.split('.').next().unwrap_or_default();
    host.eq_ignore_ascii_case(machine) || first.eq_ignore_ascii_case(machine)
}

/// Whether the name of a service's host leads to this machine.
async fn address(host: &str, own: &[IpAddr], resolver: &Resolver, report: &mut Report<'_>) -> bool {
    let id = "spn-address";
    let Ok(name) = host.parse::<DomainName>() else {
        let text = format!("`{host}` in the keytab is no host name that clients could ask for");
        report.warning(id, text, "register the service under the name that clients are given");
        return false;
    };
    match resolver.lookup(&name, LOOKUP).await {
        Err(error) => {
            let text = format!("`{host}`, for which the keytab has keys, cannot be resolved here: {error}");
            report.warning(id, text, "see that clients can resolve it: it is the name that they ask for");
            false
        }
        Ok(addresses) => {
            let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let is_here = addresses.iter().any(|address| address.is_loopback() || own.contains(address));
            if is_here {
                report.ok(id, format!("`{host}` leads to this machine ({shown})"));
            } else {
                let text = format!("`{host}` leads to {shown}, which is no address of this machine");
                report.warning(
                    id,
                    text,
                    "right behind a load balancer or address translation; else mend DNS",
                );
            }
            is_here
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_full_names_are_the_same() {
        assert!(is_same("gw.example.com", "GW"));
        assert!(is_same("gw.example.com", "gw.example.com"));
        assert!(!is_same("gw.example.com", "gw.example.org"));
        assert!(!is_same("gw.example.com", ""));
    }
}
