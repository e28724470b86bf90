//! Records on their way to one target: a bounded queue of whole lines that keeps nobody waiting.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::OnOverflow;
use crate::log::GATHER;

/// The queue of one target. Records are counted until they are written, not only until they are taken.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    records: AtomicUsize,
    lost: AtomicU64,
    most: usize,
    on_overflow: OnOverflow,
    patient: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    lost: Option<Lost>,
    reopen: bool,
    finish: bool,
}

/// Records that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    pub(super) since: Timestamp,
}

/// What the writer has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// These records are missing before what comes next.
    pub(super) lost: Option<Lost>,
    /// The target is to be opened anew.
    pub(super) reopen: bool,
    /// Nothing will come any more.
    pub(super) is_last: bool,
}

impl Queue {
    /// A queue in which `most` records may wait.
    pub(super) fn new(most: usize, on_overflow: OnOverflow) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            records: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            most,
            on_overflow,
            patient: AtomicBool::new(false),
        }
    }

    /// Adds one line. With [`OnOverflow::Block`] it always finds room: who opens sessions asks [`Queue::is_crowded`]
    /// first, so there are at most half the queue and the records of the sessions that are open.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if self.is_full() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            let since = Timestamp::now();
            waiting.lost.get_or_insert(Lost { count: 0, since }).count += 1;
            return;
        }
        self.records.fetch_add(1, Ordering::Relaxed);
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Waits for something to do, at most until `until`, and moves the lines that wait to `batch`, which is empty.
    pub(super) fn take(&self, batch: &mut Vec<u8>, until: Option<Instant>) -> Work {
        let mut waiting = self.lock();
        while waiting.is_idle() {
            let Some(until) = until else {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !waiting.lines.is_empty() && !waiting.finish {
            drop(waiting);
            // What comes within a moment goes out with one write; waking the writer for each would cost more.
            std::thread::sleep(GATHER);
            waiting = self.lock();
        }
        std::mem::swap(&mut waiting.lines, batch);
        Work {
            lost: waiting.lost.take(),
            reopen: std::mem::take(&mut waiting.reopen),
            is_last: waiting.finish,
        }
    }

    /// Waits for a while, or until the target is to be opened anew; that is then `true`.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waiting = self.lock();
        let still = |waiting: &mut Waiting| !waiting.reopen;
        let (mut waiting, _) =
            self.changed.wait_timeout_while(waiting, time, still).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting.reopen)
    }

    /// Counts a record that the writer itself adds.
    pub(super) fn add_own(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes room for as many records again.
    pub(super) fn free(&self, records: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
    }

    /// Counts records that could not be written before the gateway stopped.
    pub(super) fn give_up(&self, records: usize) {
        self.free(records);
        self.lost.fetch_add(u64::try_from(records).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Asks the writer to open its target anew.
    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.changed.notify_one();
    }

    /// From now on every record finds room.
    pub(super) fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Says that no record will come any more.
    pub(super) fn finish(&self) {
        self.lock().finish = true;
        self.changed.notify_one();
    }

    /// Tells whether somebody has said so.
    pub(super) fn is_finishing(&self) -> bool {
        self.lock().finish
    }

    /// Tells whether new sessions must wait, so that those that run find room.
    pub(super) fn is_crowded(&self) -> bool {
        self.on_overflow == OnOverflow::Block && self.len() > self.most / 2
    }

    /// Records that are not yet written.
    pub(super) fn len(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// Records that found no room, in all.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.on_overflow == OnOverflow::Count
            && self.len() >= self.most
            && !self.patient.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.lost.is_none() && !self.reopen && !self.finish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &Queue) -> (String, Work) {
        let mut batch = Vec::new();
        let work = queue.take(&mut batch, Some(Instant::now()));
        (String::from_utf8(batch).unwrap(), work)
    }

    #[test]
    fn lines_that_wait_come_out_together_and_in_order() {
        let queue = Queue::new(16, OnOverflow::Block);
        for line in ["a\n", "b\n", "c\n"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(take(&queue), ("a\nb\nc\n".to_owned(), Work::default()));
        assert_eq!(queue.len(), 3, "they are in the writer's hands");
        queue.free(3);
        assert_eq!((queue.len(), take(&queue).0), (0, String::new()));
    }

    #[test]
    fn a_queue_that_counts_drops_what_finds_no_room_and_tells_how_many_once() {
        let queue = Queue::new(2, OnOverflow::Count);
        let before = Timestamp::now();
        for _ in 0..5 {
            queue.push(b"x\n");
        }
        let (lines, work) = take(&queue);
        let lost = work.lost.unwrap();
        assert_eq!((&*lines, lost.count, queue.lost()), ("x\nx\n", 3, 3));
        assert!(lost.since >= before);
        queue.push(b"y\n");
        assert_eq!(take(&queue).1.lost.unwrap().count, 1, "what is taken is not yet written");
        queue.free(2);
        queue.push(b"z\n");
        assert_eq!(take(&queue), ("z\n".to_owned(), Work::default()));
    }

    #[test]
    fn a_queue_that_blocks_is_crowded_from_its_half_and_has_room_all_the_same() {
        let queue = Queue::new(16, OnOverflow::Block);
        let crowded: Vec<bool> = (0..40)
            .map(|_| {
                queue.push(b"x\n");
                queue.is_crowded()
            })
            .collect();
        assert_eq!(crowded.iter().position(|crowded| *crowded), Some(8));
        assert_eq!((take(&queue).0.lines().count(), queue.lost()), (40, 0));
    }

    #[test]
    fn a_queue_that_counts_is_never_crowded_and_drops_nothing_at_a_stop() {
        let queue = Queue::new(2, OnOverflow::Count);
        queue.be_patient();
        for _ in 0..9 {
            queue.push(b"x\n");
        }
        assert!(!queue.is_crowded());
        queue.finish();
        let (lines, work) = take(&queue);
        assert_eq!((lines.lines().count(), work), (9, Work { is_last: true, ..Work::default() }));
    }

    #[test]
    fn a_wish_to_open_anew_is_heard_once_also_during_a_pause() {
        let queue = Queue::new(2, OnOverflow::Block);
        queue.reopen();
        assert!(take(&queue).1.reopen);
        assert!(!take(&queue).1.reopen);
        queue.reopen();
        assert!(queue.pause(Duration::from_secs(60)));
    }
}
