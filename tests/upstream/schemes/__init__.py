"""What goes onto requests, by scheme."""
