"""Checks of a set-up, one concern a module. They look and change nothing; what is found is a `Finding`."""
