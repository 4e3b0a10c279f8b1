"""Programs for login and compute nodes: stdlib only, Python 3.6 or newer, sent over the channel, never installed.

The client imports :mod:`.frames` from here as well, so that both ends of the channel speak from the same page.
"""
