"""The door: the only layer of the server that speaks protobuf and gRPC; it translates and decides nothing."""
