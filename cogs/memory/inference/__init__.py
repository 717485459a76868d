"""What all loaded models share: specs, folders, device worker, batches, profiles."""
