"""What only shows after a while of everything: whether something stays behind."""
