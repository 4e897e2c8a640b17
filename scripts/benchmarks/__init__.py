"""What `scripts/bench` runs: a file for each part, and the frame around them."""
