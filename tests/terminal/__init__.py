"""What a person sees at a real terminal (tmux) and a real browser, in the order of a first day with a machine."""
