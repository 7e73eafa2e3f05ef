"""The science: pure functions on Arrow and NumPy. No dagster, no database, no files."""
