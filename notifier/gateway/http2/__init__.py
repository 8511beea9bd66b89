"""HTTP/2 to a gateway: RFC 9113 and RFC 7541, as far as a client that posts small bodies needs them.

Protocol and I/O are apart. No socket and no clock: `frames` (bytes to frames and back), `headers` (our header blocks),
`answer_head` (the server's), `outbox` (what waits to be written, flow control), `connection` (the state machine).
With them: `socket` (TLS), `dial` (name, TCP, proxy, handshake; in a thread), `session` (one connection from dialling
to its end), `pool` (the connections of one endpoint, placement and deadlines), `transport` (what callers use).
"""
