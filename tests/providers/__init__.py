"""Tests of ``broker.providers``."""
