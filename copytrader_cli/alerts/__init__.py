"""Alerts and control by phone: a process of its own that follows the journal and the record."""
