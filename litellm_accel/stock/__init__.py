"""What is known of the host: how its releases differ, and what its functions look at."""
