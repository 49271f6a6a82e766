//! Processor time and memory, where the system tells (Linux); 0 elsewhere.

use std::fs::read_to_string;

/// The processor time that this process has used so far, all threads, in seconds.
pub(crate) fn own_time() -> f64 {
    process_time("self")
}

/// The processor time of the database server to which `backend` belongs, with all its processes, in seconds; 0 for a
/// server on another machine.
pub(crate) fn server_time(backend: i32) -> f64 {
    let Some(parent) = fields(&backend.to_string()).and_then(|fields| fields.get(1).cloned()) else {
        return 0.0;
    };
    // The children that ended count in the parent.
    let own = fields(&parent).map_or(0.0, |fields| seconds(&fields, [11, 12, 13, 14]));
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|process| fields(process.file_name().to_str()?));
    own + stats
        .filter(|fields| fields.get(1) == Some(&parent))
        .map(|fields| seconds(&fields, [11, 12]))
        .sum::<f64>()
}

/// The processor time of one process, all threads, in seconds; 0 for one that is not of this machine.
pub(crate) fn process_time(process: &str) -> f64 {
    fields(process).map_or(0.0, |fields| seconds(&fields, [11, 12]))
}

/// The fields of a process after its name, which may hold spaces: state, parent, … user time (11), system time (12),
/// and those of its ended children.
fn fields(process: &str) -> Option<Vec<String>> {
    let stat = read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

/// The kernel counts in hundredths of a second here, whatever its own tick is.
fn seconds<const N: usize>(fields: &[String], which: [usize; N]) -> f64 {
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    which.into_iter().map(ticks).sum::<f64>() / 100.0
}

/// The most memory this process ever had resident, in MiB.
pub(crate) fn peak_memory() -> f64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
