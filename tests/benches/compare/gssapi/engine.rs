//! Our engine alone: messages that a relay would carry are sealed or opened in place, on one thread.

use std::hint::black_box;
use std::time::Duration;

use socks_core::relay::Way;
use socks_core::{Level, Open, Opening, Seal, Sealing};
use socks_gssapi::cfx::{Enctype, Role};
use tests::engine::{halves, thread_time};

use super::tunnel::{LANES, MESSAGE};

/// Its name beside the servers.
pub(super) const NAME: &str = "engine";
const ENCTYPE: Enctype = Enctype::Aes256Sha1;

/// The processor time for about so many octets of user data: sealed for a download, opened for an upload.
pub(super) fn work(level: Level, way: Way, octets: u64) -> Duration {
    let ((mut seal, _), (_, mut open)) = (halves(ENCTYPE, Role::Acceptor), halves(ENCTYPE, Role::Initiator));
    let room = seal.room();
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut buffers = vec![vec![0_u8; room.head + MESSAGE + room.tail]; LANES];
    for _ in 0..octets.div_ceil((MESSAGE * LANES) as u64) {
        let mut messages: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| Sealing { buffer, range: room.head..room.head + MESSAGE })
            .collect();
        let start = thread_time();
        seal.seal_all(black_box(&mut messages), level).expect("the messages fit");
        let sealed = thread_time();
        let mut frames: Vec<_> = messages
            .iter_mut()
            .map(|message| {
                let frame =
                    message.buffer.get_mut(message.range.clone()).expect("the frame is in the buffer");
                Opening { frame, opened: None }
            })
            .collect();
        open.open_all(black_box(&mut frames)).expect("the frames are good");
        sealing += sealed - start;
        opening += thread_time() - sealed;
    }
    match way {
        Way::Down => sealing,
        Way::Up => opening,
    }
}
