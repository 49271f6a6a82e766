//! The suite of [`OutboxStore`] and [`Enqueue`].

// The names of the checks are their documentation.
#![allow(missing_docs)]

mod atomic;
mod chance;
mod claim;
mod deferral;
mod dropped;
mod fidelity;
mod idempotency;
mod order;
mod session;
mod settle;
mod takeover;

use async_trait::async_trait;

pub use chance::run_by_chance;

use crate::{Enqueue, OutboxStore};

/// How a suite opens an outbox of yours and transactions on it.
#[async_trait]
pub trait StoreFixture: Sized + Send + Sync + 'static {
    /// The store under test.
    type Outbox: OutboxStore + Enqueue<Self::Conn>;
    /// What it enqueues on.
    type Conn: ?Sized + Send;
    /// An open transaction, from which a `Conn` is borrowed.
    type Transaction: Send;

    /// An empty outbox that no other check sees.
    async fn fresh() -> Self;

    /// The outbox.
    fn outbox(&self) -> &Self::Outbox;

    /// Opens a transaction, as an application would.
    async fn begin(&self) -> Self::Transaction;

    /// The connection of an open transaction.
    fn conn(tx: &mut Self::Transaction) -> &mut Self::Conn;

    /// Commits it.
    async fn commit(&self, tx: Self::Transaction);

    /// Rolls it back.
    async fn rollback(&self, tx: Self::Transaction);
}

/// The checks; each takes a fixture with an empty outbox and panics when the store breaks the promise of its name.
pub mod checks {
    pub use super::atomic::*;
    pub use super::chance::whatever_happens_nothing_is_lost_and_keys_keep_their_order;
    pub use super::claim::*;
    pub use super::deferral::*;
    pub use super::dropped::*;
    pub use super::fidelity::*;
    pub use super::idempotency::*;
    pub use super::order::*;
    pub use super::session::*;
    pub use super::settle::*;
    pub use super::takeover::*;
}

/// One named test per promise of [`OutboxStore`](crate::OutboxStore) and [`Enqueue`](crate::Enqueue), for a
/// [`StoreFixture`](crate::conformance::StoreFixture).
#[macro_export]
macro_rules! store_conformance {
    ($fixture:ty $(, needs $needs:literal)? $(, except $check:ident = $why:literal)* $(,)?) => {
        mod store_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_tests! {
                ($) store, $fixture, <$fixture as $crate::conformance::StoreFixture>::fresh(),
                [$($needs)?], [$($check = $why),*],
                [
                    rollback_leaves_nothing_to_claim,
                    commit_makes_messages_claimable,
                    messages_of_an_open_transaction_are_not_claimed,
                    what_follows_a_rollback_is_claimed,
                    enqueueing_nothing_stores_nothing,
                    enqueue_answers_one_id_per_message_in_their_order,
                    several_enqueues_of_one_transaction_commit_together,
                    thousands_of_messages_go_into_one_enqueue,
                    messages_of_one_transaction_are_claimed_in_the_order_given,
                    transactions_are_claimed_in_the_order_of_their_commits,
                    messages_of_a_slot_are_claimed_in_order_of_place,
                    a_held_message_is_not_claimed_again,
                    a_held_message_that_was_set_aside_is_not_claimed_again,
                    restart_reads_from_the_beginning,
                    claiming_changes_nothing,
                    a_claim_answers_no_more_than_its_limit,
                    a_claim_with_nothing_left_does_not_promise_more,
                    a_claim_stops_at_its_byte_limit_but_not_before_one_message,
                    a_claim_of_no_slot_answers_nothing,
                    fresh_messages_of_unwanted_topics_are_claimed,
                    of_messages_set_aside_only_wanted_topics_are_claimed,
                    messages_set_aside_do_not_come_as_fresh,
                    fresh_messages_do_not_starve_those_set_aside,
                    messages_set_aside_do_not_starve_fresh_ones,
                    the_next_due_time_is_told,
                    a_retry_is_not_claimed_before_its_time,
                    a_retry_is_claimed_with_its_tally_once_it_is_due,
                    waiting_keeps_the_tally_of_the_verdict,
                    a_retry_blocks_only_its_key,
                    an_unkeyed_retry_blocks_nothing,
                    a_key_is_free_once_nothing_of_it_is_set_aside,
                    a_key_stays_blocked_for_the_next_session,
                    a_dead_letter_is_not_claimed,
                    a_parked_dead_letter_holds_its_key,
                    a_skipped_dead_letter_lets_its_key_go_on,
                    a_scheduled_message_is_not_claimed_before_its_time,
                    a_scheduled_message_blocks_nothing,
                    a_scheduled_message_that_is_due_says_whether_its_key_is_blocked,
                    a_scheduled_message_joins_the_order_of_its_key_when_due,
                    a_not_before_time_is_told_with_the_claim,
                    a_not_before_time_long_past_does_not_make_a_message_old,
                    a_dropped_claim_loses_nothing,
                    a_dropped_settlement_is_written_whole_or_not_at_all,
                    a_dropped_begin_can_be_asked_again,
                    a_dropped_renewal_leaves_the_session_as_it_was,
                    a_dropped_enqueue_shares_the_fate_of_its_transaction,
                    every_field_comes_back_unchanged,
                    a_message_with_nothing_but_a_topic_comes_back_unchanged,
                    every_byte_value_survives_in_a_payload,
                    an_empty_payload_is_claimed,
                    a_payload_of_one_mebibyte_comes_back_whole,
                    text_of_every_script_survives,
                    text_that_looks_like_sql_survives,
                    names_of_the_longest_length_survive,
                    sixteen_kibibytes_of_headers_survive,
                    topics_and_keys_are_told_apart_byte_by_byte,
                    a_message_is_as_old_as_its_enqueueing,
                    a_message_survives_being_set_aside_unchanged,
                    a_known_idempotency_key_is_a_duplicate,
                    a_duplicate_within_one_slice_is_stored_once,
                    a_duplicate_within_one_transaction_is_stored_once,
                    an_idempotency_key_is_known_after_delivery,
                    an_idempotency_key_belongs_to_its_topic,
                    idempotency_keys_are_told_apart_byte_by_byte,
                    a_rolled_back_idempotency_key_is_free,
                    messages_without_an_idempotency_key_are_never_duplicates,
                    of_transactions_side_by_side_one_stores_the_key,
                    messages_behind_a_retry_are_not_claimed,
                    messages_behind_a_retry_come_after_it_in_order,
                    verdicts_of_one_settlement_come_in_any_order,
                    a_retry_stands_even_when_those_before_it_leave_in_the_same_settlement,
                    a_long_line_behind_a_key_comes_out_in_order,
                    another_failure_of_the_head_holds_the_rest_again,
                    messages_given_back_keep_their_order,
                    an_earlier_message_set_aside_late_goes_first,
                    an_earlier_message_that_fails_late_holds_those_set_aside_before,
                    a_message_parked_in_the_middle_holds_only_those_after_it,
                    lines_of_different_keys_do_not_mix,
                    the_first_session_owns_the_outbox,
                    a_renewed_session_keeps_its_epoch_and_slots,
                    an_expired_session_that_nobody_fenced_renews,
                    an_expired_session_that_nobody_fenced_settles,
                    no_slot_is_owned_by_two_live_sessions,
                    an_expired_session_loses_its_slots_to_the_next,
                    a_session_that_stands_by_takes_over_when_it_renews,
                    a_fenced_session_gets_a_new_epoch_and_none_of_its_slots,
                    an_unknown_epoch_gets_a_new_session,
                    epochs_are_never_used_again,
                    a_released_slot_can_be_taken_at_once,
                    releasing_with_an_open_batch_leaves_it_in_doubt,
                    a_session_that_released_its_slots_settles_nothing,
                    a_session_that_released_its_slots_starts_anew,
                    releasing_from_a_fenced_session_takes_nothing_from_its_successor,
                    tidying_removes_nothing_that_still_counts,
                    a_delivered_message_is_gone,
                    a_mixed_settlement_gives_each_message_its_verdict,
                    settling_from_a_fenced_session_changes_nothing,
                    a_fenced_session_ends_no_batch_of_its_successor,
                    a_fenced_session_cannot_begin,
                    a_session_settles_nothing_of_slots_it_does_not_own,
                    an_empty_settlement_of_a_live_session_holds,
                    settling_twice_is_the_same_as_once,
                    a_verdict_on_a_place_that_is_gone_changes_nothing,
                    verdicts_are_written_for_messages_that_were_not_begun,
                    ending_a_batch_that_is_not_open_changes_nothing,
                    thousands_of_verdicts_go_into_one_settlement,
                    takeover_marks_what_the_journal_lists_as_in_doubt,
                    takeover_finds_every_open_batch,
                    takeover_counts_a_message_of_two_open_batches_once,
                    takeover_goes_by_the_last_batch_of_a_message,
                    takeover_leaves_what_was_not_begun_untouched,
                    takeover_leaves_ended_batches_untouched,
                    takeover_keeps_the_attempts_of_a_retry_in_flight,
                    takeover_keeps_the_order_of_a_key,
                    takeover_deletes_the_journal,
                    takeover_does_not_bring_back_a_delivered_message_of_an_open_batch,
                    takeover_does_not_bring_back_a_dead_letter_of_an_open_batch,
                    takeover_does_not_doubt_what_an_open_batch_has_settled,
                    a_message_that_dies_in_company_counts_two_crashes_at_most,
                    a_message_that_dies_alone_counts_every_crash,
                    beginning_a_batch_again_is_the_same_as_once,
                    a_settlement_ends_one_batch_and_begins_the_next,
                    a_batch_of_thousands_is_begun_and_found,
                    whatever_happens_nothing_is_lost_and_keys_keep_their_order,
                ]
            }
        }
    };
}
