"""The three gRPC APIs; their stubs are generated from the .proto files when the package is built."""
