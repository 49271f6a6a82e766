//! The suite of [`OutboxAdmin`](crate::OutboxAdmin), for an outbox that keeps a history.

// The names of the checks are their documentation.
#![allow(missing_docs)]

mod acts;
mod discard;
mod look;
mod redrive;

/// The checks; each takes a fixture with an empty outbox that keeps a history.
pub mod checks {
    pub use super::acts::*;
    pub use super::discard::*;
    pub use super::look::*;
    pub use super::redrive::*;
}

/// One named test per promise of [`OutboxAdmin`](crate::OutboxAdmin), for a
/// [`StoreFixture`](crate::conformance::StoreFixture) whose outbox is one and keeps a history.
#[macro_export]
macro_rules! admin_conformance {
    ($fixture:ty $(, needs $needs:literal)? $(, except $check:ident = $why:literal)* $(,)?) => {
        mod admin_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_tests! {
                ($) admin, $fixture, <$fixture as $crate::conformance::StoreFixture>::fresh(),
                [$($needs)?], [$($check = $why),*],
                [
                    every_act_is_recorded_with_who_and_why,
                    an_act_that_does_not_say_who_and_why_is_refused,
                    the_longest_who_and_why_are_recorded_whole,
                    acts_are_recorded_for_each_message_of_a_selection,
                    an_act_keeps_a_batch_from_beginning,
                    after_a_claim_from_the_beginning_batches_begin_again,
                    an_act_counts_until_the_next_claim_from_the_beginning,
                    a_redrive_keeps_a_batch_from_beginning,
                    a_repeated_settlement_that_finds_an_act_leaves_its_batch_unbegun,
                    an_act_on_nothing_changes_nothing,
                    a_discarded_message_never_goes_out,
                    a_delivered_message_cannot_be_discarded,
                    discarding_the_head_frees_its_key,
                    discarding_from_the_middle_keeps_the_order,
                    all_messages_of_a_state_and_topic_are_discarded_at_once,
                    all_of_a_topic_are_discarded_whatever_their_state,
                    a_message_in_flight_refuses_to_be_discarded,
                    a_retry_in_flight_refuses_to_be_redriven,
                    messages_in_flight_of_a_dead_session_refuse_until_a_takeover,
                    discarding_all_leaves_messages_in_flight_alone,
                    an_empty_outbox_counts_nothing,
                    counts_tell_each_state_of_each_topic,
                    the_age_of_the_oldest_counts_only_what_should_go_out,
                    every_state_is_shown,
                    every_state_can_be_listed,
                    a_fresh_message_is_shown_whole,
                    a_message_that_is_not_there_is_not_shown,
                    a_retry_shows_its_failure_and_when_it_is_due,
                    the_last_ten_failures_are_kept_oldest_first,
                    the_same_failure_said_twice_is_kept_once,
                    a_delivered_message_shows_its_receipt,
                    pages_show_every_message_once_in_order,
                    a_list_of_a_topic_holds_no_other,
                    purging_the_history_deletes_no_more_than_asked,
                    a_redriven_dead_letter_goes_out_with_a_tally_anew,
                    a_redriven_message_that_was_skipped_joins_at_the_end,
                    a_redriven_message_that_was_parked_stays_the_head,
                    a_redriven_retry_is_due_now,
                    redriving_leaves_other_states_alone,
                    all_dead_letters_of_a_topic_are_redriven_at_once,
                    all_of_a_topic_are_redriven_whatever_their_state,
                    a_redriven_message_can_fail_and_be_redriven_again,
                ]
            }
        }
    };
}
