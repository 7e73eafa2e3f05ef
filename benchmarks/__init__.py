"""Benchmarks that compare in one run. Ratios and medians, since machines are noisy; nothing here is asserted by a test."""
