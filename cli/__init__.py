"""The command ``secrets-store``, for people and for CI; also ``kubectl secrets-store``. No daemon imports it."""
