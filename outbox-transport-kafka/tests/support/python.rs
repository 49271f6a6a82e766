//! Records as kafka-python reads them, a client that shares no code with ours.

use std::process::Command;

use serde_json::Value;

/// Every record of these topics; see `read.py`.
pub(crate) fn read_by_python(brokers: &str, topics: &[&str]) -> Vec<Value> {
    let python = std::env::var("KAFKA_PYTHON").expect("KAFKA_PYTHON, as `scripts/kafka-python` exports it");
    let read = Command::new(python)
        .args(["-c", include_str!("../read.py"), brokers])
        .args(topics)
        .output()
        .expect("python");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let lines = String::from_utf8(read.stdout).expect("UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
