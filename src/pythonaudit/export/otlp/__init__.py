"""Events as OpenTelemetry's protocol (OTLP) has them, and how they are handed over.

wire      values and attributes as bytes of protobuf; pure
records   events to the bytes of ExportLogsServiceRequest; pure
http      hands requests over by HTTP/1.1; grpc: by gRPC
answers   what the other side says, as an `Answer` or one of a target's errors
headers   what authenticates us
"""
