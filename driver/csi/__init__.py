"""The three CSI services. A method checks its request, calls one function, and builds the response."""
