"""What travels over MQTT, built and parsed here and nowhere else."""
