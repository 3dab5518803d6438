"""Training: rules (one formula each), learning-rate policies, the loop around them, and snapshots."""
