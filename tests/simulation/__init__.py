"""Seeded worlds in which everything that can go wrong does, and invariants after each step."""
