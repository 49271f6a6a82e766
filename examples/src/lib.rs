//! Examples of the outbox library; see `README.md` in this folder.
