//! The words of an overview.

use outbox_core::MessageState;

const STATES: [MessageState; 8] = [
    MessageState::Waiting,
    MessageState::Retrying,
    MessageState::Behind,
    MessageState::Scheduled,
    MessageState::Dead,
    MessageState::Parked,
    MessageState::Delivered,
    MessageState::Discarded,
];

#[test]
fn a_state_has_one_name_written_read_and_serialised() {
    for state in STATES {
        let name = state.as_str();
        assert_eq!(name.parse(), Ok(state), "{name} is read back");
        assert_eq!(serde_json::to_value(state).unwrap(), name, "{name} is what is serialised");
    }
}

#[test]
fn a_name_that_no_state_has_is_refused() {
    for name in ["", "Waiting", " waiting", "lost"] {
        let refused = name.parse::<MessageState>().unwrap_err();
        assert!(refused.to_string().contains(&format!("{name:?}; take waiting")), "{refused}");
    }
}
