"""What a run does: plan, data, trainings that are shared, measurements, a record."""
