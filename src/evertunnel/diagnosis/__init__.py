"""Causes and fixes in words. Pure."""
