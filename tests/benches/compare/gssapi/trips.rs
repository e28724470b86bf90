//! Round trips through protected tunnels; each message is sealed as it is sent, and thrown away as it comes back.

use std::borrow::Cow;

use socks_client::Level;

use super::site::Site;
use super::tunnel::Tunnel;
use super::{LEVELS, PREFIX};
use crate::bench::Bench;
use crate::load::Tunnels;
use crate::trips::{MESSAGE, Next, TUNNELS, run};

pub(super) fn names() -> Vec<String> {
    cases().iter().map(name).collect()
}

fn cases() -> Vec<(Level, usize)> {
    LEVELS.into_iter().flat_map(|level| TUNNELS.map(|count| (level, count))).collect()
}

fn name((level, count): &(Level, usize)) -> String {
    format!("{PREFIX}trips/{level}/{count}")
}

pub(super) fn measure(bench: &mut Bench, site: &Site) {
    let cases = bench.wanted(cases(), name);
    let (servers, time) = (site.servers(bench, &cases), bench.options.time);
    for case in cases {
        let (level, count) = case;
        let title = format!("Round trips of {} octets at {level}, {count} tunnel(s)", MESSAGE.len());
        bench.scenario([&name(&case), &title], &servers, |server| {
            let (address, mut messages) = (server.address().expect("a server"), Vec::new());
            let tunnels = Tunnels::with(count, |target| {
                let mut tunnel = Tunnel::open(address, level, target);
                let socket = tunnel.socket();
                messages.push(Box::new(move || Cow::Owned(tunnel.sealed(&MESSAGE))) as Next);
                socket
            });
            run(server, &tunnels, messages, time)
        });
    }
}
