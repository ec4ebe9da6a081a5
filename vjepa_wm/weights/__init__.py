"""Released checkpoints: safetensors, configuration and model card."""
