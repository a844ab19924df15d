"""Events as syslog has them (RFC 5424), and how they are handed over.

message    an event to one message; pure
stream     messages by TCP and TLS (RFC 6587, RFC 5425); datagram: by UDP (RFC 5426)
"""
