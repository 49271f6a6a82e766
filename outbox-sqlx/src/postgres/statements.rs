//! The SQL of one outbox: the files in `sql/`, with its table prefix.

use crate::statement::statements;

statements! {
    ;
    acts_of begin_batch blocked_keys claim_due claim_first claim_late claim_on clock counts
    delete_deferred delete_delivered due_places due_topics end_batches end_session enqueued_in fence
    fence_expired find first_time forget_sessions give_back history_delivered history_discarded
    hold_back in_flight insert_messages insert_messages_once known_keys list load_fresh
    load_set_aside lock_leases lock_schema look new_session orphans orphans_gone places_of_ids
    places_of_states promote raise_changes record_discard record_redrive redrivable redrive_dead
    renew_session schema_exists schema_version set_aside_again set_aside_fresh settle_delivered
    settle_delivered_noted settled_places start_anew standing take_slots tidy_acts tidy_history tidy_idempotency tidy_inbox
    unblocked_keys wait_behind
}
