//! The loops that are written by hand send the library's own statements, and everything that they deliver is checked:
//! they run here, small and unmeasured, so that a statement that changes does not leave them behind.

use std::process::Command;

/// Runs `scenarios` on `database`, one round of few messages.
fn run(scenarios: &[&str], database: &str) {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-benches"))
        .args(scenarios)
        .args(["--database", database, "--rounds", "1", "--messages", "2000"])
        .env("OUTBOX_BENCH_OUT", out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for scenario in scenarios {
        assert!(
            out.path().join(format!("{scenario}-{database}.md")).exists(),
            "{scenario} wrote no table\n{said}"
        );
    }
}

#[test]
fn they_drain_as_the_library_does_on_sqlite() {
    run(&["drain"], "sqlite");
}

#[test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
fn they_drain_as_the_library_does_on_postgresql() {
    run(&["drain", "parts", "wal"], "postgres");
}

#[test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
fn they_drain_as_the_library_does_on_mariadb() {
    run(&["drain"], "mysql");
}
