"""One module a command or command group. Thin: read options, call the room that does the work, print."""
