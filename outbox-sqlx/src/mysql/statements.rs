//! The SQL of one outbox: the files in `sql/`, with its table prefix.

use sqlx::SqlStr;

use super::reading::MOST_RANGES;
use crate::statement::{statement, statements};

/// For how many gaps there is a statement that reads them: a new text for each count would be prepared each time.
pub(super) const GAPS: [usize; 4] = [0, 2, 8, MOST_RANGES];

statements! {
    /// One per entry of [`GAPS`].
    claim: [SqlStr; GAPS.len()] = claim,
    /// The same.
    claim_next: [SqlStr; GAPS.len()] = claim_next,
    ;
    acts_of all_places become_due begin_batch blocked_keys claim_due clock counts cut_batch delete_deferred
    delete_delivered due_next due_places due_topic durability end_batches end_session enqueued_in expired
    fence fence_expired find_ended find_fresh find_set_aside first_time forget_session free_keys front give_back
    hold_back history_delivered history_discarded insert_messages journal keys_of known_keys known_keys_now list load_fresh load_set_aside
    lock_leases lock_schema look new_session next_place old_acts old_history
    old_idempotency old_inbox open_batches orphans over_batches over_sessions owners
    places_of_ids places_of_states places_twice raise_changes record_discard record_redrive redrivable redrive_dead
    renew_session schema_version set_aside_again set_aside_fresh set_keys settle_delivered standing start_anew still_there take_slots tidy_acts
    tidy_history tidy_idempotency tidy_inbox unblocked_keys wait_behind whereabouts without_front
}

fn claim(prefix: &str) -> [SqlStr; GAPS.len()] {
    for_gaps(include_str!("sql/claim.sql"), prefix)
}

fn claim_next(prefix: &str) -> [SqlStr; GAPS.len()] {
    for_gaps(include_str!("sql/claim_next.sql"), prefix)
}

fn for_gaps(once: &str, prefix: &str) -> [SqlStr; GAPS.len()] {
    const GAP: &str = "    OR (m.seq BETWEEN ? AND ? AND (mine.slots >> m.partition_no) & 1)\n";
    GAPS.map(|gaps| statement(&once.replace(GAP, &GAP.repeat(gaps)), prefix))
}
