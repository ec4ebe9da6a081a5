"""What an encoder is worth on labelled data: probes on frozen features, neighbours, and fine-tuning."""
