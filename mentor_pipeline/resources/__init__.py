"""What assets, checks and commands reach the outside world through: the warehouse and the two services.

Import the modules directly; this package wires nothing and does nothing on import.
"""
