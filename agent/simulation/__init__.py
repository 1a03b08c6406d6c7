"""A simulated machine under the real agent: hardware faults with ground truth, at the lowest seams."""
