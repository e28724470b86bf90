//! Per-message protection by MIT's own calls: for encryption types that our engine does not know, and for
//! sites that want the library's cryptography.
//!
//! A context is one, so the two halves share a lock. Nothing here waits for anything but that and the
//! processor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socks_core::{Level, Open, OpenError, Opened, Room, Seal, SealError, Sealing, Sequence};

use crate::cfx::{Order, sequence_number};
use crate::frame;
use crate::gss::{Failure, Verdict};
use crate::protect::Halves;
use crate::sys::Context;

/// More octets than any mechanism pads a message with.
const PADDING: usize = 16;

/// Whether the order of messages is judged here or by the library.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ordering {
    /// Messages of RFC 4121 tell their number, beginning with this one.
    Ours { next: u64 },
    /// Those of RFC 1964 encrypt it.
    Library,
}

/// Makes the two halves over an established context.
pub(crate) fn halves(context: Context, ordering: Ordering) -> Result<Halves, Failure> {
    let most_token = u32::try_from(frame::MOST_TOKEN).map_err(|_| Failure::ours("token length is odd"))?;
    let limit = context.wrap_size_limit(true, most_token)?.min(context.wrap_size_limit(false, most_token)?);
    let max_plaintext = usize::try_from(limit).unwrap_or(0).min(frame::MOST_TOKEN);
    if max_plaintext == 0 {
        return Err(Failure::ours("context has no room for messages"));
    }
    let overhead = frame::MOST_TOKEN - max_plaintext + PADDING;
    let context = Arc::new(Mutex::new(context));
    let seal = MitSealer { context: Arc::clone(&context), max_plaintext, overhead };
    let order = match ordering {
        Ordering::Ours { next } => OrderBy::Number(Order::strict(next)),
        Ordering::Library => OrderBy::Verdict { strict: true },
    };
    Ok(Halves::new(seal, MitOpener { context, order }))
}

struct MitSealer {
    context: Arc<Mutex<Context>>,
    max_plaintext: usize,
    overhead: usize,
}

impl Seal for MitSealer {
    fn room(&self) -> Room {
        Room { head: frame::HEAD + self.overhead, tail: 0 }
    }

    fn max_plaintext(&self) -> usize {
        self.max_plaintext
    }

    fn seal(&mut self, message: &mut Sealing<'_>, level: Level) -> Result<(), SealError> {
        let start = message.range.start.checked_sub(self.room().head).ok_or(SealError::Room)?;
        let plaintext = message.buffer.get(message.range.clone()).ok_or(SealError::Room)?;
        if plaintext.len() > self.max_plaintext {
            return Err(SealError::Room);
        }
        let token = locked(&self.context)
            .wrap(level == Level::Confidentiality, plaintext)
            .map_err(|_| SealError::Engine("library cannot seal a message"))?;
        let head = frame::head(frame::mtyp::DATA, token.len()).ok_or(SealError::Room)?;
        let end = start + head.len() + token.len();
        let place = message.buffer.get_mut(start..end).ok_or(SealError::Room)?;
        let octets = head.iter().chain(&token);
        place.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
        message.range = start..end;
        Ok(())
    }
}

struct MitOpener {
    context: Arc<Mutex<Context>>,
    order: OrderBy,
}

enum OrderBy {
    Number(Order),
    Verdict { strict: bool },
}

impl Open for MitOpener {
    fn max_frame(&self) -> usize {
        frame::HEAD + frame::MOST_TOKEN
    }

    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        frame::data_frame_len(head)
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let token = frame::data_token(frame)?;
        let number = sequence_number(token);
        let unwrapped = locked(&self.context).unwrap(token).map_err(|_| OpenError::Forged)?;
        let sequence = self.order.judge(number, unwrapped.verdict)?;
        let plaintext = token.get_mut(..unwrapped.plaintext.len());
        let plaintext = plaintext.ok_or(OpenError::Engine("library makes more of a message than it was"))?;
        plaintext.copy_from_slice(&unwrapped.plaintext);
        let level = if unwrapped.was_encrypted { Level::Confidentiality } else { Level::Integrity };
        Ok(Opened { plaintext: frame::HEAD..frame::HEAD + plaintext.len(), level, sequence })
    }

    fn accept_any_order(&mut self) {
        match &mut self.order {
            OrderBy::Number(order) => order.accept_any(),
            OrderBy::Verdict { strict } => *strict = false,
        }
    }
}

impl OrderBy {
    fn judge(&mut self, number: Option<u64>, verdict: Verdict) -> Result<Sequence, OpenError> {
        match (self, verdict) {
            (Self::Number(order), _) => order.admit(number.ok_or(OpenError::Forged)?),
            (Self::Verdict { .. }, Verdict::InOrder) => Ok(Sequence::Next),
            (Self::Verdict { strict: false }, Verdict::Moved) => Ok(Sequence::Moved),
            (Self::Verdict { strict: true }, Verdict::Moved) => Err(OpenError::OutOfOrder),
            (Self::Verdict { .. }, Verdict::Duplicate) => Err(OpenError::Duplicate),
            (Self::Verdict { .. }, Verdict::Old) => Err(OpenError::Old),
        }
    }
}

/// A panic under the lock leaves the context as the library left it.
fn locked(context: &Mutex<Context>) -> MutexGuard<'_, Context> {
    context.lock().unwrap_or_else(PoisonError::into_inner)
}
