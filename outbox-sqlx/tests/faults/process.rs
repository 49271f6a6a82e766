//! [`Process`]: a dispatcher that runs, until it is told to stop, killed, or dropped.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::dispatcher::{ROLE, Role};

pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
}

impl Process {
    /// Starts this binary again as the dispatcher of `role`; what it logs goes to a file in `logs`.
    pub(crate) fn start(role: &Role, logs: &Path, variables: &[(String, String)]) -> Self {
        let log = File::create(logs.join(format!("{}.log", role.name))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dispatcher::a_process_of_another_test", "--ignored", "--nocapture"])
            .env(ROLE, serde_json::to_string(role).unwrap())
            .env_remove("RUST_LOG")
            .envs(variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { name: role.name.clone(), child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Tells it to stop and waits for its end, in which it must not have failed. Answers how long that took.
    pub(crate) async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        drop(self.child.stdin.take());
        loop {
            if let Some(status) = self.ended() {
                assert!(status.success(), "{} should have stopped in good order: {status}", self.name);
                return asked.elapsed();
            }
            assert!(asked.elapsed() < Duration::from_secs(30), "{} should have stopped", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
