"""Benchmarks that compare in one run. Ratios and medians, as machines are noisy; no test asserts them."""
