"""The compiled way from a message's bytes to the rows of `raw_events`, for transactions of the usual kinds.

Whatever is unusual, damaged or new is left to `copytrader_core.pump.decode`, which is the rule; the kernels only ever
write what it would have written. Not here: slots, batches, the database.
"""
