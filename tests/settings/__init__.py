"""Tests of ``broker.settings``."""
