//! Who was heard lately.
//!
//! Invariant: a rank counts as silent only if this process was awake and listening all the while. When it slept itself
//! (a batch system suspends whole jobs), nobody is blamed for what it did not hear. Reads no clock.

use std::time::{Duration, Instant};

/// How often each rank gives a sign of life.
pub const BEAT: Duration = Duration::from_secs(1);

/// For how long a rank may be silent, unless the configuration says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has not been heard for too long.
    Silent(u32),
    /// It is heard again.
    Back(u32),
}

/// The ranks that are listened to.
#[derive(Debug)]
pub struct Pulse {
    limit: Duration,
    looked: Instant,
    /// By rank: when it was last heard, and whether it counts as silent; `None` for ranks that are not listened to.
    ranks: Vec<Option<(Instant, bool)>>,
}

impl Pulse {
    /// Listens to `ranks` of a world of `size`; those not heard for `limit` are silent.
    pub fn new(size: u32, ranks: impl Iterator<Item = u32>, limit: Duration, now: Instant) -> Self {
        let mut pulse = Pulse { limit, looked: now, ranks: vec![None; size as usize] };
        ranks.for_each(|rank| pulse.ranks[rank as usize] = Some((now, false)));
        pulse
    }

    /// Ranks are silent after so long, from now on.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// A rank said something.
    pub fn heard(&mut self, rank: u32, now: Instant) -> Option<Change> {
        let (heard, silent) = self.ranks.get_mut(rank as usize)?.as_mut()?;
        *heard = now;
        std::mem::take(silent).then_some(Change::Back(rank))
    }

    /// Looks who has become silent. To be called every [`BEAT`] at least, after everything that arrived was heard.
    pub fn look(&mut self, now: Instant) -> Vec<Change> {
        let slept = now.saturating_duration_since(self.looked) > 2 * BEAT.min(self.limit / 2);
        self.looked = now;
        let mut changes = Vec::new();
        for (rank, state) in self.ranks.iter_mut().enumerate() {
            let Some((heard, silent)) = state else { continue };
            if slept {
                *heard = now;
            } else if !*silent && now.saturating_duration_since(*heard) > self.limit {
                *silent = true;
                changes.push(Change::Silent(rank as u32));
            }
        }
        changes
    }

    /// The ranks that are listened to and not silent.
    pub fn awake(&self) -> impl Iterator<Item = u32> {
        let awake = |(rank, state): (usize, &Option<(Instant, bool)>)| {
            state.is_some_and(|(_, silent)| !silent).then_some(rank as u32)
        };
        self.ranks.iter().enumerate().filter_map(awake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every second from `from` to `to`, and hears `heard` each time.
    fn seconds(pulse: &mut Pulse, start: Instant, from: u64, to: u64, heard: &[u32]) -> Vec<Change> {
        let mut changes = Vec::new();
        for second in from..to {
            let now = start + Duration::from_secs(second);
            changes.extend(heard.iter().filter_map(|&rank| pulse.heard(rank, now)));
            changes.extend(pulse.look(now));
        }
        changes
    }

    #[test]
    fn a_rank_that_is_not_heard_is_silent_once_until_it_is_back() {
        let start = Instant::now();
        let mut pulse = Pulse::new(4, 1..4, Duration::from_secs(10), start);
        assert_eq!(seconds(&mut pulse, start, 0, 11, &[1, 3]), []);
        assert_eq!(seconds(&mut pulse, start, 11, 30, &[1, 3]), [Change::Silent(2)]);
        assert_eq!(pulse.awake().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(seconds(&mut pulse, start, 30, 40, &[1, 2, 3]), [Change::Back(2)]);
        assert_eq!(pulse.awake().count(), 3);
    }

    #[test]
    fn nobody_is_blamed_for_what_was_slept_through() {
        let start = Instant::now();
        let mut pulse = Pulse::new(2, 1..2, Duration::from_secs(10), start);
        assert_eq!(seconds(&mut pulse, start, 0, 5, &[1]), []);
        assert_eq!(seconds(&mut pulse, start, 3600, 3610, &[]), []);
        assert_eq!(seconds(&mut pulse, start, 3610, 3620, &[]), [Change::Silent(1)]);
    }

    #[test]
    fn ranks_that_do_not_exist_are_not_heard() {
        let start = Instant::now();
        let mut pulse = Pulse::new(2, 1..2, Duration::from_secs(10), start);
        assert_eq!([pulse.heard(0, start), pulse.heard(2, start), pulse.heard(1, start)], [None; 3]);
    }
}
