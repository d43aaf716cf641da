"""The contract as generated from proto/: `from runcast.v1 import run_pb2, run_service_pb2_grpc`; nothing is imported here."""
