"""The assets, thin: read, call a pure function, check, publish."""
