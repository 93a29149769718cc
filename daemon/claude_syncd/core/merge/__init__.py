"""Merging what two or more devices made of one file: pure, symmetric, and the same bytes on every device.

One small module per class of file (see classes): transcript with fork, history, settings, text. What they rest on:
rows (lines of a transcript), diff (lines of text), jsontext and trees (JSON without losing its spelling), keys (which
settings travel). Sides come in any order; nothing here reads a file, a clock or a random number.
"""
