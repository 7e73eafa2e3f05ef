"""The executor's own engine on recorded days: the same decisions, orders and exits, without the waiting."""
