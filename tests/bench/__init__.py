"""The measuring house: that what it says is what it saw. How fast anything is stands in no test."""
