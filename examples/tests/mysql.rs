//! The appointment example on MySQL and MariaDB: what its tests show on SQLite, they show there too.

mod support;

use support::server::run_again;

fn url() -> String {
    std::env::var("TEST_MYSQL_URL").expect("TEST_MYSQL_URL names a server; see scripts/services")
}

#[tokio::test]
#[ignore = "needs MariaDB; scripts/test runs it"]
async fn the_api_answers_as_it_does_on_sqlite() {
    run_again(&url(), "appointment", &[]).await;
}

#[tokio::test]
#[ignore = "needs MariaDB; scripts/test runs it"]
async fn several_starts_share_a_database() {
    let tests = [
        "a_second_start_finds_the_sample_of_the_first_and_sends_nothing_twice",
        "what_was_committed_before_a_stop_is_delivered_by_the_next_start",
        "two_starts_at_once_in_an_empty_folder_both_serve",
    ];
    run_again(&url(), "program", &tests).await;
}

#[tokio::test]
#[ignore = "needs MariaDB; scripts/test runs it"]
async fn killed_again_and_again_it_loses_nothing() {
    run_again(&url(), "kill", &["killed_during_20_bookings_no_invitation_is_lost"]).await;
}
