"""Ways of getting a signed transaction to a leader, behind one interface. What is sent, and when, is others' to say."""
