"""Carriers: the port that shipments speaks (port.py) and one file per adapter behind it.

An adapter knows its carrier's words and wires. It does not know the shipment's life, the database or events.
"""
