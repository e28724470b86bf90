//! Buffers that are borrowed while octets are in flight.

use std::ops::Range;
use std::sync::Mutex;

/// Buffers of one size, kept for the next who needs one.
#[derive(Debug)]
pub(super) struct BufferPool {
    spare: Mutex<Vec<Vec<u8>>>,
    most_spare: usize,
    size: usize,
    #[cfg(test)]
    lent: std::sync::atomic::AtomicUsize,
}

impl BufferPool {
    /// A pool of buffers of `size` octets that keeps at most `most_spare` when nobody uses them.
    pub(super) fn new(size: usize, most_spare: usize) -> Self {
        Self {
            spare: Mutex::new(Vec::new()),
            most_spare,
            size,
            #[cfg(test)]
            lent: Default::default(),
        }
    }

    /// The octets of one buffer.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Lends an empty buffer.
    pub(super) fn take(&self) -> Buffer<'_> {
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.pop());
        let octets = spare.unwrap_or_else(|| vec![0; self.size]);
        self.lend(octets, 0..0)
    }

    /// A buffer that holds exactly these octets, and does not come from the stock.
    pub(super) fn holding(&self, octets: Vec<u8>) -> Buffer<'_> {
        let held = 0..octets.len();
        self.lend(octets, held)
    }

    fn lend(&self, octets: Vec<u8>, held: Range<usize>) -> Buffer<'_> {
        #[cfg(test)]
        self.lent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Buffer { octets, held, pool: self }
    }

    #[cfg(test)]
    pub(super) fn spare(&self) -> usize {
        self.spare.lock().unwrap().len()
    }

    /// How many buffers are in use, of whatever size.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.lent.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn put(&self, octets: Vec<u8>) {
        if octets.len() != self.size {
            return;
        }
        if let Ok(mut spare) = self.spare.lock()
            && spare.len() < self.most_spare
        {
            spare.push(octets);
        }
    }
}

/// A borrowed buffer with the octets in it that are in flight.
#[derive(Debug)]
pub(super) struct Buffer<'a> {
    octets: Vec<u8>,
    held: Range<usize>,
    pool: &'a BufferPool,
}

impl Buffer<'_> {
    /// The octets in flight.
    pub(super) fn held(&self) -> &[u8] {
        self.octets.get(self.held.clone()).unwrap_or_default()
    }

    /// The octets in flight, to be changed in place.
    pub(super) fn held_mut(&mut self) -> &mut [u8] {
        self.octets.get_mut(self.held.clone()).unwrap_or_default()
    }

    /// The room behind the octets in flight.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.octets.get_mut(self.held.end..).unwrap_or_default()
    }

    /// Counts the first `count` octets of the room as in flight.
    pub(super) fn filled(&mut self, count: usize) {
        self.held.end = (self.held.end + count).min(self.octets.len());
    }

    /// Lets go of the first `count` octets in flight.
    pub(super) fn release(&mut self, count: usize) {
        self.held.start = (self.held.start + count).min(self.held.end);
        if self.held.is_empty() {
            self.held = 0..0;
        }
    }

    /// Tells whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Makes sure that `len` octets from the first one in flight have room, with a larger buffer if need be.
    pub(super) fn make_room(&mut self, len: usize) {
        if self.octets.len() - self.held.start >= len {
            return;
        }
        if self.octets.len() >= len {
            self.octets.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
            return;
        }
        let pool = self.pool;
        let mut larger = if len <= pool.size { pool.take() } else { pool.holding(vec![0; len]) };
        larger.held = 0..self.held.len();
        larger.held_mut().copy_from_slice(self.held());
        *self = larger;
    }

    /// Trades a buffer that is mostly empty for one as small as what it holds: before a wait of unknown length.
    pub(super) fn shrink(&mut self) {
        if self.held.len() <= self.octets.len() / 2 {
            *self = self.pool.holding(self.held().to_vec());
        }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        #[cfg(test)]
        self.pool.lent.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.pool.put(std::mem::take(&mut self.octets));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_it_is_dropped() {
        let pool = BufferPool::new(16, 1);
        drop((pool.take(), pool.take()));
        assert_eq!(pool.spare.lock().unwrap().len(), 1, "no more than the stock are kept");
    }

    #[test]
    fn a_foreign_buffer_does_not_enter_the_pool() {
        let pool = BufferPool::new(16, 1);
        drop(pool.holding(vec![1, 2, 3]));
        assert!(pool.spare.lock().unwrap().is_empty());
    }

    #[test]
    fn shrinking_keeps_the_octets_and_frees_the_buffer() {
        let pool = BufferPool::new(16, 1);
        let mut buffer = pool.take();
        buffer.room()[..4].copy_from_slice(b"abcd");
        buffer.filled(4);
        buffer.release(1);
        buffer.shrink();
        assert_eq!(buffer.held(), b"bcd");
        assert_eq!(pool.spare.lock().unwrap().len(), 1);
    }

    #[test]
    fn room_is_made_by_moving_and_then_by_a_larger_buffer() {
        let pool = BufferPool::new(8, 1);
        let mut buffer = pool.take();
        buffer.room().copy_from_slice(b"abcdefgh");
        buffer.filled(8);
        buffer.release(5);
        buffer.make_room(6);
        assert_eq!((buffer.room().len(), buffer.held()), (5, &b"fgh"[..]));
        buffer.make_room(20);
        assert_eq!((buffer.room().len(), buffer.held()), (17, &b"fgh"[..]));
    }
}
