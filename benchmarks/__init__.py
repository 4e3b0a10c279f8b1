"""`make bench`: how fast we are, and what we do to a login node, beside the raw commands in the same run."""
