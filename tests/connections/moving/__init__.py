"""Tests of broker.connections.moving."""
