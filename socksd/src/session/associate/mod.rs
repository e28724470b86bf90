//! UDP ASSOCIATE: the association is judged and opened, and then each of its datagrams (RFC 1928 section 7).

mod bucket;
mod facts;
mod gate;
mod names;
mod open;
mod reach;
mod recent;
mod route;
mod sockets;
mod upstreams;

pub(super) use open::{Associated, Opened, Permitted};
