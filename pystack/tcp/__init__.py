"""TCP (RFC 9293): one connection is a `connection.Connection`, all of them are a `layer.TcpLayer`."""
