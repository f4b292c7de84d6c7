"""Runs the cases of clients/cases.json against every client."""
