"""Methods, records and studies against each other: one table, the seeds that it would take, and figures of a study."""
