"""What happens beside training: checkpoints, tables, pictures, history, progress, W&B."""
