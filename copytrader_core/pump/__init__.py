"""The pump.fun and PumpSwap protocol as pure functions on bytes and integers. No I/O, no clock, no database."""
