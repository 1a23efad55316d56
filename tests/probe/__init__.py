"""The probe over real sockets."""
