"""The vault format: names, bytes and the records in them (docs/format.md)."""
