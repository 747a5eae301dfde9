"""The entries of the shipped ``providers.yaml``, each against the practice provider in that provider's guise."""
