"""Where nodes stand, asked of who knows: an operator's file, NetBox, Slurm, the InfiniBand fabric, Kubernetes."""
