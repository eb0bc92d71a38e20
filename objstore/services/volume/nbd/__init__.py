"""The NBD protocol: its numbers, the handshake, the transmission phase, the server."""
