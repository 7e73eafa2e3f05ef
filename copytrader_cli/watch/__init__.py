"""What the cockpit and the alerts both need: one look at everything, and the button. Nothing of how it is shown."""
