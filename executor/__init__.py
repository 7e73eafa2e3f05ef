"""The executor: leader buy, decision, order, position, exit. Decisions themselves are `copytrader_core.policy`'s."""
