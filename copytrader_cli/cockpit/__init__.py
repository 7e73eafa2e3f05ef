"""The cockpit: one page on loopback that shows at a glance how things stand, with the red button."""
