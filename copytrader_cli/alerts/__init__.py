"""Alerts and control by phone: a process of its own that follows the journal and the record.

It is not part of the cockpit: an alert has to come while no page is open and when the cockpit is killed, and what
holds the bot's token and speaks to the internet should not be what holds the page's. It is not part of the executor
either, which speaks to nobody but the chain: where this process hangs or dies, trading does not notice.
"""
