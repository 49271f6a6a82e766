//! [`Rate`]: at most so many mails per second, evenly spaced.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

#[derive(Debug)]
pub(crate) struct Rate {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Rate {
    pub(crate) fn per_second(mails: u32) -> Self {
        Self { interval: Duration::from_secs(1) / mails.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits for the next free place; false, at once and without taking one, if that is not before `until`.
    /// Dropped while it waits, the place stays unused.
    pub(crate) async fn place(&self, until: Instant) -> bool {
        let place = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let place = (*next).max(Instant::now());
            if place >= until {
                return false;
            }
            *next = place + self.interval;
            place
        };
        sleep_until(place).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn places_are_evenly_spaced_and_end_with_the_time_given() {
        let rate = Rate::per_second(4);
        let start = Instant::now();
        let mut taken = Vec::new();
        while rate.place(start + Duration::from_secs(1)).await {
            taken.push(start.elapsed().as_millis());
        }
        assert_eq!(taken, [0, 250, 500, 750]);
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_mail_is_not_saved_up() {
        let rate = Rate::per_second(1);
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        let until = start + Duration::from_secs(2);
        let mut places = 0;
        while rate.place(until).await {
            places += 1;
        }
        assert_eq!(places, 2);
    }
}
