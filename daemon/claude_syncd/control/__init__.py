"""The control API on the Unix socket, server and client."""
