"""The front door: the `copytrader` command. The only room that imports every program."""
