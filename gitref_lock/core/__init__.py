"""The protocol, pure: no I/O, no clock, no randomness, no threads, no logging.

Names and objects at the bottom, then records and their history, time, expiry, tickets and queue, and on top the one
table of transitions (``machine``). Everything here is a function of its arguments, so that it can be tested
exhaustively and simulated as it is.
"""
