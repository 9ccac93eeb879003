"""The link without root: what a program sends anywhere is relayed by ordinary kernel sockets (`gateway.Gateway`)."""
