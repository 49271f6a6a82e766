//! Finds the SQL that comes with the library, so that no copy of it lies here.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// How the names of the scripts end; they begin with a date.
const SCRIPTS: &[&str] = &["job_setup.sql", "obix_setup.sql"];

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let cargo = env::var("CARGO").expect("cargo runs this");
    let metadata = Command::new(cargo).args(["metadata", "--format-version", "1", "--locked"]).output();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.expect("cargo metadata runs").stdout)
        .expect("cargo metadata answers JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let library =
        packages.iter().find(|package| package["name"] == "obix").expect("the library is a dependency");
    let manifest = Path::new(library["manifest_path"].as_str().expect("a path"));
    let target = env::var("OUT_DIR").expect("cargo sets it");
    for file in fs::read_dir(manifest.with_file_name("migrations")).expect("the library has migrations") {
        let file = file.expect("a file").path();
        if let Some(script) = SCRIPTS.iter().find(|script| file.to_string_lossy().ends_with(*script)) {
            fs::copy(&file, Path::new(&target).join(script)).expect("the script can be copied");
        }
    }
}
