//! The transport suite bites: each flaw that a transport can have makes the check that is named after it fail, while
//! the same transport without the flaw passes the whole suite.

mod flawed;

use std::panic::{AssertUnwindSafe, catch_unwind};

use flawed::{Flaw, Flawed, OneByOne};
use outbox_core::conformance::{checks, run};

mod keeps_order {
    use super::*;
    outbox_core::transport_conformance!(Flawed);
}

mod one_of_a_key_at_a_time {
    use super::*;
    outbox_core::transport_conformance!(
        OneByOne,
        except a_failure_stops_the_rest_of_its_key_in_the_batch = "a batch holds one message of a key"
    );
}

/// For each flaw, the checks that must notice it.
macro_rules! caught {
    ($($flaw:ident as $name:ident: [$($check:ident),+ $(,)?];)+) => {
        $(mod $name {
            use super::*;
            $(#[test]
            fn $check() {
                run(checks::transport::$check(Flawed::new(Flaw::None)));
                let broken = || run(checks::transport::$check(Flawed::new(Flaw::$flaw)));
                let verdict = catch_unwind(AssertUnwindSafe(broken));
                assert!(verdict.is_err(), "the check passes a transport with the flaw {:?}", Flaw::$flaw);
            })+
        })+
    };
}

caught! {
    DeliversWithoutSending as delivers_without_sending: [
        every_message_of_a_batch_is_delivered_once,
        a_batch_of_one_is_delivered,
        keyed_messages_are_delivered,
        what_was_recorded_before_a_drop_is_true,
    ];
    SendsTwice as sends_twice: [every_message_of_a_batch_is_delivered_once, a_destination_that_is_back_is_used_again];
    SendsANewId as sends_a_new_id: [a_batch_of_one_is_delivered, a_redelivery_arrives_with_the_same_id];
    SkipsTheInDoubt as skips_the_in_doubt: [a_redelivery_arrives_with_the_same_id];
    ForgetsTheLast as forgets_the_last: [every_message_of_a_batch_is_delivered_once];
    OneFailsAll as one_fails_all: [
        a_refused_message_is_permanent_and_leaves_its_neighbours_alone,
        a_failing_message_is_transient_and_leaves_its_neighbours_alone,
    ];
    RetriesTheRefused as retries_the_refused: [a_refused_message_is_permanent_and_leaves_its_neighbours_alone];
    GivesUpTheFailing as gives_up_the_failing: [a_failing_message_is_transient_and_leaves_its_neighbours_alone];
    BlamesTheMessage as blames_the_message: [a_destination_that_is_down_is_unavailable];
    SaysNothingOfAnOutage as says_nothing_of_an_outage: [a_destination_that_is_down_is_unavailable];
    StaysDown as stays_down: [a_destination_that_is_back_is_used_again];
    MixesUpPositions as mixes_up_positions: [
        a_refused_message_is_permanent_and_leaves_its_neighbours_alone,
        batches_side_by_side_do_not_mix_their_outcomes,
    ];
    ReadsALateReply as reads_a_late_reply: [after_a_drop_the_next_batch_gets_its_own_outcomes];
    LosesPermits as loses_permits: [many_drops_do_not_use_the_transport_up];
    RecordsTooEarly as records_too_early: [what_was_recorded_before_a_drop_is_true];
    Overtakes as overtakes: [messages_of_a_key_arrive_in_order];
    GoesOnAfterAFailure as goes_on_after_a_failure: [a_failure_stops_the_rest_of_its_key_in_the_batch];
    SendsForAnEmptyBatch as sends_for_an_empty_batch: [an_empty_batch_records_nothing];
}
