"""What a market would have done with our trades in it: recorded trades executed again on shifted reserves. No I/O."""
