"""Decisions as pure functions of (state, event, clock). No I/O; live, paper and backtest call the very same code."""
