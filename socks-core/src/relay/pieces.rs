//! The parts of a buffer that are still to be written, in order, with one call for many.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::task::{Context, Poll, ready};

use super::socket::Socket;

/// The most pieces that one call writes.
pub(super) const MOST: usize = 16;

/// Pieces of a buffer; their places count from its first octet in flight.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Piece>);

#[derive(Debug)]
struct Piece {
    place: Range<usize>,
    /// The octets of user data it stands for.
    counts: usize,
}

impl Pieces {
    /// Appends a piece that stands for `counts` octets of user data; one without octets is passed over.
    pub(super) fn push(&mut self, place: Range<usize>, counts: usize) {
        if !place.is_empty() {
            self.0.push_back(Piece { place, counts });
        }
    }

    /// How many pieces are left to write.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes once and tells how many octets of user data have been delivered by that.
    pub(super) fn poll_write(
        &mut self,
        sink: Socket<'_>,
        octets: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut wanted = 0;
        let mut slices = [IoSlice::new(&[]); MOST];
        for (slice, piece) in slices.iter_mut().zip(&self.0) {
            *slice = IoSlice::new(octets.get(piece.place.clone()).unwrap_or_default());
            wanted += slice.len();
        }
        let count = self.len().min(MOST);
        let slices = slices.get(..count).unwrap_or_default();
        let written = ready!(sink.poll_write_vectored(cx, slices, wanted))?;
        Poll::Ready(Ok(self.written(written)))
    }

    fn written(&mut self, mut octets: usize) -> usize {
        let mut delivered = 0;
        while let Some(piece) = self.0.front_mut() {
            if octets < piece.place.len() {
                let unframed = piece.counts == piece.place.len();
                piece.place.start += octets;
                if unframed {
                    piece.counts -= octets;
                    delivered += octets;
                }
                break;
            }
            octets -= piece.place.len();
            delivered += piece.counts;
            self.0.pop_front();
        }
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_counts_as_it_goes_and_frames_when_they_are_whole() {
        let mut plain = Pieces::default();
        plain.push(0..10, 10);
        assert_eq!((plain.written(4), plain.written(6), plain.is_empty()), (4, 6, true));
        let mut frames = Pieces::default();
        frames.push(0..10, 3);
        frames.push(12..20, 2);
        assert_eq!((frames.written(9), frames.written(2), frames.written(7)), (0, 3, 2));
    }

    #[test]
    fn a_piece_without_octets_is_not_written() {
        let mut pieces = Pieces::default();
        pieces.push(5..5, 0);
        assert!(pieces.is_empty());
    }
}
