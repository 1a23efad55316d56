"""The three wire contracts; their stubs are generated from the .proto files when the package is built."""
