//! What to look at, and when; each thing once, and never twice at a time.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// Without any work, the loop still wakes this often.
const IDLE: SignedDuration = SignedDuration::from_secs(10);

/// A queue of work by due time. It is bounded by the number of things there are to look at.
pub(super) struct Queue<W> {
    state: Mutex<State<W>>,
    changed: Notify,
}

struct State<W> {
    due: HashMap<W, Timestamp>,
    busy: HashSet<W>,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due: HashMap::new(),
                busy: HashSet::new(),
            }),
            changed: Notify::new(),
        }
    }
}

impl<W: Clone + Eq + Hash + Ord> Queue<W> {
    /// Asks for a look at `work` at `due`, or earlier if that was asked before.
    pub(super) fn add(&self, work: W, due: Timestamp) {
        let mut state = self.lock();
        let known = state.due.entry(work).or_insert(due);
        *known = due.min(*known);
        drop(state);
        self.changed.notify_one();
    }

    /// Puts a look at `work` that was asked for off until `due`.
    pub(super) fn put_off(&self, work: &W, due: Timestamp) {
        if let Some(known) = self.lock().due.get_mut(work) {
            *known = due.max(*known);
        }
    }

    /// Takes at most `room` pieces of work that are due, the longest waiting first.
    pub(super) fn take_due(&self, now: Timestamp, room: usize) -> Vec<W> {
        let mut state = self.lock();
        let mut due: Vec<(Timestamp, W)> = state
            .due
            .iter()
            .filter(|(work, due)| **due <= now && !state.busy.contains(work))
            .map(|(work, due)| (*due, work.clone()))
            .collect();
        due.sort();
        due.truncate(room);
        for (_, work) in &due {
            state.due.remove(work);
            state.busy.insert(work.clone());
        }
        due.into_iter().map(|(_, work)| work).collect()
    }

    /// Says that a look is over, so that the next one may begin.
    pub(super) fn finish(&self, work: &W) {
        self.lock().busy.remove(work);
    }

    /// Returns when the next piece of work is due; without room for it, only when idle time is over.
    pub(super) fn next_due(&self, now: Timestamp, has_room: bool) -> Timestamp {
        let idle = now + IDLE;
        if !has_room {
            return now + SignedDuration::from_secs(1);
        }
        let state = self.lock();
        let waiting = state
            .due
            .iter()
            .filter(|(work, _)| !state.busy.contains(work));
        waiting
            .map(|(_, due)| *due)
            .min()
            .map_or(idle, |due| due.min(idle))
    }

    /// Returns when work was added.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[test]
    fn work_is_taken_when_due_and_longest_waiting_first() {
        let queue = Queue::default();
        queue.add("b", at(2));
        queue.add("a", at(1));
        queue.add("c", at(9));
        assert_eq!(queue.take_due(at(3), 1), ["a"]);
        assert_eq!(queue.take_due(at(3), 9), ["b"]);
        assert_eq!(queue.next_due(at(3), true), at(9));
    }

    #[test]
    fn the_earliest_wish_counts() {
        let queue = Queue::default();
        queue.add("a", at(5));
        queue.add("a", at(1));
        queue.add("a", at(7));
        assert_eq!(queue.take_due(at(1), 9), ["a"]);
        assert_eq!(queue.take_due(at(9), 9), Vec::<&str>::new());
    }

    #[test]
    fn what_is_put_off_comes_late_and_nothing_is_made_of_nothing() {
        let queue = Queue::default();
        queue.put_off(&"b", at(5));
        queue.add("a", at(1));
        queue.put_off(&"a", at(5));
        assert_eq!(queue.take_due(at(4), 9), Vec::<&str>::new());
        queue.put_off(&"a", at(2));
        assert_eq!(queue.take_due(at(9), 9), ["a"]);
    }

    #[test]
    fn nothing_is_looked_at_twice_at_a_time() {
        let queue = Queue::default();
        queue.add("a", at(1));
        assert_eq!(queue.take_due(at(1), 9), ["a"]);
        queue.add("a", at(1));
        assert_eq!(queue.take_due(at(1), 9), Vec::<&str>::new());
        assert_eq!(queue.next_due(at(1), true), at(11));
        queue.finish(&"a");
        assert_eq!(queue.take_due(at(1), 9), ["a"]);
    }
}
