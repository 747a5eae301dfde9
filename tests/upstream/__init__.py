"""The providers' side, against real HTTP servers on loopback that answer what a test tells them to."""
