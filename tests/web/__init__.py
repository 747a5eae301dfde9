"""Tests of ``broker.web``: what people see and how they pass through it."""
