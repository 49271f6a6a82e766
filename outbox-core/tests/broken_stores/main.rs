//! The suites bite: each flaw that a store can have makes the check that is named after it fail, while the same
//! store without the flaw passes that check.

mod admin;
mod flaw;
mod flawed;

use std::panic::{AssertUnwindSafe, catch_unwind};

use flaw::Flaw;
use flawed::Flawed;
use outbox_core::conformance::{checks, run};

/// For each flaw, the checks that must notice it.
macro_rules! caught {
    ($($flaw:ident as $name:ident: $suite:ident [$($check:ident),+ $(,)?];)+) => {
        $(mod $name {
            use super::*;
            $(#[test]
            fn $check() {
                run(checks::$suite::$check(Flawed::new(Flaw::None)));
                let broken = || run(checks::$suite::$check(Flawed::new(Flaw::$flaw)));
                let verdict = catch_unwind(AssertUnwindSafe(broken));
                assert!(verdict.is_err(), "the check passes a store with the flaw {:?}", Flaw::$flaw);
            })+
        })+
    };
}

caught! {
    NoFence as no_fence: store [
        settling_from_a_fenced_session_changes_nothing,
        a_fenced_session_cannot_begin,
        a_fenced_session_ends_no_batch_of_its_successor,
        a_session_that_released_its_slots_settles_nothing,
        an_empty_settlement_of_a_live_session_holds,
    ];
    ClaimsTwice as claims_twice: store [
        a_held_message_is_not_claimed_again,
        a_held_message_that_was_set_aside_is_not_claimed_again,
        a_claim_with_nothing_left_does_not_promise_more,
    ];
    ForgetsRollback as forgets_rollback: store [
        rollback_leaves_nothing_to_claim,
        messages_of_an_open_transaction_are_not_claimed,
        what_follows_a_rollback_is_claimed,
        a_rolled_back_idempotency_key_is_free,
        a_dropped_enqueue_shares_the_fate_of_its_transaction,
        whatever_happens_nothing_is_lost_and_keys_keep_their_order,
    ];
    ForgetsCommit as forgets_commit: store [commit_makes_messages_claimable];
    ForgetsKeys as forgets_keys: store [
        messages_behind_a_retry_are_not_claimed,
        messages_behind_a_retry_come_after_it_in_order,
        a_retry_blocks_only_its_key,
        a_parked_dead_letter_holds_its_key,
        a_key_stays_blocked_for_the_next_session,
        a_scheduled_message_that_is_due_says_whether_its_key_is_blocked,
        another_failure_of_the_head_holds_the_rest_again,
        verdicts_of_one_settlement_come_in_any_order,
    ];
    TopicsShareKeys as topics_share_keys: store [a_retry_blocks_only_its_key, an_idempotency_key_belongs_to_its_topic];
    IgnoresCase as ignores_case: store [
        topics_and_keys_are_told_apart_byte_by_byte,
        idempotency_keys_are_told_apart_byte_by_byte,
    ];
    Reverses as reverses: store [
        messages_of_one_transaction_are_claimed_in_the_order_given,
        transactions_are_claimed_in_the_order_of_their_commits,
        messages_of_a_slot_are_claimed_in_order_of_place,
        a_long_line_behind_a_key_comes_out_in_order,
        whatever_happens_nothing_is_lost_and_keys_keep_their_order,
    ];
    IgnoresTheJournal as ignores_the_journal: store [
        takeover_marks_what_the_journal_lists_as_in_doubt,
        takeover_finds_every_open_batch,
        takeover_counts_a_message_of_two_open_batches_once,
        takeover_keeps_the_order_of_a_key,
        releasing_with_an_open_batch_leaves_it_in_doubt,
        a_message_that_dies_alone_counts_every_crash,
        a_settlement_ends_one_batch_and_begins_the_next,
        a_batch_of_thousands_is_begun_and_found,
    ];
    NeverEndsABatch as never_ends_a_batch: store [
        takeover_leaves_ended_batches_untouched,
    ];
    DoubtsEverything as doubts_everything: store [
        takeover_leaves_what_was_not_begun_untouched,
        a_released_slot_can_be_taken_at_once,
    ];
    ClaimingCounts as claiming_counts: store [claiming_changes_nothing];
    TakesEverybodyForAlone as takes_everybody_for_alone: store [
        a_message_that_dies_in_company_counts_two_crashes_at_most,
        takeover_goes_by_the_last_batch_of_a_message,
    ];
    ForgetsIdempotency as forgets_idempotency: store [
        a_known_idempotency_key_is_a_duplicate,
        a_duplicate_within_one_slice_is_stored_once,
        a_duplicate_within_one_transaction_is_stored_once,
        an_idempotency_key_is_known_after_delivery,
        of_transactions_side_by_side_one_stores_the_key,
        tidying_removes_nothing_that_still_counts,
    ];
    NotRepeatable as not_repeatable: store [settling_twice_is_the_same_as_once];
    HalfWritten as half_written: store [a_dropped_settlement_is_written_whole_or_not_at_all];
    LosesADroppedClaim as loses_a_dropped_claim: store [a_dropped_claim_loses_nothing];
    ReusesEpochs as reuses_epochs: store [
        epochs_are_never_used_again,
        a_fenced_session_gets_a_new_epoch_and_none_of_its_slots,
    ];
    NewEpochOnRenewal as new_epoch_on_renewal: store [
        a_renewed_session_keeps_its_epoch_and_slots,
        an_expired_session_that_nobody_fenced_renews,
        a_dropped_renewal_leaves_the_session_as_it_was,
    ];
    RobsTheLiving as robs_the_living: store [
        no_slot_is_owned_by_two_live_sessions,
        a_session_settles_nothing_of_slots_it_does_not_own,
    ];
    NeverExpires as never_expires: store [
        an_expired_session_loses_its_slots_to_the_next,
        a_session_that_stands_by_takes_over_when_it_renews,
    ];
    IgnoresRelease as ignores_release: store [a_released_slot_can_be_taken_at_once];
    Impatient as impatient: store [
        a_retry_is_not_claimed_before_its_time,
        a_scheduled_message_is_not_claimed_before_its_time,
        the_next_due_time_is_told,
    ];
    IgnoresRestart as ignores_restart: store [restart_reads_from_the_beginning];
    IgnoresLimits as ignores_limits: store [
        a_claim_answers_no_more_than_its_limit,
        a_claim_stops_at_its_byte_limit_but_not_before_one_message,
    ];
    AlwaysMore as always_more: store [a_claim_with_nothing_left_does_not_promise_more];
    WantsEverything as wants_everything: store [of_messages_set_aside_only_wanted_topics_are_claimed];
    WantsOnlyRoutes as wants_only_routes: store [fresh_messages_of_unwanted_topics_are_claimed];
    StarvesTheDeferred as starves_the_deferred: store [fresh_messages_do_not_starve_those_set_aside];
    TextPayloads as text_payloads: store [every_byte_value_survives_in_a_payload];
    DropsHeaders as drops_headers: store [every_field_comes_back_unchanged, sixteen_kibibytes_of_headers_survive];
    ForgetsTheTally as forgets_the_tally: store [
        a_retry_is_claimed_with_its_tally_once_it_is_due,
        waiting_keeps_the_tally_of_the_verdict,
        takeover_keeps_the_attempts_of_a_retry_in_flight,
    ];
    ForgetsNotBefore as forgets_not_before: store [a_not_before_time_is_told_with_the_claim];
    DeliveredStays as delivered_stays: store [
        a_delivered_message_is_gone,
        an_expired_session_that_nobody_fenced_settles,
        whatever_happens_nothing_is_lost_and_keys_keep_their_order,
    ];
    DeadLettersReturn as dead_letters_return: store [
        a_dead_letter_is_not_claimed,
        takeover_does_not_bring_back_a_dead_letter_of_an_open_batch,
    ];
    IgnoresTheJournal as acts_ignore_the_journal: admin [
        a_message_in_flight_refuses_to_be_discarded,
        a_retry_in_flight_refuses_to_be_redriven,
        discarding_all_leaves_messages_in_flight_alone,
        messages_in_flight_of_a_dead_session_refuse_until_a_takeover,
    ];
    ScheduledBlocks as scheduled_blocks: store [a_scheduled_message_blocks_nothing];
    UnkeyedShareAKey as unkeyed_share_a_key: store [an_unkeyed_retry_blocks_nothing];
    SkippedHolds as skipped_holds: store [
        a_skipped_dead_letter_lets_its_key_go_on,
        a_mixed_settlement_gives_each_message_its_verdict,
    ];
    ParkedLetsGo as parked_lets_go: store [
        a_parked_dead_letter_holds_its_key,
        a_message_parked_in_the_middle_holds_only_those_after_it,
    ];
    EveryMessageOnce as every_message_once: store [messages_without_an_idempotency_key_are_never_duplicates];
    AnswersBackwards as answers_backwards: store [enqueue_answers_one_id_per_message_in_their_order];
    AlwaysFresh as always_fresh: store [
        messages_set_aside_do_not_come_as_fresh,
        takeover_marks_what_the_journal_lists_as_in_doubt,
    ];
    AlwaysOld as always_old: store [
        a_message_is_as_old_as_its_enqueueing,
        a_not_before_time_long_past_does_not_make_a_message_old,
    ];
    RevivesUnknownSessions as revives_unknown_sessions: store [an_unknown_epoch_gets_a_new_session];
    OwnsNothing as owns_nothing: store [the_first_session_owns_the_outbox];
    StarvesTheFresh as starves_the_fresh: store [messages_set_aside_do_not_starve_fresh_ones];
    ClaimsWithoutSlots as claims_without_slots: store [a_claim_of_no_slot_answers_nothing];
    CutsPayloads as cuts_payloads: store [a_payload_of_one_mebibyte_comes_back_whole];
    EndsEveryBatch as ends_every_batch: store [
        ending_a_batch_that_is_not_open_changes_nothing,
        takeover_does_not_doubt_what_an_open_batch_has_settled,
    ];
    WritesAThousandVerdicts as writes_a_thousand_verdicts: store [thousands_of_verdicts_go_into_one_settlement];
    StoresAThousandMessages as stores_a_thousand_messages: store [thousands_of_messages_go_into_one_enqueue];
    HidesReceipts as hides_receipts: admin [a_delivered_message_shows_its_receipt];
    RepeatsFailures as repeats_failures: admin [
        the_same_failure_said_twice_is_kept_once,
        the_last_ten_failures_are_kept_oldest_first,
    ];
    ShowsOnlyFresh as shows_only_fresh: admin [every_state_is_shown];
    SkippedHolds as parked_instead_of_dead: admin [
        counts_tell_each_state_of_each_topic,
        every_state_can_be_listed,
        a_redriven_message_that_was_skipped_joins_at_the_end,
        the_age_of_the_oldest_counts_only_what_should_go_out,
    ];
    ForgetsCommit as nothing_is_shown: admin [a_fresh_message_is_shown_whole];
    Reverses as enqueued_in_reverses: enqueued_in [what_a_transaction_enqueued_shows_in_its_order];
    ForgetsRollback as enqueued_in_forgets: enqueued_in [messages_of_other_transactions_do_not_show];
    ForgetsIdempotency as enqueued_in_shows_duplicates: enqueued_in [duplicates_do_not_show_as_enqueued];
    ActsGoUnnoticed as acts_go_unnoticed: admin [
        an_act_keeps_a_batch_from_beginning,
        a_redrive_keeps_a_batch_from_beginning,
        an_act_counts_until_the_next_claim_from_the_beginning,
        a_repeated_settlement_that_finds_an_act_leaves_its_batch_unbegun,
    ];
    AnyClaimForgetsActs as any_claim_forgets_acts: admin [an_act_counts_until_the_next_claim_from_the_beginning];
    ActsAreNotRecorded as acts_are_not_recorded: admin [
        every_act_is_recorded_with_who_and_why,
        acts_are_recorded_for_each_message_of_a_selection,
    ];
    ForgetsTheTally as shows_no_tally: admin [a_retry_shows_its_failure_and_when_it_is_due];
    TakesAnyAct as takes_any_act: admin [an_act_that_does_not_say_who_and_why_is_refused];
    CutsActs as cuts_acts: admin [the_longest_who_and_why_are_recorded_whole];
    SelectsEveryTopic as selects_every_topic: admin [
        all_dead_letters_of_a_topic_are_redriven_at_once,
        all_messages_of_a_state_and_topic_are_discarded_at_once,
        all_of_a_topic_are_redriven_whatever_their_state,
        all_of_a_topic_are_discarded_whatever_their_state,
    ];
    SelectsTheDead as selects_the_dead: admin [
        all_of_a_topic_are_redriven_whatever_their_state,
        all_of_a_topic_are_discarded_whatever_their_state,
    ];
    PurgesEverything as purges_everything: admin [purging_the_history_deletes_no_more_than_asked];
    PagesOverlap as pages_overlap: admin [pages_show_every_message_once_in_order];
    ForgetsKeys as acts_forget_keys: admin [
        a_redriven_message_that_was_parked_stays_the_head,
        discarding_the_head_frees_its_key,
    ];
    ForgetsRollback as inbox_forgets_rollback: inbox [a_rolled_back_message_is_new_again];
    ForgetsIdempotency as inbox_forgets: inbox [
        a_handled_message_is_known_to_its_consumer,
        a_message_is_handled_once_within_a_transaction,
        of_transactions_side_by_side_one_is_first,
    ];
    IgnoresCase as inbox_ignores_case: inbox [consumers_are_told_apart_byte_by_byte];
    CorruptFailsTheClaim as corrupt_fails_the_claim: corrupt [a_corrupt_row_comes_as_an_error_in_its_place];
    CorruptIsSkipped as corrupt_is_skipped: corrupt [
        a_corrupt_row_comes_as_an_error_in_its_place,
        a_corrupt_row_that_was_in_flight_is_not_lost,
    ];
}
