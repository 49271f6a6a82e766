//! The SQL that the documentation gives to people and to other clients.

/// The statements of `docs/operations.md` that are for every database or for `database`, in their order.
pub(crate) fn statements(database: &str) -> String {
    let text = include_str!("../../../docs/operations.md");
    let mut found = String::new();
    for heading in ["\n## Enqueueing with SQL\n", "\n### Looking with SQL\n"] {
        let (_, section) = text.split_once(heading).expect("the section is there");
        let section = section.split("\n#").next().unwrap_or_default();
        for block in section.split("```sql\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            // A block for one database says so in its first line.
            let others = ["PostgreSQL", "MySQL and MariaDB", "SQLite"].map(|name| format!("-- {name}\n"));
            let of_one = others.iter().any(|name| block.starts_with(name));
            if !of_one || block.starts_with(&format!("-- {database}\n")) {
                found.push_str(block);
            }
        }
    }
    found
}
