"""Connectors that come along: useful as they are, and the examples to write your own by.

``files`` reads and keeps JSON-lines and CSV files, ``sql`` (extra ``sql``) reads and keeps
tables through SQLAlchemy. They use nothing but what ``protocols``, ``values`` and
``errors`` give to everybody.
"""
