-- A number of the server: another one after each start and each recovery from a crash, which ends in a checkpoint. Other
-- checkpoints change it too; then a dispatcher reads from the beginning, which it does well.
SELECT hashtextextended(
    concat(pg_postmaster_start_time(), ' ', (SELECT concat(timeline_id, ' ', checkpoint_lsn) FROM pg_control_checkpoint())), 0)
