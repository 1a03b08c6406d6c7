"""A fleet that is not there: faults with known truth, on a clock that runs as fast as the policy can think."""
