//! The promises of the dispatcher, seen from outside: messages go in through the memory outbox, and a recording
//! transport sees what comes out.

mod acts;
mod bounds;
mod failures;
mod hostile;
mod leases;
mod order;
mod outage;
mod poison;
mod retention;
mod shutdown;
mod storm;
mod support;
mod wake_up;
