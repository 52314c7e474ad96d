"""What the transports do with all that servers do wrong; one module a group of cases."""
