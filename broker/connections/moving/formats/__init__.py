"""Readers: a file of some format becomes rows, or faults that name theirs. Pure; nothing is judged here but form."""
