//! The orders example: its steps by themselves, and as a program that is killed at the worst moments.
//!
//! The broker is the one that librdkafka brings for tests, inside the process of the test, so it survives the program.

mod domain;
mod program;
mod receiving;

#[path = "../../../outbox-transport-kafka/tests/support/python.rs"]
mod python;
#[path = "../support/mod.rs"]
mod support;

// The modules of the program that are tried by themselves, where they expect each other to be.
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../orders/consumer.rs"]
mod consumer;
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../orders/crash.rs"]
mod crash;
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../orders/database/mod.rs"]
mod database;
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../orders/messages.rs"]
mod messages;
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../orders/orders.rs"]
mod orders;
#[allow(dead_code, unreachable_pub, reason = "the program uses all of it")]
#[path = "../../orders/work.rs"]
mod work;
