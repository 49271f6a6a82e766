//! The promises of the dispatcher, seen from outside: messages go in through the memory outbox, and a recording
//! transport sees what comes out.

mod acts;
mod bent;
mod bounds;
mod failures;
mod hand_over;
mod leases;
mod looks;
mod order;
mod outage;
mod panics;
mod poison;
mod retention;
mod shutdown;
mod store_failures;
mod storm;
mod support;
mod waits;
mod wake_up;
